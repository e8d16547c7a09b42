/** What loading and a command cost, in statements and in events that are read, however long the history is. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, Application, event, JSONTranscoder, PrismaDatastore } from '../../src/index.js'
import { type FaultyAdapter, faultyAdapter } from '../../src/testing/index.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

class Counter extends Aggregate {
  static readonly topic = 'Counter'
  static readonly snapshots = { every: 100, keep: 2 }
  total = 0
  @event('Counted', 'by') count(by: number): void {
    this.total += by
  }
}

/** Counts the states that are read. */
class CountingTranscoder extends JSONTranscoder {
  decoded = 0
  override decode(bytes: Uint8Array): unknown {
    this.decoded += 1
    return super.decode(bytes)
  }
}

/** What the adapters send to begin and end a transaction, which some of them do by statements. */
const isFrame = (sql: string): boolean => /^(BEGIN|COMMIT|ROLLBACK|SET|START)/i.test(sql)

describe.each(oneOfEach)('on $name', (kind) => {
  // MariaDB takes the ids from a counter first, which keeps the log in order.
  const writes = kind.provider === 'mysql' ? 2 : 1
  let database: TestDatabase
  let adapter: FaultyAdapter
  let datastore: PrismaDatastore
  const transcoder = new CountingTranscoder()
  beforeAll(async () => {
    database = await kind.createDatabase()
    adapter = faultyAdapter(database.adapter())
    datastore = new PrismaDatastore({ adapter })
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })

  /** The statements that work sends, and how many states it reads. */
  async function costOf(work: () => Promise<unknown>): Promise<{ statements: string[]; states: number }> {
    adapter.record()
    transcoder.decoded = 0
    await work()
    adapter.stop()
    return { statements: adapter.statements.map((sql) => sql.split(/\s/, 1)[0] ?? ''), states: transcoder.decoded }
  }

  it('loading costs as much after 10,000 events as after 150', async () => {
    const application = new Application({ name: '', datastore, transcoder })
    const grown = async (events: number): Promise<string> => {
      const counter = new Counter()
      while (counter.version < events) {
        const until = Math.min(events, counter.version + 5_000)
        while (counter.version < until) counter.count(1)
        await application.save(counter)
      }
      return counter.id
    }
    const short = await grown(150)
    const long = await grown(10_050)
    const cost = await costOf(async () => await application.repository.get(Counter, short))
    expect(cost).toEqual({ statements: [expect.stringMatching(/^(SELECT|WITH)$/)], states: 1 + 50 })
    expect(await costOf(async () => await application.repository.get(Counter, long))).toEqual(cost)
    expect((await application.repository.get(Counter, long)).total).toBe(10_049)
    const store = await application.snapshotStore()
    expect((await store.get(long)).map(({ originatorVersion }) => originatorVersion)).toEqual([9_900, 10_000])
  }, 120_000)

  it('a cached command reads once and writes once', async () => {
    const application = new Application({ name: '', datastore, transcoder, snapshots: false, cache: true })
    const counter = new Counter()
    for (let n = 0; n < 50; n += 1) counter.count(1)
    await application.save(counter)
    await application.repository.get(Counter, counter.id)
    const command = async (): Promise<void> => {
      const current = await application.repository.get(Counter, counter.id)
      current.count(1)
      await application.save(current)
    }
    const { statements, states } = await costOf(command)
    expect(statements.filter((sql) => !isFrame(sql))).toHaveLength(1 + writes)
    expect(statements[0]).toBe('SELECT')
    // The last event that is known: nobody has written since.
    expect(states).toBe(1)
    await application.repository.get(Counter, counter.id)
    const inTransaction = await costOf(async () => await datastore.transaction(command))
    const sent = inTransaction.statements
    expect(sent.filter((sql) => !isFrame(sql))).toHaveLength(1 + writes)
    // On PostgreSQL neither of the two needs a transaction around it.
    const frame = kind.provider === 'postgresql' ? [] : ['BEGIN', 'COMMIT']
    expect(sent.filter((sql) => /^(BEGIN|COMMIT)/.test(sql))).toEqual(frame)
  })
})
