/** `npm run bench -- --rebuilds`: what readers and writers notice of a rebuild. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { PrismaDatastore, ProjectionRunner } from 'eventsourcing-prisma'
import { databasesOf, type TestDatabase, type TestDatabaseKind } from '../test/support/databases.js'
import type { PrismaClient } from '../test/support/generated/postgresql/client.js'
import { median } from './measure.js'
import { Ledgers, ledgers, sums } from './projection-contenders.js'

const { values } = parseArgs({
  options: {
    rebuilds: { type: 'boolean' },
    events: { type: 'string', default: '20000' },
    rows: { type: 'string', default: '5000' },
  },
})
const [count, rowCount] = [Number(values.events), Number(values.rows)]
const readEveryMs = 5
const baselineMs = 3_000

/** Accounts that are there before the rebuild; those that are opened meanwhile begin otherwise. */
const oldId = (account: number): string => `00000000-0000-4000-8000-${String(account).padStart(12, '0')}`

interface Measured {
  readonly name: string
  readonly database: TestDatabase
  readonly application: Ledgers
  readonly runner: ProjectionRunner
  readonly client: PrismaClient
}

async function bench(kind: TestDatabaseKind): Promise<void> {
  const database = await kind.createDatabase()
  const datastore = new PrismaDatastore<PrismaClient>({
    adapter: database.adapter(),
    // The clients of all databases are alike.
    client: (adapter) => database.newClient(adapter) as PrismaClient,
  })
  const { client } = datastore
  const application = new Ledgers({ datastore, env: { CREATE_TABLE: 'yes' } })
  const runner = new ProjectionRunner({ application, datastore, projections: [sums(client)] })
  try {
    await application.ready()
    await runner.createTable()
    const each = Math.ceil(count / rowCount)
    for (let account = 0; account < rowCount; account += 1) {
      const amounts = Array.from({ length: each }, () => 1)
      await application.execute(ledgers, oldId(account), 'change', amounts)
    }
    await runner.runOnce()
    await runner.start()
    for (const way of ['atomic', 'shadow'] as const) {
      await measure(way, { name: kind.name, database, application, runner, client })
    }
    await runner.stop()
  } finally {
    await datastore.close()
    await database.drop()
  }
}

async function measure(way: 'atomic' | 'shadow', { name, database, application, runner, client }: Measured) {
  const old = { dog: { startsWith: '00000000-' } }
  await client.trickCount.updateMany({ where: old, data: { tricks: -1 } })
  const saves = { before: [] as number[], during: [] as number[] }
  const states = new Set<string>()
  const done = new AbortController()
  let isRebuilding = false
  let reads = 0
  const read = async (): Promise<void> => {
    while (!done.signal.aborted) {
      const [row] = await database.query(
        "SELECT count(*) AS found, coalesce(sum(CASE WHEN tricks < 0 THEN 1 ELSE 0 END), 0) AS spoiled FROM trick_counts WHERE dog LIKE '00000000-%'",
      )
      states.add(`${Number(row?.['spoiled'])} of ${Number(row?.['found'])}`)
      reads += 1
      await delay(readEveryMs)
    }
  }
  const write = async (): Promise<void> => {
    while (!done.signal.aborted) {
      const during = isRebuilding
      const start = performance.now()
      await application.execute(ledgers, randomUUID(), 'change', [1])
      saves[during || isRebuilding ? 'during' : 'before'].push(performance.now() - start)
    }
  }
  const working = [read(), write()]
  await delay(baselineMs)
  isRebuilding = true
  const { durationMs, events } = await runner.rebuild('sums', { way })
  done.abort()
  await Promise.all(working)
  const isPartial = (state: string): boolean => state !== `${rowCount} of ${rowCount}` && state !== `0 of ${rowCount}`
  console.log(
    `${name}, ${way}: ${events} events into ${rowCount} rows and those of ${saves.during.length} saves meanwhile, in ${(durationMs / 1000).toFixed(2)} s; ` +
      `${reads} reads, ${[...states].filter(isPartial).length} of them partial (${[...states].join('; ')}); ${told('before', saves.before)}; ${told('during', saves.during)}`,
  )
}

function told(when: string, ms: readonly number[]): string {
  return `saves ${when} it: median ${median([...ms]).toFixed(1)} ms, slowest ${Math.max(...ms).toFixed(1)} ms`
}

for (const kind of databasesOf('postgresql', 'mysql')) await bench(kind)
