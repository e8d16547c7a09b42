/** Tables that others write and read besides the library: a service in Python, and plain statements under the trigger of the docs. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  Aggregate,
  Application,
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  PrismaDatastore,
  ProgrammingError,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { ofThisDatabase } from '../support/connections.js'
import { databasesOf } from '../support/databases.js'
import { pythonSets } from '../support/python-rows.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const inDocs = (page: string): string[] =>
  [...readFileSync(`docs/${page}`, 'utf8').matchAll(/```sql\n(.*?)```/gs)].map(([, sql = '']) => sql)

const dogId = (name: string): string => uuid5(NAMESPACE_URL, `/dogs/${name}`)

/** The columns that Python knows. */
const pythonInsert =
  'INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES ($1, $2, $3, $4) RETURNING id'

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind, { deadlineMs: 30_000 })
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.database.query('TRUNCATE stored_events RESTART IDENTITY')
  })

  const connect = async (): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: open.database.url })
    await client.connect()
    return client
  }

  /** As SQLAlchemyApplicationRecorder does: the lock, then the rows. */
  async function writeAsPython(client: pg.Client, name: string, openMs: number): Promise<void> {
    await client.query('BEGIN')
    await client.query('LOCK TABLE stored_events IN EXCLUSIVE MODE')
    for (const version of [1, 2])
      await client.query(pythonInsert, [dogId(name), version, 'dogs:Dog.Added', Buffer.from('{}')])
    await client.query('NOTIFY stored_events')
    await delay(openMs)
    await client.query('COMMIT')
  }

  /** Writes side by side: with requests that flush early, requests that roll back, and Python. */
  async function writeMixed(recorder: PrismaApplicationRecorder<TestClient>): Promise<void> {
    const python = [await connect(), await connect()]
    const ours = async (writer: number): Promise<void> => {
      for (let n = 0; n < 12; n += 1) {
        const work = open.datastore.transaction(async (tx) => {
          await recorder.appendEvents([storedEvent(dogId(`ours-${writer}-${n}`), 1)])
          await tx.flush()
          await delay((writer * 7 + n * 3) % 20)
          if (n % 6 === 5) throw new Error('undo')
        })
        await (n % 6 === 5 ? expect(work).rejects.toThrow('undo') : work)
      }
    }
    const theirs = async (client: pg.Client, writer: number): Promise<void> => {
      for (let n = 0; n < 12; n += 1) await writeAsPython(client, `python-${writer}-${n}`, (n * 5) % 15)
    }
    await Promise.all([...[1, 2, 3].map(ours), ...python.map(theirs)])
    for (const client of python) await client.end()
  }

  /** Reads as Python does: plainly, from the last id that it has seen. */
  async function readAsPython(isWriting: () => boolean): Promise<string[]> {
    const client = await connect()
    const seen: string[] = []
    for (;;) {
      const isLast = !isWriting()
      const sql = 'SELECT id FROM stored_events WHERE id > $1 ORDER BY id LIMIT 10'
      const { rows } = await client.query<{ id: string }>(sql, [seen.at(-1) ?? 0])
      seen.push(...rows.map(({ id }) => id))
      if (isLast && rows.length === 0) break
      await delay(1)
    }
    await client.end()
    return seen
  }

  const all = async (): Promise<string[]> =>
    (await open.database.query('SELECT id FROM stored_events ORDER BY id')).map(({ id }) => String(id))

  it.each(['floor-lock', 'table-lock'] as const)(
    'our readers miss nothing of writers in Python, with %s',
    async (order) => {
      const recorder = new PrismaApplicationRecorder(open.datastore, { order })
      const seen: string[] = []
      const subscription = recorder.subscribe()
      const reading = (async () => {
        for await (const { id } of subscription) seen.push(String(id))
      })()
      await writeMixed(recorder)
      const stored = await all()
      await vi.waitFor(() => expect(seen).toHaveLength(stored.length), { timeout: 10_000 })
      expect(seen).toEqual(stored)
      subscription.stop()
      await reading
    },
  )

  it("readers in Python miss nothing of ours with order 'table-lock'", async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore, { order: 'table-lock' })
    let isWriting = true
    const [seen] = await Promise.all([
      readAsPython(() => isWriting),
      writeMixed(recorder).finally(() => {
        isWriting = false
      }),
    ])
    expect(seen).toEqual(await all())
  })

  it.each([
    { order: 'table-lock' } as const,
    { env: { LOG_ORDER: 'table-lock' } },
    { env: { SCHOOL_LOG_ORDER: 'table-lock' } },
  ])('takes the table lock at the flush, not before, and gives it back at the end: %j', async (option) => {
    const datastore = new PrismaDatastore({ adapter: open.database.adapter() })
    const school = new Application({ name: 'School', datastore, ...option })
    const isLocked = async (table: string): Promise<boolean> => {
      const sql = `SELECT 1 FROM pg_locks WHERE relation = '${table}'::regclass AND mode = 'ExclusiveLock'`
      return (await open.database.query(sql)).length > 0
    }
    class Dog extends Aggregate {}
    const { recorder } = school
    if (!(recorder instanceof PrismaApplicationRecorder)) throw new Error('the recorder is one on Prisma')
    await recorder.createTable()
    await datastore.transaction(async (tx) => {
      await school.save(new Dog())
      expect(await isLocked('school_events')).toBe(false)
      await tx.flush()
      expect(await isLocked('school_events')).toBe(true)
    })
    expect(await isLocked('school_events')).toBe(false)
    expect(() => new PrismaApplicationRecorder(datastore, { order: 'no-lock' as 'table-lock' })).toThrow(
      ProgrammingError,
    )
    await datastore.close()
  })

  it("wakes who listens to Python's channel, and is woken by it", async () => {
    const listener = await connect()
    const heard: string[] = []
    listener.on('notification', ({ channel }) => heard.push(channel))
    await listener.query('LISTEN stored_events')
    const datastore = new PrismaDatastore({
      adapter: open.database.adapter(),
      order: 'table-lock',
      listen: () => new pg.Client({ connectionString: open.database.url }),
    })
    const recorder = new PrismaApplicationRecorder(datastore)
    await recorder.insertEvents([storedEvent(dogId('heard'), 1)])
    await vi.waitFor(() => expect(heard).toEqual(['stored_events']), { timeout: 20_000 })
    const subscription = recorder.subscribe({ gt: 1n })[Symbol.asyncIterator]()
    const next = subscription.next()
    await writeAsPython(listener, 'quick', 0)
    expect((await next).value?.topic).toBe('dogs:Dog.Added')
    await subscription.return?.()
    await datastore.close()
    await listener.end()
  })

  it('reads rows that Python wrote, in the order of the log', async () => {
    const client = await connect()
    const rows = pythonSets.find(({ name }) => name === 'plain')?.events ?? []
    for (const { originatorId, originatorVersion, topic, state } of rows) {
      await client.query(pythonInsert, [originatorId, originatorVersion, topic, Buffer.from(state)])
    }
    await client.end()
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const log = await recorder.selectNotifications(null, 10)
    expect(log.map(({ topic, originatorVersion }) => [topic, originatorVersion])).toEqual(
      rows.map(({ topic, originatorVersion }) => [topic, originatorVersion]),
    )
    expect(log.every(({ metadata, recordedAt }) => metadata === undefined && recordedAt instanceof Date)).toBe(true)
  })

  it('the settled read of the docs stops before an open writer', async () => {
    const [settledRead = ''] = inDocs('python.md').filter((sql) => sql.includes('AS settled'))
    const recorder = new PrismaApplicationRecorder(open.datastore)
    await recorder.insertEvents([storedEvent(dogId('first'), 1)])
    const settled = async (): Promise<unknown> => (await open.database.query(settledRead))[0]?.['settled']
    const flushed = newGate()
    const mayEnd = newGate()
    const writing = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent(dogId('slow'), 1)])
      await tx.flush()
      flushed.open()
      await mayEnd.opened
    })
    await flushed.opened
    await recorder.insertEvents([storedEvent(dogId('quick'), 1)])
    expect(await settled()).toBe('1')
    mayEnd.open()
    await writing
    expect(await settled()).toBe('3')
  })

  it('the trigger of the docs keeps plain INSERTs in order, which lose events without it', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const client = await connect()
    const plainly = async (): Promise<{ passed: boolean }> => {
      await open.database.query('TRUNCATE stored_events RESTART IDENTITY')
      await client.query('BEGIN')
      await client.query(pythonInsert, [dogId('plain'), 1, 'a', Buffer.from('{}')])
      await recorder.insertEvents([storedEvent(dogId('ours'), 1)])
      const read = await recorder.selectNotifications(null, 10)
      await client.query('COMMIT')
      return { passed: read.length > 0 }
    }
    expect(await plainly()).toEqual({ passed: true })
    const [guard = ''] = inDocs('operations.md').filter((sql) => sql.includes('CREATE TRIGGER'))
    await client.query(guard)
    expect(await plainly()).toEqual({ passed: false })
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(2)
    // It leaves ours as they are: one lock, however many flushes.
    await open.datastore.transaction(async (tx) => {
      for (let n = 0; n < 3; n += 1) {
        await recorder.appendEvents([storedEvent(dogId(`guarded-${n}`), 1)])
        await tx.flush()
      }
      const sql = `SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND ${ofThisDatabase}`
      expect(await open.database.query(sql)).toEqual([{ n: 1 }])
    })
    await client.end()
  })
})
