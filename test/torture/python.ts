/** A writer and a reader of a torture run that know nothing of this library: they send the SQL that the Python library sends. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { NAMESPACE_URL, uuid5 } from '../../src/index.js'
import { now, randomNumbers, type WorkerPlan } from './plan.js'
import type { Report } from './report-file.js'

const rollbackShare = 0.08
const longestEvents = 15
const longestHeldMs = 5
const batchSize = 2_000
const pollMs = 2

/** One transaction after the other, each a new stream: the lock of the table, the rows, and a moment before COMMIT. */
export async function writeLikePython(plan: WorkerPlan, report: Report, stop: AbortSignal): Promise<void> {
  const random = randomNumbers(plan.seed, plan.number + 1_000, plan.incarnation)
  const client = await connected(plan)
  for (let made = 0; !stop.aborted; made += 1) {
    const id = uuid5(NAMESPACE_URL, ['python', plan.seed, plan.number, plan.incarnation, made].join('/'))
    const count = 1 + Math.floor(random() * longestEvents)
    await client.query('BEGIN')
    await client.query('LOCK TABLE stored_events IN EXCLUSIVE MODE')
    for (let version = 1; version <= count; version += 1) {
      await client.query(
        'INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, $2, $3, $4)',
        [id, version, 'Tortured', Buffer.from(JSON.stringify({ version }))],
      )
    }
    await delay(random() * longestHeldMs)
    if (random() < rollbackShare) {
      await client.query('ROLLBACK')
      continue
    }
    await client.query('COMMIT')
    report.line(id, count, now())
    await delay(random() * longestHeldMs)
  }
  await client.end()
}

/** Takes every id that it sees for final, and goes on behind it. */
export async function readPlainly(plan: WorkerPlan, report: Report, stop: AbortSignal): Promise<void> {
  const client = await connected(plan)
  for (let start = 1n; ; ) {
    const isLast = stop.aborted
    const { rows } = await client.query<{ id: string; originator_id: string; originator_version: string }>(
      'SELECT id, originator_id, originator_version FROM stored_events WHERE id >= $1 ORDER BY id LIMIT $2',
      [start, batchSize],
    )
    for (const row of rows) report.line(row.id, row.originator_id, row.originator_version, now())
    const last = rows.at(-1)
    if (last !== undefined) start = BigInt(last.id) + 1n
    else if (isLast) break
    else await delay(pollMs)
  }
  await client.end()
}

async function connected({ url }: WorkerPlan): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  return client
}
