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
  'request without database': { calls: 31, files: 9, stays: 22 },
  'request with an event': { calls: 236, files: 44, stays: 143 },
  'request with an event and a row': { calls: 287, files: 49, stays: 173 },
  'save to INSERT': { calls: 93, files: 27, stays: 54 },
  'save outside of transactions': { calls: 108, files: 29, stays: 67 },
  'model call to statement': { calls: 56, files: 18, stays: 36 },
  'SELECT to aggregate': { calls: 131, files: 28, stays: 74 },
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
