/** What cannot carry the log's order is refused by name, ids that collide are told from positions that do, and one lock serves a transaction. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  IntegrityError,
  NAMESPACE_URL,
  NotSupportedError,
  PrismaApplicationRecorder,
  PrismaDatastore,
  type PrismaDatastoreOptions,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { ofThisDatabase } from '../support/connections.js'
import { databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warnings } from './warnings.js'

type Adapter = PrismaDatastoreOptions<object>['adapter']

const dogId = (n: number): string => uuid5(NAMESPACE_URL, `/dogs/${n}`)

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind, { deadlineMs: 20_000 })
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.database.query('TRUNCATE stored_events RESTART IDENTITY')
    await open.database.query('ALTER SEQUENCE stored_events_id_seq CACHE 1')
  })

  const newRecorder = (): PrismaApplicationRecorder<TestClient> => new PrismaApplicationRecorder(open.datastore)
  const floors = async (): Promise<number> => {
    const rows = await open.database.query(
      `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND classid = 'stored_events'::regclass::oid AND ${ofThisDatabase}`,
    )
    return Number(rows[0]?.['n'])
  }

  it('refuses a sequence from which connections take ids in advance, to writers and readers, also once they have used it', async () => {
    const used = newRecorder()
    await used.insertEvents([storedEvent(dogId(1), 1)])
    await used.selectNotifications(null, 10)
    await open.database.query('ALTER SEQUENCE stored_events_id_seq CACHE 20')
    for (const recorder of [used, newRecorder()]) {
      const attempts = [
        () => recorder.insertEvents([storedEvent(dogId(2), 1)]),
        () => recorder.insertEvents([storedEvent(dogId(2), 1), storedEvent(dogId(2), 2)]),
        () => open.datastore.transaction(async () => await recorder.appendEvents([storedEvent(dogId(2), 1)])),
        () => recorder.selectNotifications(null, 10),
        () => recorder.maxNotificationId(),
        async () => await recorder.subscribe()[Symbol.asyncIterator]().next(),
      ]
      for (const attempt of attempts) {
        const refused = await attempt().catch((error: unknown) => error)
        expect(refused).toBeInstanceOf(NotSupportedError)
        expect(String(refused)).toMatch(/CACHE 20.*ALTER SEQUENCE public\.stored_events_id_seq CACHE 1/)
      }
    }
    expect(await open.database.query('SELECT id FROM stored_events')).toHaveLength(1)
    await open.database.query('ALTER SEQUENCE stored_events_id_seq CACHE 1')
    await used.insertEvents([storedEvent(dogId(2), 1)])
    expect(await used.selectNotifications(null, 10)).toHaveLength(2)
  })

  it.each(['CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu)', 'PostgreSQL 15.2-YB-2.25.0.0-b0 on x86_64-pc-linux-gnu'])(
    'refuses %s',
    async (version) => {
      const datastore = new PrismaDatastore({ adapter: withVersion(open.database.adapter(), version) })
      const recorder = new PrismaApplicationRecorder(datastore)
      await expect(recorder.insertEvents([storedEvent(dogId(1), 1)])).rejects.toThrow(NotSupportedError)
      await expect(recorder.selectNotifications(null, 1)).rejects.toThrow(
        /sequences and locks are not those of PostgreSQL/,
      )
      expect(await datastore.transaction(async () => 'without events')).toBe('without events')
      await datastore.close()
    },
  )

  it('refuses PgBouncer in statement mode, by what that answers to BEGIN', async () => {
    const factory = open.database.adapter()
    const datastore = new PrismaDatastore({
      adapter: {
        provider: factory.provider,
        adapterName: factory.adapterName,
        async connect() {
          const adapter = await factory.connect()
          adapter.startTransaction = async () => {
            const cause = {
              kind: 'postgres',
              code: '08P01',
              message: 'transaction blocks not allowed in statement pooling mode',
            }
            throw Object.assign(new Error(cause.message), { name: 'DriverAdapterError', cause })
          }
          return adapter
        },
      },
    })
    const recorder = new PrismaApplicationRecorder(datastore)
    const append = async (): Promise<void> => await recorder.appendEvents([storedEvent(dogId(1), 1)])
    const refused = datastore.transaction(append, { begin: 'first-statement' })
    await expect(refused).rejects.toThrow(NotSupportedError)
    await expect(refused).rejects.toThrow(/set pool_mode to transaction or session/)
    await datastore.close()
  })

  it('says that ids collide, not positions, where the sequence is behind the table, and what to run', async () => {
    const { seen, stop } = warnings('ES_LOG_IDS_BEHIND')
    const recorder = newRecorder()
    for (let n = 1; n <= 8; n += 1) await recorder.insertEvents([storedEvent(dogId(n), 1)])
    await open.database.query(`SELECT setval('stored_events_id_seq', 3)`)
    const attempts = [
      () => recorder.insertEvents([storedEvent(dogId(20), 1)]),
      () => recorder.insertEvents([storedEvent(dogId(20), 1), storedEvent(dogId(20), 2)]),
      () => open.datastore.transaction(async () => await recorder.appendEvents([storedEvent(dogId(20), 1)])),
    ]
    for (const attempt of attempts) {
      const refused = await attempt().catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(IntegrityError)
      expect(String(refused)).toMatch(/sequence public\.stored_events_id_seq stands at \d.*ids up to 8/)
      expect(String(refused)).toContain(
        `SELECT setval('public.stored_events_id_seq', (SELECT max(id) FROM "stored_events"))`,
      )
      expect(String(refused)).not.toContain('position is given twice')
    }
    await recorder.selectNotifications(null, 10)
    await recorder.maxNotificationId()
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 20_000 })
    await open.database.query(`SELECT setval('stored_events_id_seq', (SELECT max(id) FROM stored_events))`)
    await recorder.insertEvents([storedEvent(dogId(20), 1)])
    expect(await recorder.selectNotifications(null, 20)).toHaveLength(9)
    stop()
  })

  it('takes one lock for a transaction however often it flushes, and another one when a savepoint has taken it back', async () => {
    const recorder = newRecorder()
    let n = 100
    const append = async (): Promise<void> => {
      n += 1
      await recorder.appendEvents([storedEvent(dogId(n), 1)])
      await open.datastore.currentTransaction.flush()
    }
    await open.datastore.transaction(async () => {
      for (let flush = 0; flush < 200; flush += 1) await append()
      expect(await floors()).toBe(1)
      // Under the lock of what is around it.
      await open.datastore.transaction(append, { propagation: 'nested' })
      expect(await floors()).toBe(1)
    })
    expect(await floors()).toBe(0)
    const undo = new Error('undo')
    await open.datastore.transaction(async () => {
      const undone = open.datastore.transaction(
        async () => {
          await append()
          expect(await floors()).toBe(1)
          throw undo
        },
        { propagation: 'nested' },
      )
      await expect(undone).rejects.toBe(undo)
      expect(await floors()).toBe(0)
      // The same by a savepoint of Prisma's.
      const guests = open.db.$transaction(async () => {
        await append()
        expect(await floors()).toBe(1)
        throw undo
      })
      await expect(guests).rejects.toBe(undo)
      expect(await floors()).toBe(0)
      await append()
      expect(await floors()).toBe(1)
      await recorder.insertEvents([storedEvent(dogId(99), 1)])
      // Nobody passes what this one may still fill.
      expect(
        await open.datastore.transaction(async () => await recorder.selectNotifications(null, 500), {
          propagation: 'notSupported',
        }),
      ).toHaveLength(201)
    })
    expect(await recorder.selectNotifications(null, 500)).toHaveLength(203)
  })

  it('shows in stats, and warns with the process of the server, when a writer that hangs keeps the log from being final', async () => {
    const recorder = newRecorder()
    const { seen, stop } = warnings('ES_LOG_STALLED')
    const flushed = newGate()
    const mayEnd = newGate()
    let pid: unknown
    const hanging = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent(dogId(1), 1)])
      await tx.flush()
      pid = (await tx.client.$queryRawUnsafe<Array<{ pid: number }>>('SELECT pg_backend_pid() AS pid'))[0]?.pid
      flushed.open()
      await mayEnd.opened
    })
    await flushed.opened
    for (let n = 2; n <= 6; n += 1) await recorder.insertEvents([storedEvent(dogId(n), 1)])
    expect(await recorder.selectNotifications(null, 10)).toEqual([])
    expect(open.datastore.stats.unsettled).toBe(6)
    await vi.waitFor(
      async () => {
        await recorder.selectNotifications(null, 10)
        expect(seen).toHaveLength(1)
      },
      { timeout: 20_000, interval: 250 },
    )
    expect(seen[0]).toContain(`process ${String(pid)} of the server`)
    expect(open.datastore.stats.unsettledMs).toBeGreaterThan(4_000)
    mayEnd.open()
    await hanging
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(6)
    expect(open.datastore.stats).toMatchObject({ unsettled: 0, unsettledMs: 0 })
    stop()
  })
})

describe.each(databasesOf('mysql'))('on $name', (kind) => {
  it('says that ids collide where the counter is behind the table, and warns before', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    for (let n = 1; n <= 3; n += 1) await recorder.insertEvents([storedEvent(dogId(n), 1)])
    await open.database.query(`UPDATE notification_positions SET notification_id = 1 WHERE log = 'stored_events'`)
    const { seen, stop } = warnings('ES_LOG_IDS_BEHIND')
    const other = new PrismaDatastore<TestClient>({ adapter: open.database.adapter() })
    await new PrismaApplicationRecorder(other).maxNotificationId()
    await new PrismaApplicationRecorder(other).selectNotifications(null, 1)
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 20_000 })
    await other.close()
    const attempts = [
      () => recorder.insertEvents([storedEvent(dogId(9), 1)]),
      () => open.datastore.transaction(async () => await recorder.appendEvents([storedEvent(dogId(9), 1)])),
    ]
    for (const attempt of attempts) {
      const refused = await attempt().catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(IntegrityError)
      expect(String(refused)).toMatch(
        /stands at 1, and the table `stored_events` has ids up to 3.*UPDATE notification_positions/,
      )
    }
    await open.database.query(
      `UPDATE notification_positions SET notification_id = (SELECT max(id) FROM stored_events) WHERE log = 'stored_events'`,
    )
    expect(await recorder.insertEvents([storedEvent(dogId(9), 1)])).toEqual([4n])
    stop()
    await open.close()
  })
})

/** An adapter on a server that says it is another one. */
function withVersion(factory: Adapter, version: string): Adapter {
  return {
    ...factory,
    provider: factory.provider,
    adapterName: factory.adapterName,
    async connect() {
      const adapter = await factory.connect()
      return new Proxy(adapter, {
        get(target, name) {
          if (name !== 'queryRaw') {
            const member: unknown = Reflect.get(target, name)
            return typeof member === 'function' ? member.bind(target) : member
          }
          return async (query: Parameters<typeof target.queryRaw>[0]) => {
            const result = await target.queryRaw(query)
            if (/version\(\)/.test(query.sql)) result.rows = result.rows.map(([, ...rest]) => [version, ...rest])
            return result
          }
        },
      })
    },
  }
}
