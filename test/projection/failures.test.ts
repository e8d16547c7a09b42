/** What becomes of events that handlers fail on, and of projections that are paused, on every database. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  defineProjection,
  OperationalError,
  on,
  type Projection,
  ProjectionBlockedError,
  type ProjectionOptions,
  ProjectionRunner,
  type ProjectionRunnerOptions,
  WaitTimeoutError,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warnings, warningsOf } from '../prisma/warnings.js'
import { oneOfEach } from '../support/databases.js'

const poison = { attempts: 2, minMs: 10, maxMs: 20 }
const timeoutMs = 30_000

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
  })
  afterEach(async () => {
    await open.close()
  })

  /** A projection that keeps tricks as owners, and fails on some. */
  function tricksOf(fails: (trick: string) => void, options: Partial<ProjectionOptions> = {}): Projection {
    return defineProjection({
      name: 'tricks',
      on: [
        on(Dog, 'TrickAdded', async ({ originatorId, originatorVersion, data }) => {
          const { trick } = data as { readonly trick: string }
          fails(trick)
          await open.db.owner.create({ data: { dog: `${originatorId} ${originatorVersion}`, name: trick } })
        }),
      ],
      ...options,
    })
  }

  async function runnerOf(projections: readonly Projection[], options: Partial<ProjectionRunnerOptions> = {}) {
    const runner = new ProjectionRunner({
      application: school,
      datastore: open.datastore,
      projections,
      poison,
      ...options,
    })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const tricks = async (): Promise<string[]> =>
    (await open.db.owner.findMany({ orderBy: { id: 'asc' } })).map(({ name }) => name)

  async function addTricks(name: string, ...list: readonly string[]): Promise<void> {
    for (const trick of list) await school.addTrick(name, trick)
  }

  it('blocks at an event that fails again and again, says so, and lets the others go on', async () => {
    let isMended = false
    const failing = tricksOf((trick) => {
      if (trick === 'bite' && !isMended) throw new Error('no such trick')
    })
    const other = defineProjection({ name: 'other', on: [on(Dog, 'TrickAdded', () => undefined)] })
    const runner = await runnerOf([failing, other])
    await school.register('Fido')
    await addTricks('Fido', 'sit', 'bite', 'roll')
    const { seen, stop } = warnings('ES_PROJECTION_BLOCKED')
    onTestFinished(stop)
    await runner.start()
    await expect(runner.wait('tricks', 4n, { timeoutMs })).rejects.toBeInstanceOf(ProjectionBlockedError)
    // The runner warns after the commit that a wait sees.
    await vi.waitFor(() => expect(seen).toEqual([expect.stringMatching(/tricks .*event 3.*no such trick/s)]), {
      timeout: 20_000,
    })
    await runner.wait('other', 4n, { timeoutMs })
    await runner.wait('tricks', 2n, { timeoutMs })
    expect([await tricks(), runner.healthy(), runner.stats['tricks']?.state]).toEqual([['sit'], false, 'blocked'])
    isMended = true
    await runner.retry('tricks')
    await runner.wait('tricks', 4n, { timeoutMs })
    expect([await tricks(), runner.healthy()]).toEqual([['sit', 'bite', 'roll'], true])
  })

  it('parks an event that fails, and those of its key after it, until they are tried again in order', async () => {
    let isMended = false
    const failing = tricksOf(
      (trick) => {
        if (trick === 'bite' && !isMended) throw new Error('no such trick')
      },
      { onError: 'park' },
    )
    const runner = await runnerOf([failing])
    await school.register('Fido')
    await school.register('Rex')
    await addTricks('Fido', 'sit', 'bite')
    await addTricks('Rex', 'beg')
    await addTricks('Fido', 'roll')
    await runner.start()
    await runner.wait('tricks', 6n, { timeoutMs })
    expect(await tricks()).toEqual(['sit', 'beg'])
    await vi.waitFor(() => expect(runner.stats['tricks']).toMatchObject({ parked: 1, state: 'running' }), {
      timeout: 20_000,
    })
    await addTricks('Fido', 'jump')
    await runner.wait('tricks', 7n, { timeoutMs })
    await runner.retry('tricks')
    expect(await tricks()).toEqual(['sit', 'beg'])
    isMended = true
    await runner.retry('tricks')
    expect(await tricks()).toEqual(['sit', 'beg', 'bite', 'roll', 'jump'])
    await addTricks('Fido', 'speak')
    await runner.wait('tricks', 8n, { timeoutMs })
    expect((await tricks()).at(-1)).toBe('speak')
  })

  it.each([
    ['a text that databases do not keep', new Error('no\0such trick \ud800')],
    ['something that cannot be shown', Object.create(null) as unknown],
    [
      'nothing',
      undefined,
      'Something else than an Error was thrown: undefined. Throw an Error that says what has failed.',
    ],
  ])('blocks at an event that fails with %s, or puts it aside', async (_name, thrown, reason?: string) => {
    const handlers = [
      on(Dog, 'TrickAdded', ({ data }) => {
        if ((data as { readonly trick: string }).trick === 'bite') throw thrown
      }),
    ]
    const parking = defineProjection({ name: 'parking', onError: 'park', on: handlers })
    const runner = await runnerOf([defineProjection({ name: 'blocking', on: handlers }), parking])
    const { seen, stop } = warnings('ES_PROJECTION_BLOCKED')
    onTestFinished(stop)
    await school.register('Fido')
    await addTricks('Fido', 'bite', 'sit')
    await runner.start()
    await runner.wait('parking', 3n, { timeoutMs })
    await expect(runner.wait('blocking', 3n, { timeoutMs })).rejects.toBeInstanceOf(ProjectionBlockedError)
    await vi.waitFor(() => expect(seen).toEqual([expect.stringContaining(reason ?? 'stands still at event 2')]))
  })

  it.each([undefined, 'a\0b', 'x'.repeat(256)])('says of a key that it cannot be kept: %j', async (key) => {
    const runner = await runnerOf([tricksOf(() => undefined, { partitions: 2, key: () => key as string })])
    await school.register('Fido')
    await addTricks('Fido', 'sit')
    await expect(runner.runOnce()).rejects.toThrow(
      /The key of .*, version 2 of .*, in 'tricks' has to be a text.*`key`/s,
    )
  })

  it('refuses a greater version whose models are not known, since it would write once more', async () => {
    await school.register('Fido')
    await addTricks('Fido', 'sit')
    await (await runnerOf([tricksOf(() => undefined)])).runOnce()
    const second = await runnerOf([tricksOf(() => undefined, { version: 2 })])
    await expect(second.runOnce()).rejects.toThrow(
      /version 2 of projection 'tricks': what version 1 has written.*`models`/s,
    )
    expect(await tricks()).toEqual(['sit'])
    await (await runnerOf([tricksOf(() => undefined)])).runOnce()
    const nothing = defineProjection({
      name: 'tricks',
      version: 2,
      models: [],
      on: [on(Dog, 'TrickAdded', () => undefined)],
    })
    await (await runnerOf([nothing])).runOnce()
    expect(await tricks()).toEqual(['sit'])
  })

  it('lets other keys go on at once, and tries what it has put aside again beside them', async () => {
    let failures = 3
    const failing = tricksOf(
      (trick) => {
        if (trick === 'bite' && (failures -= 1) >= 0) throw new Error('not yet')
      },
      { onError: 'park' },
    )
    const patient = await runnerOf([failing], { poison: { attempts: 2, minMs: 3_600_000, maxMs: 3_600_000 } })
    await school.register('Fido')
    await school.register('Rex')
    await addTricks('Fido', 'bite', 'sit')
    await addTricks('Rex', 'beg')
    await patient.start()
    await patient.wait('tricks', 5n, { timeoutMs })
    expect(await tricks()).toEqual(['beg'])
    await patient.stop()
    // Whoever runs it next takes the attempts over.
    const runner = await runnerOf([failing], { poison: { attempts: 9, minMs: 5, maxMs: 5 } })
    await runner.start()
    await vi.waitFor(async () => expect(await tricks()).toEqual(['beg', 'bite', 'sit']), { timeout: timeoutMs })
  })

  it('handles what was put aside once, although several try it again', async () => {
    let isMended = false
    const failing = tricksOf(
      () => {
        if (!isMended) throw new Error('no tricks')
      },
      { onError: 'park' },
    )
    const runner = await runnerOf([failing])
    await school.register('Fido')
    await addTricks('Fido', 'sit', 'roll', 'jump')
    await runner.runOnce()
    isMended = true
    const others = await Promise.all([1, 2, 3].map(async () => await runnerOf([failing])))
    await Promise.all([runner, ...others].map(async (each) => await each.retry('tricks')))
    expect(await tricks()).toEqual(['sit', 'roll', 'jump'])
  })

  it('tries again for as long as it takes what may pass', async () => {
    let failures = 3
    const passing = tricksOf(() => {
      failures -= 1
      if (failures >= 0) throw new OperationalError('The server is starting up.', { retryable: true })
    })
    const runner = await runnerOf([passing])
    await school.register('Fido')
    await addTricks('Fido', 'sit')
    await runner.start()
    await runner.wait('tricks', 2n, { timeoutMs })
    expect([await tricks(), runner.stats['tricks']?.retries]).toEqual([['sit'], 3])
  })

  it('rests while it is paused, in whatever process, and goes on where it was', async () => {
    const runner = await runnerOf([tricksOf(() => undefined)], { leaseMs: 1_000 })
    const elsewhere = await runnerOf([tricksOf(() => undefined)])
    await school.register('Fido')
    await addTricks('Fido', 'sit')
    await runner.start()
    await runner.wait('tricks', 2n, { timeoutMs })
    await elsewhere.pause('tricks')
    // It has nothing to do: it finds out when it would renew its lease.
    await vi.waitFor(() => expect(runner.stats['tricks']?.state).toBe('paused'), { timeout: timeoutMs })
    await addTricks('Fido', 'roll')
    await expect(runner.wait('tricks', 3n, { timeoutMs: 300 })).rejects.toBeInstanceOf(WaitTimeoutError)
    await elsewhere.resume('tricks')
    await runner.wait('tricks', 3n, { timeoutMs })
    expect(await tricks()).toEqual(['sit', 'roll'])
  })

  it('is taken over by a greater version, which is built anew, and not by a lower one', async () => {
    const { seen, stop } = warnings('ES_PROJECTION_SUPERSEDED')
    const models = ['Owner']
    const first = await runnerOf([tricksOf(() => undefined, { models })])
    await school.register('Fido')
    await addTricks('Fido', 'sit', 'roll')
    await first.start()
    await first.wait('tricks', 3n, { timeoutMs })
    const second = await runnerOf([
      defineProjection({
        name: 'tricks',
        version: 2,
        models,
        on: [
          on(Dog, 'TrickAdded', async ({ originatorVersion, data }) => {
            const { trick } = data as { readonly trick: string }
            await open.db.owner.create({ data: { dog: `${originatorVersion}`, name: trick.toUpperCase() } })
          }),
        ],
      }),
    ])
    await second.start()
    await second.wait('tricks', 3n, { timeoutMs })
    await addTricks('Fido', 'jump')
    await second.wait('tricks', 4n, { timeoutMs })
    expect(await tricks()).toEqual(['SIT', 'ROLL', 'JUMP'])
    await vi.waitFor(() => expect(first.stats['tricks']?.state).toBe('superseded'), { timeout: timeoutMs })
    await (await runnerOf([tricksOf(() => undefined, { models })])).runOnce()
    const told = expect.stringMatching(
      /^Version 1 of projection tricks does nothing any more: version 2 has taken over/,
    )
    await vi.waitFor(() => expect(seen).toEqual([told, told]), { timeout: timeoutMs })
    stop()
    expect(await tricks()).toEqual(['SIT', 'ROLL', 'JUMP'])
  })

  it('stops where its row was deleted while it ran, instead of beginning once more beside its rows', async () => {
    const runner = await runnerOf([tricksOf(() => undefined, { models: ['Owner'] })])
    await school.register('Fido')
    await addTricks('Fido', 'sit', 'roll')
    await runner.start()
    await runner.wait('tricks', 3n, { timeoutMs })
    const { seen, stop } = warnings('ES_PROJECTION_BLOCKED')
    await open.database.query('DELETE FROM trainingschool_projections')
    await addTricks('Fido', 'jump')
    await vi.waitFor(() => expect(runner.stats['tricks']?.state).toBe('blocked'), { timeout: timeoutMs })
    await expect(runner.wait('tricks', 1n)).rejects.toThrow(/the row with its position was deleted/)
    stop()
    expect([runner.healthy(), await tricks(), seen]).toEqual([
      false,
      ['sit', 'roll'],
      [expect.stringContaining('projections rebuild <module> tricks')],
    ])
    await runner.rebuild('tricks')
    await runner.wait('tricks', 4n, { timeoutMs })
    expect(await tricks()).toEqual(['sit', 'roll', 'jump'])
  })
})

it('tells once of a handler that does not end, with its event', async () => {
  const school = new TrainingSchool({ store: 'memory' })
  const done: string[] = []
  let end = (): void => undefined
  const hangs = defineProjection({
    name: 'hangs',
    on: [
      on(Dog, 'TrickAdded', async ({ data }) => {
        const { trick } = data as { readonly trick: string }
        if (trick === 'stay') await new Promise<void>((resolve) => (end = resolve))
        done.push(trick)
      }),
    ],
  })
  const runner = new ProjectionRunner({ application: school, projections: [hangs] })
  await school.register('Fido')
  for (const trick of ['sit', 'stay', 'come']) await school.addTrick('Fido', trick)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())
  const running = runner.runOnce()
  await vi.waitFor(() => expect(done).toEqual(['sit']))
  const seen = await warningsOf('ES_PROJECTION_SLOW', async () => await vi.advanceTimersByTimeAsync(90_000))
  expect(seen).toEqual([expect.stringMatching(/^The projection hangs has been at event 3 \(Dog\.TrickAdded\) for 30 /)])
  end()
  await running
  expect(done).toEqual(['sit', 'stay', 'come'])
})
