/** Projections on every database: exactly once, by one runner at a time, with waits for what was saved. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  DatastoreClosedError,
  defineProjection,
  defineReaction,
  LeaseLostError,
  of,
  on,
  PrismaDatastore,
  ProgrammingError,
  type Projection,
  ProjectionRunner,
  type ProjectionRunnerOptions,
  rows,
  WaitInterruptedError,
  WaitTimeoutError,
} from '../../src/index.js'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

type Options = Partial<ProjectionRunnerOptions>

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let db: TestClient
  let school: TrainingSchool
  let counts: Projection
  let owners: Projection
  beforeEach(async () => {
    open = await openDatabase(kind)
    ;({ db } = open)
    school = new TrainingSchool({ datastore: open.datastore })
    counts = defineProjection({
      name: 'counts',
      models: ['TrickCount'],
      ...rows(
        () => db.trickCount,
        'dog',
        (onRows) => [
          onRows(
            Dog,
            'Registered',
            (e) => e.originatorId,
            (_row, e) => ({ dog: e.originatorId, name: nameIn(e.data), tricks: 0 }),
          ),
          onRows(
            Dog,
            'TrickAdded',
            (e) => e.originatorId,
            (row) => row && { ...row, tricks: row.tricks + 1 },
          ),
        ],
      ),
    })
    owners = ownersIn(db)
  })
  afterEach(async () => {
    await open.close()
  })

  async function runnerOf(projections: readonly Projection[], options: Options = {}): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({ application: school, datastore: open.datastore, projections, ...options })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const allCounts = async (): Promise<Array<[string, number]>> =>
    (await db.trickCount.findMany({ orderBy: { name: 'asc' } })).map(({ name, tricks }) => [name, tricks])

  it.each([1, 100])('folds rows as if each were read again, in batches of %i', async (maxEvents) => {
    const folded = defineProjection({
      name: 'folded',
      models: ['TrickCount'],
      ...rows(
        () => db.trickCount,
        'dog',
        (onRows) => [
          onRows(
            Dog,
            'TrickAdded',
            (e) => e.originatorId,
            (row, e) => {
              const { trick } = e.data as { readonly trick: string }
              if (trick === 'forget') return undefined
              if (row === undefined) return { dog: e.originatorId, name: trick, tricks: 5 }
              // The name is left out, or undefined, which types of `create` allow: it stays.
              const { dog, tricks } = row
              const next = trick === 'beg' ? { dog, tricks: tricks + 1 } : { dog, name: undefined, tricks: tricks + 1 }
              return next as typeof row
            },
          ),
        ],
      ),
    })
    await school.register('Fido')
    for (const trick of ['sit', 'beg', 'roll']) await school.addTrick('Fido', trick)
    await (await runnerOf([folded], { batch: { maxEvents } })).runOnce()
    expect(await allCounts()).toEqual([['sit', 7]])
    for (const trick of ['forget', 'speak', 'beg']) await school.addTrick('Fido', trick)
    await (await runnerOf([folded], { batch: { maxEvents } })).runOnce()
    expect(await allCounts()).toEqual([['speak', 6]])
  })

  it('builds rows from the history in one call, and goes on where it was', async () => {
    const runner = await runnerOf([owners, counts])
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await school.register('Rex')
    await runner.runOnce()
    expect([await allCounts(), await open.dogs()]).toEqual([
      [
        ['Fido', 1],
        ['Rex', 0],
      ],
      [Dog.createId('Fido'), Dog.createId('Rex')].sort(),
    ])
    await school.addTrick('Fido', 'roll over')
    await (await runnerOf([owners, counts])).runOnce()
    expect(await allCounts()).toEqual([
      ['Fido', 2],
      ['Rex', 0],
    ])
  })

  it('follows the log while it runs, and tells when it has come to what was saved', async () => {
    const runner = await runnerOf([counts])
    await runner.start()
    const recordings = await school.register('Fido')
    await runner.wait('counts', recordings, { timeoutMs: 20_000 })
    expect(await allCounts()).toEqual([['Fido', 0]])
    await school.addTrick('Fido', 'sit')
    await runner.wait('counts', await school.recorder.maxNotificationId(), { timeoutMs: 20_000 })
    expect(await allCounts()).toEqual([['Fido', 1]])
    await vi.waitFor(
      () => expect(runner.stats['counts']).toMatchObject({ state: 'running', position: 2n, events: 2, retries: 0 }),
      { timeout: 20_000 },
    )
    expect(runner.healthy()).toBe(true)
  })

  it('passes events that it does not take', async () => {
    const runner = await runnerOf([owners])
    await runner.start()
    await school.register('Fido')
    const recordings = await school.addTrick('Fido', 'sit')
    await runner.wait('owners', recordings, { timeoutMs: 20_000 })
    expect(await open.dogs()).toHaveLength(1)
  })

  it('stores rows and position together, or neither', async () => {
    let isMended = false
    const failing = defineProjection({
      name: 'failing',
      on: [
        on(Dog, 'Registered', async ({ originatorId, data }) => {
          await db.owner.create({ data: { dog: originatorId, name: nameIn(data) } })
          if (nameIn(data) === 'Rex' && !isMended) throw new Error('not yet')
        }),
      ],
    })
    const runner = await runnerOf([failing])
    await school.register('Fido')
    await school.register('Rex')
    await expect(runner.runOnce()).rejects.toThrow('not yet')
    expect(await open.dogs()).toEqual([Dog.createId('Fido')])
    isMended = true
    await runner.runOnce()
    expect(await open.dogs()).toHaveLength(2)
  })

  it('is run by one runner at a time, and by another at once when that one stops', async () => {
    const other = new PrismaDatastore<TestClient>({
      adapter: open.database.adapter(),
      client: (adapter) => open.database.newClient(adapter) as TestClient,
    })
    onTestFinished(() => other.close())
    const first = await runnerOf([owners])
    await first.start()
    await vi.waitFor(() => expect(first.stats['owners']?.state).toBe('running'), { timeout: 20_000 })
    const elsewhere = new TrainingSchool({ datastore: other })
    const second = await runnerOf([ownersIn(other.client)], { application: elsewhere, datastore: other })
    await expect(second.runOnce()).rejects.toBeInstanceOf(LeaseLostError)
    await second.start()
    await vi.waitFor(() => expect(second.stats['owners']?.state).toBe('waiting'), { timeout: 20_000 })
    await second.wait('owners', await elsewhere.register('Fido'), { timeoutMs: 20_000 })
    const events = () => [first.stats['owners']?.events, second.stats['owners']?.events]
    // The position is seen by others before the runner has counted the batch.
    await vi.waitFor(() => expect(events()).toEqual([1, 0]), { timeout: 20_000 })
    await first.stop()
    await second.wait('owners', await elsewhere.register('Rex'), { timeoutMs: 20_000 })
    await vi.waitFor(() => expect(events()).toEqual([1, 1]), { timeout: 20_000 })
    expect(await open.dogs()).toHaveLength(2)
  })

  it('ends its event and gives its lease up when its datastore is closed, which refuses others meanwhile', async () => {
    const datastore = new PrismaDatastore<TestClient>({
      adapter: open.database.adapter(),
      client: (adapter) => open.database.newClient(adapter) as TestClient,
    })
    onTestFinished(() => datastore.close())
    const handled: string[] = []
    let close = (): void => undefined
    const closing = new Promise<void>((resolve) => (close = resolve))
    const mails = defineReaction({
      name: 'mails',
      transaction: false,
      on: [
        on(Dog, 'Registered', async (e) => {
          close()
          await delay(200)
          handled.push(e.originatorId)
          // Its own work goes on until it has ended.
          await datastore.transaction(
            async () => await datastore.client.owner.create({ data: { name: 'A', dog: 'B' } }),
          )
        }),
      ],
    })
    const runner = await runnerOf([mails], { application: new TrainingSchool({ datastore }), datastore })
    await runner.start()
    await vi.waitFor(() => expect(runner.stats['mails']?.state).toBe('running'), { timeout: 20_000 })
    await school.register('Fido')
    await closing
    const closed = datastore.close()
    await expect(datastore.transaction(async () => await datastore.client.owner.count())).rejects.toBeInstanceOf(
      DatastoreClosedError,
    )
    await closed
    expect(handled).toEqual([Dog.createId('Fido')])
    expect(await open.dogs()).toEqual(['B'])
    expect(runner.stats['mails']?.state).toBe('stopped')
    const recorder = open.datastore.infrastructureFactory(school.environment).projectionRecorder?.()
    const rows = await recorder?.rows()
    expect(rows?.map(({ position, isLeased }) => ({ position, isLeased }))).toEqual([
      { position: await school.recorder.maxNotificationId(), isLeased: false },
    ])
    await expect(runner.start()).rejects.toBeInstanceOf(ProgrammingError)
  })

  it('does not run when it is stopped while it starts, and runs when it is started while it stops', async () => {
    const runner = await runnerOf([owners])
    const state = (): string | undefined => runner.stats['owners']?.state
    const starting = runner.start()
    await runner.stop()
    await starting
    expect(state()).toBe('stopped')
    await runner.start()
    await vi.waitFor(() => expect(state()).toBe('running'), { timeout: 20_000 })
    const stopping = runner.stop()
    const again = runner.start()
    await Promise.all([stopping, again])
    await vi.waitFor(() => expect(state()).toBe('running'), { timeout: 20_000 })
  })

  it('changes nothing any more when its lease was taken by another', async () => {
    const taken = defineProjection({
      name: 'taken',
      on: [
        on(
          Dog,
          'Registered',
          async ({ originatorId }) => await db.owner.create({ data: { dog: originatorId, name: 'x' } }),
        ),
      ],
    })
    const runner = await runnerOf([taken])
    await runner.start()
    await vi.waitFor(() => expect(runner.stats['taken']?.state).toBe('running'), { timeout: 20_000 })
    const table = open.quoted('trainingschool_projections')
    await open.database.query(`UPDATE ${table} SET epoch = epoch + 1, owner = 'another'`)
    await school.register('Fido')
    await vi.waitFor(() => expect(runner.stats['taken']?.state).toBe('waiting'), { timeout: 20_000 })
    expect(await open.dogs()).toEqual([])
    await expect(runner.wait('taken', 1n, { timeoutMs: 50 })).rejects.toBeInstanceOf(WaitTimeoutError)
  })

  it('refuses at once to wait for what it does not have, and is interrupted by its signal', async () => {
    const runner = await runnerOf([owners])
    await expect(runner.wait('nothing', 1n)).rejects.toThrow(ProgrammingError)
    await expect(runner.wait('owners', 'x' as unknown as bigint)).rejects.toBeInstanceOf(TypeError)
    await expect(runner.wait('owners', 1n, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(
      WaitInterruptedError,
    )
    const interruption = new AbortController()
    const waiting = runner.wait('owners', 1n, { signal: interruption.signal, timeoutMs: 20_000 })
    interruption.abort()
    await expect(waiting).rejects.toBeInstanceOf(WaitInterruptedError)
    await runner.wait('owners', null)
    await runner.wait('owners', [])
  })

  it('does not begin when it was paused before anybody has run it', async () => {
    const elsewhere = await runnerOf([counts])
    await elsewhere.pause('counts')
    await school.register('Fido')
    const runner = await runnerOf([counts])
    await runner.runOnce()
    expect(await allCounts()).toEqual([])
    await elsewhere.resume('counts')
    await runner.runOnce()
    expect(await allCounts()).toEqual([['Fido', 0]])
  })

  it('takes events of a decider by a table', async () => {
    const balances = new Map<string, number>()
    const projection = defineProjection({
      name: 'balances',
      on: [
        of(accounts, {
          Opened: ({ originatorId }) => void balances.set(originatorId, 0),
          Changed: ({ originatorId, data }) =>
            void balances.set(originatorId, (balances.get(originatorId) ?? 0) + data.amount),
        }),
      ],
    })
    const id = Dog.createId('account')
    await school.execute(accounts, id, 'open', 'ann')
    await school.execute(accounts, id, 'change', 30)
    await school.execute(accounts, id, 'change', 12)
    await (await runnerOf([projection])).runOnce()
    expect([...balances]).toEqual([[id, 42]])
  })
})

describe('a definition', () => {
  it('is refused where it cannot be run', () => {
    const handlers = [on(Dog, 'Registered', () => undefined)]
    for (const bad of [
      { name: '' },
      { name: 'a b' },
      { version: 0 },
      { version: 1.5 },
      { partitions: 0 },
      { on: [] },
    ]) {
      expect(() => defineProjection({ name: 'good', on: handlers, ...bad })).toThrow(ProgrammingError)
    }
    expect(() => on(Dog, 'Forgotten' as 'Registered', () => undefined)).toThrow(TypeError)
  })
})

/** Events of decorated classes have no types of their own. */
function nameIn(data: object): string {
  return (data as { readonly name: string }).name
}

function ownersIn(client: TestClient): Projection {
  return defineProjection({
    name: 'owners',
    models: ['Owner'],
    on: [
      on(Dog, 'Registered', async ({ originatorId, data }) => {
        await client.owner.create({ data: { dog: originatorId, name: nameIn(data) } })
      }),
    ],
  })
}
