/** Rebuilds beside the rows in use: on databases with schemas or several databases, while readers, writers and runners go on. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  defineProjection,
  LeaseLostError,
  NotSupportedError,
  on,
  PrismaDatastore,
  type Projection,
  ProjectionRunner,
  type ProjectionRunnerOptions,
  type RebuildProgress,
  rows,
  WaitInterruptedError,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'

const timeoutMs = 30_000
const names = Array.from({ length: 12 }, (_, n) => `Dog ${String(n).padStart(2, '0')}`)
const shadow = { way: 'shadow' } as const

type Fails = (name: string) => void

function nameIn(data: object): string {
  return (data as { readonly name: string }).name
}

function countsOf(db: TestClient, fails: Fails = () => undefined, version = 1): Projection {
  return defineProjection({
    name: 'counts',
    version,
    ...rows(
      () => db.trickCount,
      'dog',
      (onRows) => [
        onRows(
          Dog,
          'Registered',
          (e) => e.originatorId,
          (_row, e) => {
            fails(nameIn(e.data))
            return { dog: e.originatorId, name: nameIn(e.data), tricks: 0 }
          },
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
}

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  let fails: Fails
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
    fails = () => undefined
  })
  afterEach(async () => {
    expect(await shadows()).toEqual([])
    await open.close()
  })

  const ours = (): Projection => countsOf(open.db, (name) => fails(name))

  async function runnerOf(
    projection: Projection = ours(),
    options: Partial<ProjectionRunnerOptions> = {},
  ): Promise<ProjectionRunner> {
    const { datastore } = open
    const batch = { maxEvents: 5 }
    const projections = [projection]
    const runner = new ProjectionRunner({ application: school, datastore, projections, batch, ...options })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const stored = async (): Promise<string[]> =>
    (await open.db.trickCount.findMany({ orderBy: { name: 'asc' } })).map(({ name }) => name)

  /** Those that this database's rebuilds have made. */
  async function shadows(): Promise<string[]> {
    const sql =
      kind.provider === 'mysql'
        ? `SELECT table_schema AS name FROM information_schema.views WHERE table_schema LIKE 'shadow%' AND view_definition LIKE concat('%', database(), '%') GROUP BY table_schema`
        : "SELECT nspname AS name FROM pg_namespace WHERE nspname LIKE 'shadow%'"
    return (await open.database.query(sql)).map((row) => String(row['name']))
  }

  async function spoiled(): Promise<ProjectionRunner> {
    const runner = await runnerOf()
    for (const name of names) await school.register(name)
    await runner.runOnce()
    await open.db.trickCount.updateMany({ data: { name: 'spoiled' } })
    return runner
  }

  async function leaveOne(runner: ProjectionRunner): Promise<void> {
    const cancelling = new AbortController()
    const { signal } = cancelling
    const cancelled = runner.rebuild('counts', { ...shadow, signal, onProgress: () => cancelling.abort() })
    await expect(cancelled).rejects.toBeInstanceOf(WaitInterruptedError)
  }

  it('builds everything anew while the rows in use go on, and readers see the old or the new ones', async () => {
    const runner = await spoiled()
    await runner.start()
    const seen = new Set<string>()
    const done = new AbortController()
    const reading = (async () => {
      while (!done.signal.aborted) {
        const found = await open.database.query(`SELECT name FROM ${open.quoted('trick_counts')}`)
        const kinds = new Set(found.map((row) => String(row['name']) === 'spoiled'))
        seen.add(`${kinds.size} ${found.length < 12}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    const progress: RebuildProgress[] = []
    let isLive = false
    fails = (name) => void (isLive ||= name === 'Rex')
    const result = await runner.rebuild('counts', {
      ...shadow,
      async onProgress(each) {
        progress.push(each)
        if (progress.length === 1) await school.addTrick('Dog 00', 'sit')
      },
    })
    done.abort()
    await reading
    expect(result.events).toBeGreaterThanOrEqual(12)
    expect(progress[0]).toMatchObject({ position: 5n, target: 12n, events: 5 })
    expect([...seen].filter((each) => each !== '1 false')).toEqual([])
    await runner.wait('counts', await school.register('Rex'), { timeoutMs })
    expect([await stored(), isLive]).toEqual([[...names, 'Rex'], true])
    expect(await open.db.trickCount.findFirst({ where: { name: 'Dog 00' } })).toMatchObject({ tricks: 1 })
  })

  it('is cancelled and resumed, or begun anew', async () => {
    const runner = await spoiled()
    await leaveOne(runner)
    expect(new Set(await stored())).toEqual(new Set(['spoiled']))
    const resumed = await runner.rebuild('counts', { ...shadow, resume: true })
    expect([resumed.events, await stored()]).toEqual([7, names])
    await leaveOne(runner)
    expect(await runner.rebuild('counts', shadow)).toMatchObject({ position: 12n, events: 12 })
    expect(await runner.rebuild('counts', { ...shadow, resume: true })).toMatchObject({ events: 12 })
    expect(await stored()).toEqual(names)
  })

  it('leaves everything as it was where a handler fails', async () => {
    const runner = await spoiled()
    fails = (name) => {
      if (name === 'Dog 07') throw new RangeError('no such dog')
    }
    await expect(runner.rebuild('counts', shadow)).rejects.toBeInstanceOf(RangeError)
    expect(new Set(await stored())).toEqual(new Set(['spoiled']))
    await school.register('Rex')
    await runner.runOnce()
    expect(await stored()).toContain('Rex')
  })

  it('is done by one at a time', async () => {
    const runner = await spoiled()
    const other = new PrismaDatastore<TestClient>({
      adapter: open.database.adapter(),
      client: (adapter) => open.database.newClient(adapter) as TestClient,
    })
    onTestFinished(() => other.close())
    const elsewhere = await runnerOf(countsOf(other.client), { datastore: other })
    const both = async (): Promise<unknown> => {
      let second: Promise<unknown> | undefined
      await runner.rebuild('counts', {
        ...shadow,
        onProgress: () => {
          second ??= elsewhere.rebuild('counts', shadow).catch((error: unknown) => error)
        },
      })
      return await second
    }
    // Where the machine is busy, the second may begin after the first has ended, and then it is done as well.
    await expect.poll(both, { timeout: 25_000 }).toBeInstanceOf(LeaseLostError)
    expect(await stored()).toEqual(names)
    await Promise.allSettled([runner.rebuild('counts', shadow), elsewhere.rebuild('counts', shadow)])
    expect(await stored()).toEqual(names)
  })

  it('leaves a projection paused that is, and lets one go on that is blocked', async () => {
    const runner = await spoiled()
    await runner.pause('counts')
    await runner.rebuild('counts', shadow)
    await school.register('Rex')
    await runner.runOnce()
    expect(await stored()).toEqual(names)
    await runner.rebuild('counts')
    expect(await stored()).toEqual([...names, 'Rex'])
    await school.register('Zoe')
    await runner.rebuild('counts', { way: 'in-place' })
    await school.register('Zora')
    await runner.runOnce()
    expect(await stored()).toEqual([...names, 'Rex', 'Zoe'])
    await runner.resume('counts')
    fails = (name) => {
      if (name === 'Zora') throw new RangeError('no such dog')
    }
    const blocked = await runnerOf(ours(), { poison: { attempts: 1 } })
    await blocked.start()
    await expect(blocked.wait('counts', 15n, { timeoutMs })).rejects.toThrow('stands still')
    fails = () => undefined
    await blocked.rebuild('counts', shadow)
    await blocked.wait('counts', await school.register('Zuma'), { timeoutMs })
    expect([await stored(), blocked.healthy()]).toEqual([[...names, 'Rex', 'Zoe', 'Zora', 'Zuma'], true])
  })

  it('keeps foreign keys between the models, reads others, and writes none of those', async () => {
    const toys = (writes: boolean): Projection =>
      defineProjection({
        name: 'toys',
        models: ['Owner', 'Toy'],
        on: [
          on(Dog, 'Registered', async ({ originatorId, data }) => {
            await open.db.owner.create({
              data: { dog: originatorId, name: nameIn(data), toys: { create: { name: 'ball' } } },
            })
            if (writes) await open.db.trickCount.create({ data: { dog: originatorId, name: '', tricks: 0 } })
          }),
          on(Dog, 'TrickAdded', async ({ originatorId }) => {
            const sessions = await open.db.session.count()
            await open.db.toy.updateMany({
              where: { owner: { dog: originatorId } },
              data: { name: `ball ${sessions}` },
            })
          }),
        ],
      })
    const runner = await runnerOf(toys(false))
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await runner.runOnce()
    await open.db.session.create({ data: { id: '1', sid: '1', data: '', expiresAt: new Date() } })
    await runner.rebuild('toys', shadow)
    const [fido] = await open.db.owner.findMany({ include: { toys: true } })
    expect([fido?.name, fido?.toys.map(({ name }) => name)]).toEqual(['Fido', ['ball 1']])
    const writing = await runnerOf(toys(true))
    await expect(writing.rebuild('toys', shadow)).rejects.toThrow(/trick_counts/)
    expect(await open.db.trickCount.count()).toBe(0)
    await open.db.owner.create({ data: { name: 'Rex', dog: 'r', toys: { create: { name: 'bone' } } } })
  })

  it('is refused where rows in use would be touched, or rows of others', async () => {
    const owners = (own: () => Promise<unknown>): Projection =>
      defineProjection({ name: 'owners', models: ['Owner'], on: [on(Dog, 'Registered', own)] })
    await school.register('Fido')
    const rebuilding = async (own: () => Promise<unknown>, models?: string[]): Promise<unknown> => {
      const projection = models === undefined ? owners(own) : { ...owners(own), models }
      const runner = await runnerOf(projection, { poison: { attempts: 1 } })
      return await runner.rebuild('owners', shadow).catch((error: unknown) => error)
    }
    const nothing = async (): Promise<void> => undefined
    expect(await rebuilding(nothing)).toMatchObject({ message: expect.stringMatching(/toys refers to owners/) })
    expect(await rebuilding(nothing, ['Own'])).toMatchObject({ message: expect.stringMatching(/'Own'/) })
    const both = ['Owner', 'Toy']
    const bySql = async (): Promise<number> => await open.db.$executeRawUnsafe("UPDATE owners SET name = 'x'")
    expect(await rebuilding(bySql, both)).toMatchObject({ message: expect.stringMatching(/SQL of your own/) })
    const extended = open.db.$extends({})
    const byAnother = async (): Promise<unknown> => await extended.owner.deleteMany()
    expect(await rebuilding(byAnother, both)).toBeInstanceOf(NotSupportedError)
  })
})

describe.each(databasesOf('sqlite'))('on $name', (kind) => {
  it('is refused where there is one place for tables', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const application = new TrainingSchool({ datastore: open.datastore })
    const projections = [countsOf(open.db)]
    const runner = new ProjectionRunner({ application, datastore: open.datastore, projections })
    await runner.createTable()
    await expect(runner.rebuild('counts', shadow)).rejects.toThrow(/in-place/)
  })
})
