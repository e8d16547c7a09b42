import { processRecorderContract, subscriptionContract } from 'eventsourcing-prisma/testing'
import { describe, expect, it } from 'vitest'
import { MyProcessRecorder } from './my-recorders.js'

const framework = { describe, it, expect }

// Called once per case: an empty store, and what removes it after the case.
const makeRecorder = async () => {
  const recorder = await MyProcessRecorder.open()
  return { recorder, dispose: async () => await recorder.drop() }
}

processRecorderContract(framework, 'MyProcessRecorder', makeRecorder)
subscriptionContract(framework, 'MyProcessRecorder', makeRecorder)
