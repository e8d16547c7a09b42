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
  'request without database': { calls: 76, files: 16, stays: 43 },
  'request with an event': { calls: 536, files: 89, stays: 348 },
  'request with an event and a row': { calls: 665, files: 98, stays: 437 },
  'save to INSERT': { calls: 231, files: 54, stays: 150 },
  'save outside of transactions': { calls: 188, files: 51, stays: 128 },
  'model call to statement': { calls: 141, files: 29, stays: 93 },
  'SELECT to aggregate': { calls: 145, files: 36, stays: 96 },
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
