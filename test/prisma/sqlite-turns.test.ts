/** Turns on SQLite, where one connection writes: many transactions at once, statements beside them, and other processes. */
import { execFile } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { NAMESPACE_URL, PrismaApplicationRecorder, PrismaDatastore, uuid5 } from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { bundled } from '../support/bundled.js'
import { databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const run = promisify(execFile)
const worker = new URL('./two-processes-worker.ts', import.meta.url)
const idOf = (dog: string): string => uuid5(NAMESPACE_URL, `/dogs/${dog}`)
const undo = new Error('undo')

describe.each(databasesOf('sqlite'))('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind, { deadlineMs: 30_000 })
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
  })

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const storedIds = async (): Promise<string[]> =>
    (await open.database.query('SELECT originator_id FROM stored_events')).map((row) => String(row['originator_id']))

  /** Runs work beside a transaction that has written, which then rolls back. */
  async function besideARollback(beside: () => Promise<void>): Promise<void> {
    const written = newGate()
    const mayEnd = newGate()
    const transaction = open.datastore.transaction(async (tx) => {
      await newOwner('Fido')
      await recorder.appendEvents([storedEvent(idOf('Fido'), 1)])
      await tx.flush()
      written.open()
      await mayEnd.opened
      throw undo
    })
    const ended = expect(transaction).rejects.toBe(undo)
    await written.opened
    const besides = beside()
    // Time for a statement that does not wait for its turn to run where it must not.
    await delay(30)
    mayEnd.open()
    await Promise.all([ended, besides])
  }

  it('keeps its file in WAL mode, whatever it was in before [262]', async () => {
    const database = await kind.createDatabase()
    expect(await database.query('PRAGMA journal_mode = DELETE')).toEqual([{ journal_mode: 'delete' }])
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    await new PrismaApplicationRecorder(datastore).insertEvents([storedEvent(idOf('Fido'), 1)])
    // The observer finds out when it reads the file again.
    expect(await database.query('SELECT originator_version FROM stored_events')).toHaveLength(1)
    expect(await database.query('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }])
    await datastore.close()
    await database.drop()
  })

  it('stores exactly the successful ones of many transactions at once', async () => {
    const dogs = Array.from({ length: 200 }, (_, n) => `dog${n}`)
    const results = await Promise.allSettled(
      dogs.map((dog, n) =>
        open.datastore.transaction(async () => {
          await newOwner(dog)
          await recorder.appendEvents([storedEvent(idOf(dog), 1)])
          if (n % 2 === 1) throw undo
        }),
      ),
    )
    const successful = dogs.filter((_, n) => n % 2 === 0)
    expect(results.map(({ status }) => status)).toEqual(dogs.map((_, n) => (n % 2 === 0 ? 'fulfilled' : 'rejected')))
    expect(results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []))).toEqual(
      successful.map(() => undo),
    )
    expect(await open.dogs()).toEqual(successful.toSorted())
    expect((await storedIds()).toSorted()).toEqual(successful.map(idOf).toSorted())
  }, 60_000)

  it('gives each of many slow transactions its turn', async () => {
    const dogs = Array.from({ length: 200 }, (_, n) => `dog${n}`)
    await Promise.all(
      dogs.map((dog) =>
        open.datastore.transaction(
          async (tx) => {
            await recorder.appendEvents([storedEvent(idOf(dog), 1)])
            await tx.flush()
            await delay(20)
          },
          { deadlineMs: 30_000 },
        ),
      ),
    )
    expect((await storedIds()).toSorted()).toEqual(dogs.map(idOf).toSorted())
  }, 60_000)

  it('keeps what a client writes outside while a transaction is open that then rolls back', async () => {
    await besideARollback(async () => {
      await open.base.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
    })
    expect(await open.dogs()).toEqual(['Rex'])
    await besideARollback(async () => await newOwner('Ace'))
    expect(await open.dogs()).toEqual(['Ace', 'Rex'])
  })

  it('keeps what a recorder and the array form of $transaction write outside meanwhile', async () => {
    await besideARollback(async () => {
      await recorder.insertEvents([storedEvent(idOf('Rex'), 1)])
      await open.base.$transaction([open.base.owner.create({ data: { name: 'Bea', dog: 'Rex' } })])
    })
    expect(await storedIds()).toEqual([idOf('Rex')])
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('shows nothing uncommitted to reads outside', async () => {
    await besideARollback(async () => {
      expect(await open.base.owner.count()).toBe(0)
      expect(await open.db.owner.count()).toBe(0)
      expect(await recorder.selectEvents(idOf('Fido'))).toEqual([])
      expect(await recorder.selectNotifications(null, 10)).toEqual([])
    })
    expect(await open.dogs()).toEqual([])
  })

  describe('with two datastores on the file', () => {
    let other: PrismaDatastore<TestClient>
    beforeAll(() => {
      other = new PrismaDatastore<TestClient>({
        adapter: open.database.adapter(),
        client: (adapter) => open.database.newClient(adapter) as TestClient,
      })
    })
    afterAll(async () => await other.close())
    const all = (): Array<PrismaDatastore<TestClient>> => [open.datastore, other]

    it('lets their transactions take turns in the order in which they came', async () => {
      const dogs = Array.from({ length: 6 }, (_, n) => `dog${n}`)
      const stored: string[] = []
      const mayEnd = newGate()
      const running: Array<Promise<void>> = []
      for (const [n, dog] of dogs.entries()) {
        const work = all()[n % 2]?.transaction(async ({ client }) => {
          await client.owner.create({ data: { name: 'Ann', dog } })
          stored.push(dog)
          await mayEnd.opened
        })
        running.push(Promise.resolve(work))
        await vi.waitFor(
          () => {
            const waiting = all().reduce((sum, { stats }) => sum + stats.waiting, 0)
            expect(stored.length + waiting).toBe(n + 1)
          },
          { timeout: 20_000 },
        )
      }
      mayEnd.open()
      await Promise.all(running)
      expect(stored).toEqual(dogs)
    })

    it('refuses at once what would wait for the transaction that it is in', async () => {
      const inside = async (datastore?: PrismaDatastore<TestClient>): Promise<unknown> =>
        await datastore?.transaction(async ({ client }) => {
          await client.owner.create({ data: { name: 'Bea', dog: 'Rex' } })
        })
      for (const [outer, inner] of [all(), all().toReversed()]) {
        await outer?.transaction(async ({ client }) => {
          await client.owner.create({ data: { name: 'Ann', dog: `of ${outer.name}` } })
          await expect(inside(inner)).rejects.toMatchObject({ code: 'ES_NOT_SUPPORTED' })
          // It may read, as beside any writer.
          expect(await inner?.transaction(async (tx) => await tx.client.owner.count(), { readOnly: true })).toBe(
            outer === open.datastore ? 0 : 1,
          )
        })
      }
      expect(await open.dogs()).toHaveLength(2)
    })
  })

  it('tells a transaction that came to its deadline late what may have stopped the process', async () => {
    const work = open.datastore.transaction(
      async () => {
        await newOwner('Fido')
        const start = performance.now()
        while (performance.now() - start < 700);
      },
      { deadlineMs: 100 },
    )
    await expect(work).rejects.toThrow(/stood still for the last \d+ ms.*datastore\.client/)
  })

  it('lets two processes read and then write in transactions, without a failure', async () => {
    const [packageName, className] = kind.name.includes('libsql')
      ? ['@prisma/adapter-libsql', 'PrismaLibSql']
      : ['@prisma/adapter-better-sqlite3', 'PrismaBetterSqlite3']
    const id = idOf('Fido')
    const args = [bundled(worker), packageName, className, open.database.url, id, '100']
    const outputs = await Promise.all([1, 2].map(() => run(process.execPath, args, { timeout: 50_000 })))
    expect(outputs.map(({ stderr }) => stderr)).toEqual(['', ''])
    const events = await recorder.selectEvents(id)
    expect(versionsOf(events)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1))
    const processes = events.map(({ state }) => new TextDecoder().decode(state))
    const counts = [...new Set(processes)].map((each) => processes.filter((process) => process === each).length)
    expect(counts).toEqual([100, 100])
  }, 60_000)
})
