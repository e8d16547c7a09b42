/** What Python's projections promise, on memory and on every database, by the numbers of its behaviours. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  Application,
  defineDecider,
  defineProjection,
  InMemoryTrackingRecorder,
  IntegrityError,
  NAMESPACE_URL,
  on,
  PrismaTrackingRecorder,
  type Projection,
  ProjectionBlockedError,
  ProjectionRunner,
  type TrackingRecorder,
  topicsOf,
  uuid5,
  WaitInterruptedError,
  WaitTimeoutError,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabase, type TestDatabaseKind } from '../support/databases.js'

const timeoutMs = 30_000
const kinds: ReadonlyArray<{ readonly name: string; readonly kind?: TestDatabaseKind }> = [
  { name: 'memory' },
  ...oneOfEach.map((kind) => ({ name: kind.name, kind })),
]

describe.each(kinds)('on $name', ({ kind }) => {
  let open: OpenDatabase | undefined
  let school: TrainingSchool
  let counters: { created: number; subsequent: number }
  beforeEach(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
    school = new TrainingSchool(open === undefined ? {} : { datastore: open.datastore })
    counters = { created: 0, subsequent: 0 }
  })
  afterEach(async () => {
    await open?.close()
  })

  const counting = (fails = false): Projection =>
    defineProjection({
      name: 'counters',
      on: [
        on(Dog, 'Registered', () => {
          if (fails) throw new RangeError('no room')
          counters.created += 1
        }),
        on(Dog, 'TrickAdded', () => void (counters.subsequent += 1)),
      ],
    })

  async function runnerOf(projection: Projection): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({
      application: school,
      projections: [projection],
      poison: { attempts: 2, minMs: 5, maxMs: 5 },
      ...(open === undefined ? {} : { datastore: open.datastore }),
    })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  async function teach(name: string): Promise<void> {
    await school.register(name)
    await school.addTrick(name, 'sit')
    await school.addTrick(name, 'roll')
  }

  it('keeps a position once, and waits for it [224]', async () => {
    const tracking: TrackingRecorder =
      open === undefined ? new InMemoryTrackingRecorder() : new PrismaTrackingRecorder(open.datastore)
    const track = async (id: bigint): Promise<void> =>
      await tracking.insertTracking({ applicationName: 'up', notificationId: id })
    expect(await tracking.maxTrackingId('up')).toBe(null)
    for (const id of [1n, 2n, 3n]) await track(id)
    await expect(track(3n)).rejects.toBeInstanceOf(IntegrityError)
    expect(await tracking.maxTrackingId('up')).toBe(3n)
    await tracking.wait('up', 3n)
    await expect(tracking.wait('up', 4n, { timeoutMs: 100 })).rejects.toBeInstanceOf(WaitTimeoutError)
  })

  it('counts what was saved when the wait for it is over, and again [225]', async () => {
    const runner = await runnerOf(counting())
    await runner.start()
    for (const [name, expected] of [
      ['Fido', { created: 1, subsequent: 2 }],
      ['Rex', { created: 2, subsequent: 4 }],
    ] as const) {
      await teach(name)
      await runner.wait('counters', await school.recorder.maxNotificationId(), { timeoutMs })
      expect(counters).toEqual(expected)
    }
  })

  it('goes on from its position when it is begun again [226]', async () => {
    const runner = await runnerOf(counting())
    await teach('Fido')
    await runner.runOnce()
    await runner.start()
    await teach('Rex')
    await runner.wait('counters', 6n, { timeoutMs })
    await runner.stop()
    expect(counters).toEqual({ created: 2, subsequent: 4 })
  })

  it('is given what it takes, and waits end also for what it leaves out [227]', async () => {
    const changes = defineProjection({
      name: 'changes',
      on: [on(Dog, 'TrickAdded', () => void (counters.subsequent += 1))],
    })
    expect(changes.topics).toEqual(topicsOf(Dog, 'TrickAdded'))
    const runner = await runnerOf(changes)
    await runner.start()
    await teach('Fido')
    const recordings = await school.register('Rex')
    await runner.wait('changes', recordings, { timeoutMs })
    expect(counters).toEqual({ created: 0, subsequent: 2 })
  })

  it('tells who waits, and who runs it, what a handler throws [228, 229]', async () => {
    const runner = await runnerOf(counting(true))
    await school.register('Fido')
    await expect(runner.runOnce()).rejects.toBeInstanceOf(RangeError)
    await runner.start()
    await expect(runner.wait('counters', 1n, { timeoutMs })).rejects.toBeInstanceOf(ProjectionBlockedError)
    await expect(runner.wait('counters', 1n, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(
      WaitInterruptedError,
    )
  })

  it('stops when it is told to, before and while it runs, also at the end of a block [230, 231]', async () => {
    const runner = await runnerOf(counting())
    await runner.stop()
    await runner.start()
    await runner.stop()
    await runner.stop()
    const failing = async (): Promise<void> => {
      await using other = await runnerOf(counting())
      await other.start()
      throw new RangeError('of the block')
    }
    await expect(failing()).rejects.toThrow('of the block')
    await school.register('Fido')
    expect(counters.created).toBe(0)
  })

  it('counts in events of another application what happens in the first [232]', async () => {
    const counting = defineDecider({
      name: 'Counter',
      initialState: () => 0,
      evolve: { Counted: (count: number, _data: object) => count + 1 },
      decide: { count: () => [{ type: 'Counted' as const, data: {} }] },
    })
    const counts =
      open === undefined ? new Counts() : new Counts({ datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
    await counts.ready()
    const ids = { created: uuid5(NAMESPACE_URL, '/created'), subsequent: uuid5(NAMESPACE_URL, '/subsequent') }
    const projection = defineProjection({
      name: 'counts',
      on: [
        on(Dog, 'Registered', async () => await counts.execute(counting, ids.created, 'count')),
        on(Dog, 'TrickAdded', async () => await counts.execute(counting, ids.subsequent, 'count')),
      ],
    })
    const runner = await runnerOf(projection)
    const read = async (): Promise<number[]> => [
      (await counts.repository.get(counting, ids.created)).state,
      (await counts.repository.has(counting, ids.subsequent))
        ? (await counts.repository.get(counting, ids.subsequent)).state
        : 0,
    ]
    for (const name of ['Fido', 'Rex', 'Zoe']) {
      await school.register(name)
      await runner.runOnce()
    }
    expect(await read()).toEqual([3, 0])
    await school.register('Zora')
    await school.addTrick('Zora', 'sit')
    await runner.runOnce()
    expect(await read()).toEqual([4, 1])
  })

  // Memory and a file have no server that closes connections.
  if (kind !== undefined && kind.provider !== 'sqlite') {
    it('goes on when the server has closed all connections [233]', async () => {
      const runner = await runnerOf(counting())
      await runner.start()
      await teach('Fido')
      await runner.wait('counters', 3n, { timeoutMs })
      await closeConnections(open?.database, kind.provider)
      let dogs = 0
      // A connection that was lost fails whoever meets it.
      await vi.waitFor(async () => await school.register(`Dog ${(dogs += 1)}`), { timeout: timeoutMs })
      await runner.wait('counters', await school.recorder.maxNotificationId(), { timeoutMs })
      const stored = await school.recorder.selectNotifications(null, 100)
      expect(stored.length).toBeGreaterThan(3)
      await vi.waitFor(() => expect(runner.stats['counters']?.events).toBe(stored.length))
    })
  }

  it('gives events with their tracking, those of before and those that come, by topic [234]', async () => {
    await teach('Fido')
    await using subscription = school.subscribe({ gt: 1n, topics: topicsOf(Dog, 'TrickAdded') })
    const seen: Array<readonly [string, string, bigint]> = []
    for await (const { event, tracking } of subscription) {
      seen.push([event.topic, tracking.applicationName, tracking.notificationId])
      if (seen.length === 2) await teach('Rex')
      if (seen.length === 4) break
    }
    const trick = ['Dog.TrickAdded', 'TrainingSchool'] as const
    expect(seen).toEqual([2n, 3n, 5n, 6n].map((id) => [...trick, id]))
  })
})

class Counts extends Application {}

/** Ends the connections of all clients of a database but this one. */
async function closeConnections(database: TestDatabase | undefined, provider: string): Promise<void> {
  if (provider === 'postgresql') {
    await database?.query(
      'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
    )
    return
  }
  const sql = 'SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()'
  for (const { id } of (await database?.query(sql)) ?? []) {
    // One may have ended meanwhile.
    await database?.query(`KILL ${Number(id)}`).catch(() => undefined)
  }
}
