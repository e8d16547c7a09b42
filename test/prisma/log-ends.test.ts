/** The end of a log on PostgreSQL, whose readers pass nothing over: beside writers that lock late, and where a snapshot is the default. */
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { NAMESPACE_URL, NotSupportedError, PrismaApplicationRecorder, PrismaDatastore, uuid5 } from '../../src/index.js'
import { type ReadableLog, readPage } from '../../src/persistence/followed-log.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf } from '../support/databases.js'
import { adapterOf } from '../support/pools.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const idOf = (n: number): string => uuid5(NAMESPACE_URL, `/dogs/${n}`)

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let last: bigint
  let saved = 0
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    for (let n = 0; n < 3; n += 1) await recorder.appendEvents([storedEvent(idOf((saved += 1)), 1)])
    last = (await recorder.maxNotificationId()) ?? 0n
  })

  /** What is held until the end of the test. */
  async function inTransaction(...statements: string[]): Promise<pg.Client> {
    const client = new pg.Client(open.database.url)
    await client.connect()
    onTestFinished(async () => await client.end())
    for (const statement of ['BEGIN', ...statements]) await client.query(statement)
    return client
  }

  /** The lock of a writer that has read this as the last id. */
  const floorLock = (floor: bigint): string =>
    `SELECT pg_advisory_xact_lock_shared(('stored_events'::regclass::oid::bigint << 32) | (${floor} & 4294967295))`

  const page = async (log: ReadableLog = recorder): Promise<{ ids: bigint[]; end: bigint }> => {
    const { topics } = { topics: new Set([storedEvent(idOf(1), 1).topic]) }
    const { items, end } = await readPage(log, { after: last - 3n, limit: 100, topics })
    return { ids: items.map(({ id }) => id), end }
  }

  const whole = (): { ids: bigint[]; end: bigint } => ({ ids: [last - 2n, last - 1n, last], end: last })

  it('a writer whose lock came after the end of the sequence was read does not hide what is before', async () => {
    await inTransaction(floorLock(last + 1n))
    expect(await recorder.maxNotificationId()).toBe(last)
    expect(await page()).toEqual(whole())
  })

  it('a writer that was slow to lock does not take back what was told, so that nothing of it is passed over', async () => {
    await inTransaction(floorLock(last - 2n))
    expect(await recorder.maxNotificationId()).toBe(last - 2n)
    const reading = {
      maxNotificationId: async () => last,
      selectNotifications: recorder.selectNotifications.bind(recorder),
    }
    expect(await page(reading)).toEqual(whole())
  })

  it('its own events, which a transaction sees, are no end for others', async () => {
    await open.datastore
      .transaction(async (tx) => {
        await recorder.appendEvents([storedEvent(idOf((saved += 1)), 1)])
        await tx.flush()
        expect(await recorder.maxNotificationId()).toBe(last + 1n)
        const outside = async (): Promise<bigint | null> => await recorder.maxNotificationId()
        expect(await open.datastore.outside(outside)).toBe(last)
        tx.rollbackOnly()
      })
      .catch(() => undefined)
    expect(await recorder.maxNotificationId()).toBe(last)
  })

  describe('where the default isolation level is a snapshot', () => {
    let datastore: PrismaDatastore<TestClient>
    let mine: PrismaApplicationRecorder<TestClient>
    beforeEach(() => {
      const parameters = '?options=-c%20default_transaction_isolation%3Drepeatable%5C%20read'
      datastore = new PrismaDatastore<TestClient>({
        adapter: adapterOf(kind, `${open.database.url}${parameters}`, 4),
        client: (adapter) => open.database.newClient(adapter) as TestClient,
      })
      onTestFinished(async () => await datastore.close())
      mine = new PrismaApplicationRecorder(datastore)
    })

    it('a transaction reads the log outside of it', async () => {
      await datastore.transaction(async () => {
        await datastore.client.owner.create({ data: { name: 'Ann', dog: 'Snap' } })
        await recorder.appendEvents([storedEvent(idOf((saved += 1)), 1)])
        const { length } = await mine.selectNotifications(last, 100, { inclusiveOfStart: false })
        expect(length).toBe(1)
      })
    })

    const decide = async (): Promise<void> => {
      const condition = { tags: ['dog:Rex'], types: [], after: last }
      await mine.appendEvents([{ ...storedEvent(idOf((saved += 1)), 1), tags: ['dog:Rex'] }], { unless: [condition] })
    }

    it('of decisions by tags at the same time, one is made', async () => {
      const all = await Promise.allSettled(Array.from({ length: 4 }, decide))
      expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    })

    it('a decision by tags is refused in it, and made at READ COMMITTED', async () => {
      const refused = datastore.transaction(decide)
      await expect(refused).rejects.toBeInstanceOf(NotSupportedError)
      await expect(refused).rejects.toThrow(/at REPEATABLE READ.*Decide by tags at READ COMMITTED/)
      await datastore.transaction(decide, { isolationLevel: 'ReadCommitted' })
    })
  })
})
