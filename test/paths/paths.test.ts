/** How far calls travel through the library, in budgets: each may only fall. Whoever shortens a path lowers its budget with it. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'

interface Counts {
  readonly calls: number
  readonly files: number
  readonly stays: number
}

/** See `scripts/paths.mjs`, which prints the counts of today, and with `--list` the calls of one path. */
const budgets: Readonly<Record<string, Counts>> = {
  // Its last calls are events of the stream, which may come once or twice.
  'request without database': { calls: 46, files: 13, stays: 36 },
  'request with an event': { calls: 331, files: 53, stays: 238 },
  'request with an event and a row': { calls: 394, files: 57, stays: 279 },
  'save to INSERT': { calls: 124, files: 33, stays: 90 },
  'save outside of transactions': { calls: 141, files: 36, stays: 99 },
  'model call to statement': { calls: 71, files: 18, stays: 52 },
  'SELECT to aggregate': { calls: 139, files: 29, stays: 79 },
}

describe('paths', () => {
  let counted: Readonly<Record<string, Counts>>

  beforeAll(async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['scripts/paths.mjs', '--json'])
    counted = JSON.parse(stdout) as Record<string, Counts>
  })

  it.each(Object.entries(budgets))('%s stays in its budget', (path, budget) => {
    expect(counted[path]?.calls).toBeLessThanOrEqual(budget.calls)
    expect(counted[path]?.files).toBeLessThanOrEqual(budget.files)
    expect(counted[path]?.stays).toBeLessThanOrEqual(budget.stays)
  })
})
