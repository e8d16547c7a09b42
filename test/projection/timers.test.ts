/** Timers on every database and in memory: each handled once when it is due, by whichever runner has it. */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  AESCipher,
  type Application,
  defineProjection,
  defineReaction,
  type FiredTimer,
  on,
  onTimer,
  PrismaDatastore,
  ProgrammingError,
  type Projection,
  ProjectionRunner,
  type ProjectionRunnerOptions,
  type Reaction,
  type ReactionOptions,
  withMetadata,
} from '../../src/index.js'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { warnings } from '../prisma/warnings.js'
import { databasesOf, oneOfEach } from '../support/databases.js'

const poison = { attempts: 3, minMs: 10, maxMs: 20 }
const waiting = { timeout: 30_000 }
const inMs = (ms: number): Date => new Date(Date.now() + ms)

describe.each([...oneOfEach, undefined].map((kind) => ({ kind, name: kind?.name ?? 'memory' })))(
  'on $name',
  ({ kind }) => {
    let open: OpenDatabase | undefined
    let school: TrainingSchool
    let fired: string[]
    beforeEach(async () => {
      fired = []
      open = kind === undefined ? undefined : await openDatabase(kind)
      school = new TrainingSchool(open === undefined ? { store: 'memory' } : { datastore: open.datastore })
      await school.timers.createTable()
    })
    afterEach(async () => await open?.close())

    async function runnerOf(projections: readonly Projection[], options: Partial<ProjectionRunnerOptions> = {}) {
      const datastore = open === undefined ? {} : { datastore: open.datastore }
      const runner = new ProjectionRunner({ application: school, projections, poison, ...datastore, ...options })
      await runner.createTable()
      onTestFinished(() => runner.stop())
      return runner
    }

    function alarms(handle: (timer: FiredTimer) => unknown = () => undefined, options: Partial<ReactionOptions> = {}) {
      return defineReaction({
        name: 'alarms',
        on: [
          onTimer('alarm', async (timer) => {
            await handle(timer)
            fired.push(timer.id)
          }),
        ],
        ...options,
      })
    }

    it('handles a timer when it is due, once, with its data', async () => {
      const timers: FiredTimer[] = []
      const runner = await runnerOf([alarms((timer) => timers.push(timer))])
      const at = inMs(-1_000)
      await school.timers.set({ id: 'late', at, topic: 'alarm', data: { day: new Date(0), list: [1n, 'x'] } })
      await school.timers.set({ id: 'later', at: inMs(3_600_000), topic: 'alarm' })
      await school.timers.set({ id: 'other', at, topic: 'of nobody' })
      await runner.runOnce()
      await runner.runOnce()
      expect(timers).toEqual([{ id: 'late', at, topic: 'alarm', data: { day: new Date(0), list: [1n, 'x'] } }])
      expect((await school.timers.pending()).map(({ id, attempts }) => [id, attempts])).toEqual([
        ['other', 0],
        ['later', 0],
      ])
      expect(runner.stats['alarms']).toMatchObject({ timers: { fired: 1, parked: 0 } })
    })

    it('is awake when the next one is due, and at once when an earlier one is set in this process', async () => {
      const runner = await runnerOf([alarms()])
      await school.timers.set({ id: 'far', at: inMs(3_600_000), topic: 'alarm' })
      await runner.start()
      await school.timers.set({ id: 'soon', at: inMs(300), topic: 'alarm' })
      await school.timers.set({ id: 'now', at: inMs(0), topic: 'alarm' })
      await vi.waitFor(() => expect(fired).toEqual(['now', 'soon']), waiting)
    })

    it('is replaced by one with the same id, and gone when it is cleared', async () => {
      const seen: unknown[] = []
      const runner = await runnerOf([alarms(({ data }) => seen.push(data))])
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm', data: 1 })
      await school.timers.set({ id: 'a', at: inMs(3_600_000), topic: 'alarm', data: 2 })
      await school.timers.set({ id: 'b', at: inMs(-10), topic: 'alarm', data: 3 })
      expect([await school.timers.clear('b'), await school.timers.clear('b')]).toEqual([true, false])
      await runner.runOnce()
      expect(seen).toEqual([])
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm', data: 4 })
      await runner.runOnce()
      expect(seen).toEqual([4])
    })

    it('stores what follows from it with what it follows from', async () => {
      const runner = await runnerOf([
        alarms(async ({ data }) => {
          await school.execute(accounts, Dog.createId('account'), 'open', String(data))
        }),
      ])
      await withMetadata({ correlationId: 'request 1' }, async () => {
        await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm', data: 'ann' })
      })
      await runner.runOnce()
      const [stored] = await school.recorder.selectNotifications(null, 10)
      expect(stored?.metadata).toEqual({ causationId: 'TrainingSchool/timer/a', correlationId: 'request 1' })
    })

    it('is tried again by itself, then put aside, and holds no other one up', async () => {
      let isMended = false
      const runner = await runnerOf([
        alarms(({ id }) => {
          if (id === 'poison' && !isMended) throw new Error('no such alarm\0')
        }),
      ])
      const { seen, stop } = warnings('ES_TIMER_PARKED')
      onTestFinished(stop)
      for (const id of ['a', 'poison', 'b', 'c']) await school.timers.set({ id, at: inMs(-10), topic: 'alarm' })
      await runner.start()
      await vi.waitFor(() => expect(seen).toEqual([expect.stringMatching(/poison.*no such alarm.*retry/s)]), waiting)
      await vi.waitFor(() => expect([...new Set(fired)].toSorted()).toEqual(['a', 'b', 'c']), waiting)
      expect(await school.timers.pending({ parked: true })).toEqual([
        expect.objectContaining({ id: 'poison', attempts: 3, nextAt: undefined, error: 'Error: no such alarm\\0' }),
      ])
      expect(runner.stats['alarms']?.timers).toEqual({ fired: 3, parked: 1 })
      isMended = true
      await runner.retry('alarms')
      await vi.waitFor(() => expect(fired).toContain('poison'), waiting)
      expect(await school.timers.pending()).toEqual([])
    })

    it('can be set again by its own handler', async () => {
      const runner = await runnerOf([
        alarms(async ({ id, data }) => {
          const round = data as number
          if (round < 3) await school.timers.set({ id, at: inMs(-1), topic: 'alarm', data: round + 1 })
        }),
      ])
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm', data: 1 })
      await runner.runOnce()
      expect(fired).toEqual(['a', 'a', 'a'])
    })

    it('waits while its reaction is paused', async () => {
      const runner = await runnerOf([alarms()])
      await runner.pause('alarms')
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm' })
      await runner.runOnce()
      expect(fired).toEqual([])
      await runner.start()
      await runner.resume('alarms')
      await vi.waitFor(() => expect(fired).toEqual(['a']), waiting)
    })

    it('is handled outside of transactions, one at a time, where its reaction is', async () => {
      let failures = 1
      const runner = await runnerOf([
        alarms(
          async () => {
            expect(open?.datastore.tryCurrentTransaction).toBe(undefined)
            await delay(5)
            if (failures-- > 0) throw new Error('not yet')
          },
          { transaction: false },
        ),
      ])
      for (const id of ['a', 'b']) await school.timers.set({ id, at: inMs(-10), topic: 'alarm' })
      await runner.start()
      await vi.waitFor(() => expect(fired.toSorted()).toEqual(['a', 'b']), waiting)
      await vi.waitFor(async () => expect(await school.timers.pending()).toEqual([]), waiting)
    })

    it('stands beside handlers of events', async () => {
      const reaction = defineReaction({
        name: 'training',
        from: 'start',
        on: [
          on(Dog, 'Registered', async ({ originatorId }) => {
            await school.timers.set({ id: originatorId, at: inMs(-1), topic: 'training is due', data: originatorId })
          }),
          onTimer<string>('training is due', async ({ data }) => {
            const dog = await school.repository.get(Dog, data)
            dog.addTrick('sit')
            await school.save(dog)
          }),
        ],
      })
      const runner = await runnerOf([reaction])
      await school.register('Fido')
      await runner.runOnce()
      expect(await school.getTricks('Fido')).toEqual(['sit'])
    })

    it('is refused where it cannot be', async () => {
      const { timers } = school
      const good = { id: 'a', at: new Date(), topic: 'alarm' }
      for (const bad of [
        { id: '' },
        { id: 'x'.repeat(256) },
        { topic: '' },
        { at: new Date(Number.NaN) },
        { at: 5 as never },
      ]) {
        await expect(timers.set({ ...good, ...bad })).rejects.toThrow(ProgrammingError)
      }
      await expect(timers.set({ ...good, data: { f: () => 1 } })).rejects.toThrow(/a/)
      expect(await timers.pending()).toEqual([])
      const twice = [onTimer('alarm', () => undefined), onTimer('alarm', () => undefined)]
      expect(() => defineReaction({ name: 'twice', on: twice })).toThrow(/two of its handlers/)
      expect(() => defineProjection({ name: 'p', on: twice.slice(1) })).toThrow(/defineReaction/)
      await expect(runnerOf([alarms(), { ...alarms(), name: 'others' } as Reaction])).rejects.toThrow(
        /two of its reactions/,
      )
    })
  },
)

describe.each(oneOfEach)('on $name, in transactions', (kind) => {
  let open: OpenDatabase
  let db: TestClient
  let school: TrainingSchool
  beforeEach(async () => {
    open = await openDatabase(kind)
    ;({ db } = open)
    school = new TrainingSchool({ datastore: open.datastore })
    await school.recorder.createTable()
  })
  afterEach(async () => await open.close())

  async function runnerOf(reaction: Reaction, application: Application = school, datastore = open.datastore) {
    const runner = new ProjectionRunner({ application, datastore, projections: [reaction], poison })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  it('is set and cleared with what the transaction stores, or not at all', async () => {
    const undone = open.datastore.transaction(async () => {
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm' })
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await school.timers.pending()).toEqual([])
    await open.datastore.transaction(async () => {
      await school.register('Fido')
      await school.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm' })
    })
    const kept = open.datastore.transaction(async () => {
      expect(await school.timers.clear('a')).toBe(true)
      throw new Error('undone')
    })
    await expect(kept).rejects.toThrow('undone')
    expect((await school.timers.pending()).map(({ id }) => id)).toEqual(['a'])
  })

  it('is deleted with what its handler stores, or not at all', async () => {
    let failures = 1
    const reaction = defineReaction({
      name: 'alarms',
      on: [
        onTimer('alarm', async ({ id }) => {
          await school.register(id)
          await db.owner.create({ data: { dog: Dog.createId(id), name: id } })
          if (failures-- > 0) throw new Error('not yet')
        }),
      ],
    })
    const runner = await runnerOf(reaction)
    await school.timers.set({ id: 'Fido', at: inMs(-10), topic: 'alarm' })
    await expect(runner.runOnce()).rejects.toThrow('not yet')
    expect([await open.dogs(), (await school.timers.pending()).length]).toEqual([[], 1])
    await runner.runOnce()
    expect([await open.dogs(), (await school.timers.pending()).length]).toEqual([[Dog.createId('Fido')], 0])
    expect(await school.recorder.maxNotificationId()).toBe(1n)
  })

  it('is due by the clock of the database, whatever this process believes', async () => {
    const fired: string[] = []
    const reaction = defineReaction({ name: 'alarms', on: [onTimer('alarm', ({ id }) => void fired.push(id))] })
    const runner = await runnerOf(reaction)
    const now = Date.now()
    await school.timers.set({ id: 'due', at: new Date(now - 60_000), topic: 'alarm' })
    await school.timers.set({ id: 'not due', at: new Date(now + 3_600_000), topic: 'alarm' })
    vi.useFakeTimers({ toFake: ['Date'] })
    onTestFinished(() => void vi.useRealTimers())
    vi.setSystemTime(now + 10 * 3_600_000)
    await runner.runOnce()
    expect(fired).toEqual(['due'])
    await school.timers.set({ id: 'also due', at: new Date(now - 1_000), topic: 'alarm' })
    vi.setSystemTime(now - 10 * 3_600_000)
    await runner.runOnce()
    expect(fired).toEqual(['due', 'also due'])
  })

  it('is encrypted where events are', async () => {
    const cipher = new AESCipher(AESCipher.createKey())
    const secretive = new TrainingSchool({ datastore: open.datastore, cipher })
    await secretive.timers.set({ id: 'a', at: inMs(-10), topic: 'alarm', data: 'in plain sight' })
    const rows = await open.database.query(`SELECT state FROM ${open.quoted('trainingschool_timers')}`)
    expect(JSON.stringify(rows)).not.toContain(Buffer.from('in plain sight').toString('hex'))
    const seen: unknown[] = []
    const reaction = defineReaction({ name: 'alarms', on: [onTimer('alarm', ({ data }) => void seen.push(data))] })
    await (await runnerOf(reaction, secretive)).runOnce()
    expect(seen).toEqual(['in plain sight'])
  })

  it('is shared out among runners: each is handled once, none that was cleared', async () => {
    const count = 600
    await open.datastore.transaction(
      async () => {
        for (let n = 0; n < count; n += 1) await school.timers.set({ id: `timer ${n}`, at: inMs(-10), topic: 'alarm' })
      },
      { deadlineMs: 60_000 },
    )
    const cleared = Array.from({ length: 50 }, (_, n) => `timer ${n * 7}`)
    for (const id of cleared) await school.timers.clear(id)
    const others = Array.from({ length: 2 }, () => {
      const datastore = new PrismaDatastore<TestClient>({
        adapter: open.database.adapter(),
        client: (adapter) => open.database.newClient(adapter) as TestClient,
      })
      onTestFinished(() => datastore.close())
      return datastore
    })
    const runners = await Promise.all(
      [open.datastore, ...others].map(async (datastore) => {
        const application = new TrainingSchool({ datastore })
        const reaction = defineReaction({
          name: 'alarms',
          on: [
            onTimer('alarm', async ({ id }) => {
              await (datastore.client as TestClient).owner.create({ data: { dog: id, name: id } })
            }),
          ],
        })
        return await runnerOf(reaction, application, datastore)
      }),
    )
    for (const runner of runners) await runner.start()
    await vi.waitFor(async () => expect(await school.timers.pending()).toEqual([]), { timeout: 60_000 })
    await Promise.all(runners.map((runner) => runner.stop()))
    const rows = await db.owner.findMany()
    expect(rows).toHaveLength(count - cleared.length)
    expect(rows.filter(({ dog }) => cleared.includes(dog))).toEqual([])
    expect(new Set(rows.map(({ dog }) => dog)).size).toBe(rows.length)
  })
})

describe.each(databasesOf('postgresql'))('on $name, with the option listen', (kind) => {
  it('wakes the runner of another process, as one that is set again does', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const datastoreNamed = (name: string): PrismaDatastore => {
      const listen = (): pg.Client => new pg.Client({ connectionString: open.database.url })
      const made = new PrismaDatastore({ name, adapter: open.database.adapter(), listen })
      onTestFinished(() => made.close())
      return made
    }
    const { timers } = new TrainingSchool({ datastore: datastoreNamed('setting') })
    const datastore = datastoreNamed('handling')
    const application = new TrainingSchool({ datastore })
    await application.recorder.createTable()
    let isBroken = true
    const handled: string[] = []
    const handle = ({ id }: FiredTimer): void => {
      if (isBroken) throw new Error('broken')
      handled.push(id)
    }
    const runner = new ProjectionRunner({
      application,
      datastore,
      projections: [defineReaction({ name: 'alarms', on: [onTimer('alarm', handle)] })],
      poison: { ...poison, attempts: 1 },
    })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    await runner.start()
    await timers.set({ id: 'a', at: inMs(-10), topic: 'alarm' })
    await vi.waitFor(async () => expect(await timers.retry('a')).toBe(1), waiting)
    isBroken = false
    await vi.waitFor(async () => expect((await timers.retry('a')) + handled.length).toBeGreaterThan(0), waiting)
    await vi.waitFor(() => expect(handled).toEqual(['a']), waiting)
  })
})
