/** Rebuilds on every database: complete or not at all, while writers and other runners go on. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  defineProjection,
  NotSupportedError,
  on,
  ProgrammingError,
  type Projection,
  ProjectionRunner,
  type RebuildProgress,
  rows,
  WaitInterruptedError,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const timeoutMs = 30_000
const names = Array.from({ length: 12 }, (_, n) => `Dog ${String(n).padStart(2, '0')}`)

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  let fails: ((name: string) => void) | undefined
  let counts: Projection
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
    fails = undefined
    counts = defineProjection({
      name: 'counts',
      ...rows(
        () => open.db.trickCount,
        'dog',
        (onRows) => [
          onRows(
            Dog,
            'Registered',
            (e) => e.originatorId,
            (_row, e) => {
              const { name } = e.data as { readonly name: string }
              fails?.(name)
              return { dog: e.originatorId, name, tricks: 0 }
            },
          ),
        ],
      ),
    })
  })
  afterEach(async () => {
    await open.close()
  })

  async function runnerOf(projection: Projection = counts): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({
      application: school,
      datastore: open.datastore,
      projections: [projection],
      batch: { maxEvents: 5 },
    })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const stored = async (): Promise<string[]> =>
    (await open.db.trickCount.findMany({ orderBy: { name: 'asc' } })).map(({ name }) => name)

  async function spoiled(): Promise<ProjectionRunner> {
    const runner = await runnerOf()
    for (const name of names) await school.register(name)
    await runner.runOnce()
    await open.db.trickCount.updateMany({ data: { name: 'spoiled' } })
    return runner
  }

  it('builds everything anew in one transaction, of which readers see all or nothing', async () => {
    const runner = await spoiled()
    const seen = new Set<string>()
    const reader = { isDone: false }
    const reading = (async () => {
      while (!reader.isDone) {
        const found = await open.database.query(`SELECT name FROM ${open.quoted('trick_counts')}`)
        seen.add(`${found.length} ${new Set(found.map((row) => row['name'])).size}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    const progress: RebuildProgress[] = []
    const result = await runner.rebuild('counts', { onProgress: (each) => progress.push(each) })
    reader.isDone = true
    await reading
    expect(result).toMatchObject({ position: 12n, events: 12 })
    expect(progress.map(({ position, target }) => [position, target])).toEqual([
      [5n, 12n],
      [10n, 12n],
      [12n, 12n],
    ])
    expect([...seen].filter((each) => each !== '12 1' && each !== '12 12')).toEqual([])
    expect(await stored()).toEqual(names)
  })

  it('leaves everything as it was where a handler fails, or it is cancelled', async () => {
    const runner = await spoiled()
    fails = (name) => {
      if (name === 'Dog 07') throw new RangeError('no such dog')
    }
    await expect(runner.rebuild('counts')).rejects.toBeInstanceOf(RangeError)
    fails = undefined
    const cancelling = new AbortController()
    const { signal } = cancelling
    const cancelled = runner.rebuild('counts', { signal, onProgress: () => cancelling.abort() })
    await expect(cancelled).rejects.toBeInstanceOf(WaitInterruptedError)
    expect(new Set(await stored())).toEqual(new Set(['spoiled']))
    await school.register('Rex')
    await runner.runOnce()
    expect(await stored()).toContain('Rex')
  })

  it('takes the lease from whoever runs the projection, and gives it back', async () => {
    await spoiled()
    const running = await runnerOf()
    await running.start()
    await running.wait('counts', await school.register('Rex'), { timeoutMs })
    const rebuilding = await runnerOf()
    await rebuilding.rebuild('counts')
    expect(await stored()).toEqual([...names, 'Rex'])
    await running.wait('counts', await school.register('Zoe'), { timeoutMs })
    await running.rebuild('counts')
    await running.wait('counts', await school.register('Zora'), { timeoutMs })
    expect(await stored()).toEqual([...names, 'Rex', 'Zoe', 'Zora'])
  })

  it('builds in place, and is finished by the next runner when it is interrupted', async () => {
    const runner = await spoiled()
    await runner.rebuild('counts', { way: 'in-place' })
    expect(await stored()).toEqual(names)
    const cancelling = new AbortController()
    const { signal } = cancelling
    const cancelled = runner.rebuild('counts', { way: 'in-place', signal, onProgress: () => cancelling.abort() })
    await expect(cancelled).rejects.toBeInstanceOf(WaitInterruptedError)
    expect(await stored()).toEqual(names.slice(0, 5))
    await (await runnerOf()).runOnce()
    expect(await stored()).toEqual(names)
  })

  it('is refused where it cannot be kept', async () => {
    const unknown = defineProjection({ name: 'unknown', on: [on(Dog, 'Registered', () => undefined)] })
    const runner = await runnerOf(unknown)
    await expect(runner.rebuild('unknown')).rejects.toThrow(/models/)
    await expect(runner.rebuild('nothing')).rejects.toBeInstanceOf(ProgrammingError)
    await expect(runner.rebuild('unknown', { way: 'fast' as 'atomic' })).rejects.toBeInstanceOf(NotSupportedError)
  })
})
