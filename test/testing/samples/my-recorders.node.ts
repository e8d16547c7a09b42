import { deepStrictEqual } from 'node:assert'
import { describe, it } from 'node:test'
import { trackingRecorderContract } from 'eventsourcing-prisma/testing'
import { MyProcessRecorder } from './my-recorders.js'

const expect = (actual: unknown) => ({ toEqual: (expected: unknown) => deepStrictEqual(actual, expected) })

trackingRecorderContract({ describe, it, expect }, 'MyProcessRecorder', async () => ({
  recorder: await MyProcessRecorder.open(),
}))
