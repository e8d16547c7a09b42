/** Reactions on every database: what they save is stored with their position, or they act outside, at least once. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { run } from '../../src/cli/program.js'
import {
  defineProjection,
  defineReaction,
  NotSupportedError,
  OperationalError,
  on,
  PrismaDatastore,
  ProgrammingError,
  type Projection,
  ProjectionBlockedError,
  ProjectionRunner,
  type ProjectionRunnerOptions,
  type Reaction,
  type ReactionOptions,
  withMetadata,
} from '../../src/index.js'
import { definePageReaction } from '../../src/projection/reaction.js'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { warningsOf } from '../prisma/warnings.js'
import { oneOfEach } from '../support/databases.js'

const timeoutMs = 30_000
const poison = { attempts: 2, minMs: 10, maxMs: 20 }

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let db: TestClient
  let school: TrainingSchool
  beforeEach(async () => {
    open = await openDatabase(kind)
    ;({ db } = open)
    school = new TrainingSchool({ datastore: open.datastore })
  })
  afterEach(async () => await open.close())

  async function runnerOf(projections: readonly Projection[], options: Partial<ProjectionRunnerOptions> = {}) {
    const { datastore } = open
    const runner = new ProjectionRunner({ application: school, datastore, projections, poison, ...options })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const nameIn = (data: object): string => (data as { readonly name: string }).name

  /** Opens an account for each dog, and writes a row. */
  function opening(options: Partial<ReactionOptions> = {}): Reaction {
    return defineReaction({
      name: 'opening',
      from: 'start',
      on: [
        on(Dog, 'Registered', async ({ originatorId, data }) => {
          await school.execute(accounts, Dog.createId(`account of ${nameIn(data)}`), 'open', nameIn(data))
          await db.owner.create({ data: { dog: originatorId, name: nameIn(data) } })
          if (nameIn(data) === 'Rex') throw new Error('no account for Rex')
        }),
      ],
      ...options,
    })
  }

  const topics = async (): Promise<string[]> =>
    (await school.recorder.selectNotifications(null, 100)).map(({ topic }) => topic)

  it('stores events, rows and the position together, with what they follow from', async () => {
    const runner = await runnerOf([opening()])
    await withMetadata({ correlationId: 'request 1', user: 'ann' }, () => school.register('Fido'))
    await school.register('Bello')
    await runner.runOnce()
    const stored = await school.recorder.selectNotifications(null, 100)
    expect(stored.map(({ topic, metadata }) => [topic, metadata])).toEqual([
      ['Dog.Registered', { correlationId: 'request 1', user: 'ann' }],
      ['Dog.Registered', undefined],
      ['Account.Opened', { causationId: 'TrainingSchool/1', correlationId: 'request 1' }],
      ['Account.Opened', { causationId: 'TrainingSchool/2', correlationId: 'TrainingSchool/2' }],
    ])
    expect(await open.dogs()).toHaveLength(2)
    await runner.runOnce()
    expect(await topics()).toHaveLength(4)
  })

  it('stores nothing of an event that it fails on', async () => {
    const runner = await runnerOf([opening()])
    await school.register('Fido')
    await school.register('Rex')
    await runner.start()
    await expect(runner.wait('opening', 2n, { timeoutMs })).rejects.toThrow(ProjectionBlockedError)
    expect([await topics(), await open.dogs()]).toEqual([
      ['Dog.Registered', 'Dog.Registered', 'Account.Opened'],
      [Dog.createId('Fido')],
    ])
    await vi.waitFor(() => expect(runner.healthy()).toBe(false), { timeout: 20_000 })
  })

  it('decides again where another writer was first, as often as it takes', async () => {
    let conflicts = 0
    const trick = defineReaction({
      name: 'tricks',
      from: 'start',
      on: [
        on(Dog, 'Registered', async ({ data }) => {
          const dog = await school.repository.get(Dog, Dog.createId(nameIn(data)))
          if (conflicts < 3) {
            conflicts += 1
            throw new OperationalError('somebody else was first', { retryable: true })
          }
          dog.addTrick('sit')
          await school.save(dog)
        }),
      ],
    })
    const runner = await runnerOf([trick])
    await school.register('Fido')
    await runner.start()
    await runner.wait('tricks', 1n, { timeoutMs })
    expect(await school.getTricks('Fido')).toEqual(['sit'])
  })

  it('begins by default behind what is stored when it is started first, and that is kept', async () => {
    const seen: string[] = []
    const reaction = defineReaction({
      name: 'seen',
      on: [on(Dog, 'Registered', ({ data }) => void seen.push(nameIn(data)))],
    })
    await school.register('Fido')
    const runner = await runnerOf([reaction])
    await runner.start()
    await runner.stop()
    // Nobody runs it, and nothing is lost.
    await school.register('Rex')
    const next = await runnerOf([reaction])
    await next.start()
    await next.wait('seen', await school.register('Bello'), { timeoutMs })
    expect(seen).toEqual(['Rex', 'Bello'])
  })

  it('begins in all partitions at one position', async () => {
    const seen: string[] = []
    const reaction = defineReaction({
      name: 'seen',
      partitions: 3,
      transaction: false,
      on: [on(Dog, 'Registered', ({ data }) => void seen.push(nameIn(data)))],
    })
    await school.register('Fido')
    const runner = await runnerOf([reaction])
    await runner.start()
    const names = ['a', 'b', 'c', 'd', 'e', 'f']
    for (const name of names) await school.register(name)
    await runner.wait('seen', 7n, { timeoutMs })
    expect(seen.toSorted()).toEqual(names)
  })

  it('acts outside of transactions one event at a time, with an id, and what that saves follows from the event', async () => {
    const ids: string[] = []
    let running = 0
    const reaction = defineReaction({
      name: 'mails',
      from: 'start',
      transaction: false,
      on: [
        on(Dog, 'Registered', async ({ id, data }) => {
          expect([running, open.datastore.tryCurrentTransaction]).toEqual([0, undefined])
          running += 1
          ids.push(id)
          await delay(5)
          await school.execute(accounts, Dog.createId(`account of ${nameIn(data)}`), 'open', nameIn(data))
          running -= 1
        }),
      ],
    })
    const runner = await runnerOf([reaction])
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await school.register('Rex')
    await withMetadata({ user: 'who starts it' }, () => runner.start())
    await runner.wait('mails', 3n, { timeoutMs })
    expect(ids).toEqual(['TrainingSchool/1', 'TrainingSchool/3'])
    const last = (await school.recorder.selectNotifications(null, 100)).at(-1)
    expect(last?.metadata).toEqual({ causationId: 'TrainingSchool/3', correlationId: 'TrainingSchool/3' })
    expect((await runner.positionOf(['mails'])) >= 3n).toBe(true)
  })

  it('handles an event again, with the same id, where its position was not stored', async () => {
    const ids: string[] = []
    let failures = 1
    const reaction = defineReaction({
      name: 'mails',
      from: 'start',
      transaction: false,
      on: [
        on(Dog, 'Registered', async ({ id }) => {
          ids.push(id)
          if (failures-- > 0) {
            // Another one takes the lease in the middle of it.
            const table = open.quoted('trainingschool_projections')
            await open.database.query(`UPDATE ${table} SET epoch = epoch + 1`)
          }
        }),
      ],
    })
    const runner = await runnerOf([reaction], { leaseMs: 1_000 })
    await school.register('Fido')
    await runner.start()
    await runner.wait('mails', 1n, { timeoutMs })
    expect(ids).toEqual(['TrainingSchool/1', 'TrainingSchool/1'])
  })

  it('keeps its lease while a handler takes longer than that lasts', async () => {
    const ids: string[] = []
    const slow = (): Reaction =>
      defineReaction({
        name: 'mails',
        from: 'start',
        transaction: false,
        on: [
          on(Dog, 'Registered', async ({ id }) => {
            ids.push(id)
            await delay(2_500)
          }),
        ],
      })
    const other = new PrismaDatastore<TestClient>({
      adapter: open.database.adapter(),
      client: (adapter) => open.database.newClient(adapter) as TestClient,
    })
    onTestFinished(() => other.close())
    const [first, second] = [
      await runnerOf([slow()], { leaseMs: 1_000 }),
      await runnerOf([slow()], { leaseMs: 1_000, datastore: other }),
    ]
    await school.register('Fido')
    await Promise.all([first.start(), second.start()])
    await first.wait('mails', 1n, { timeoutMs })
    expect(ids).toEqual(['TrainingSchool/1'])
  })

  describe('finds what a handler outside of transactions has not awaited', () => {
    const forgotten: ReadonlyArray<readonly [name: string, call: () => unknown, message: RegExp]> = [
      [
        'made',
        () => void db.owner.create({ data: { name: 'Ann', dog: 'a' } }),
        /An operation was made in a handler of reaction made and not awaited, so it did not run: owner\.create \(.*reactions\.test/,
      ],
      [
        'sent',
        () => void db.owner.create({ data: { name: 'Ann', dog: 'a' } }).then(() => undefined),
        /Work was still running when a handler of reaction sent had returned: owner\.create/,
      ],
      [
        'saved',
        () => void school.register('Rex'),
        /Work was still running when a handler of reaction saved had returned: TrainingSchool\.save/,
      ],
      [
        'apart',
        () => void open.datastore.transaction(async () => await db.owner.count()),
        /Work was still running when a handler of reaction apart had returned: a transaction/,
      ],
      [
        'failed',
        () => void school.repository.get(Dog, 'nobody'),
        /A call in a handler of reaction failed has failed, and nobody has awaited it: TrainingSchool\.repository\.get/,
      ],
    ]
    const reactionTo = (call: () => unknown, name = 'mails'): Reaction =>
      defineReaction({
        name,
        from: 'start',
        transaction: false,
        on: [on(Dog, 'Registered', ({ data }) => (nameIn(data) === 'Fido' ? call() : undefined))],
      })

    it('an operation of Prisma, a transaction, and a call of the application', async () => {
      await school.register('Fido')
      for (const [name, call, message] of forgotten) {
        const runner = await runnerOf([reactionTo(call, name)])
        await expect(runner.runOnce()).rejects.toThrow(message)
        await expect(runner.positionOf([name])).resolves.toBe(0n)
      }
    })

    it('but nothing that is awaited, belongs to a $transaction, or is a transaction of its own', async () => {
      let beside: Promise<unknown> | undefined
      const { datastore } = open
      const runner = await runnerOf([
        reactionTo(async () => {
          await db.owner.create({ data: { name: 'Ann', dog: 'a' } })
          await db.$transaction([db.owner.create({ data: { name: 'Bo', dog: 'b' } }), db.owner.count()])
          await Promise.all([school.register('Rex'), db.owner.findUnique({ where: { dog: 'a' } }).toys()])
          beside = datastore.transaction(async () => await db.owner.count(), { propagation: 'requiresNew' })
        }),
      ])
      await school.register('Fido')
      await runner.runOnce()
      await beside
      expect(await open.dogs()).toEqual(['a', 'b'])
    })

    it('and what goes on after it', async () => {
      let late: Promise<unknown> | undefined
      const runner = await runnerOf([
        reactionTo(() => {
          late = delay(200).then(async () => await db.owner.count())
          late.catch(() => undefined)
        }),
      ])
      await school.register('Fido')
      await runner.runOnce()
      await expect(late).rejects.toThrow(
        /owner\.count \(.*\) was called after a handler of reaction mails had ended, and may be lost: await it there/,
      )
    })

    it('waits for it and warns, outside of tests', async () => {
      const warning = await openDatabase(kind, { onEscape: 'warn' })
      onTestFinished(() => warning.close())
      const application = new TrainingSchool({ datastore: warning.datastore })
      const create = (dog: string) => warning.db.owner.create({ data: { name: 'Ann', dog } })
      const mails = reactionTo(() => {
        void create('never')
        void create('a').then(() => undefined)
      })
      const { datastore } = warning
      const runner = new ProjectionRunner({ application, datastore, projections: [mails], poison })
      await runner.createTable()
      await application.register('Fido')
      const messages = await warningsOf('ES_ESCAPE', async () => await runner.runOnce())
      expect(messages).toEqual([
        expect.stringMatching(
          /^Work was still running when a handler of reaction mails had returned: owner\.create\. /,
        ),
        expect.stringMatching(/not awaited, so it did not run: owner\.create\. Await it/),
      ])
      expect([await warning.dogs(), await runner.positionOf(['mails'])]).toEqual([['a'], 1n])
    })
  })

  it('puts aside what fails outside of transactions, with those of its key, until they are tried again', async () => {
    let isMended = false
    const done: string[] = []
    const reaction = defineReaction({
      name: 'tricks',
      from: 'start',
      transaction: false,
      onError: 'park',
      on: [
        on(Dog, 'TrickAdded', async ({ id, data }) => {
          const { trick } = data as { readonly trick: string }
          if (trick === 'bite' && !isMended) throw new Error('no such trick')
          done.push(`${id} ${trick}`)
        }),
      ],
    })
    const runner = await runnerOf([reaction])
    await school.register('Fido')
    await school.register('Rex')
    for (const trick of ['sit', 'bite']) await school.addTrick('Fido', trick)
    await school.addTrick('Rex', 'beg')
    await school.addTrick('Fido', 'roll')
    await runner.start()
    await runner.wait('tricks', 6n, { timeoutMs })
    expect(done).toEqual(['TrainingSchool/3 sit', 'TrainingSchool/5 beg'])
    await runner.retry('tricks')
    isMended = true
    await runner.retry('tricks')
    expect(done.slice(2)).toEqual(['TrainingSchool/4 bite', 'TrainingSchool/6 roll'])
    await school.addTrick('Fido', 'jump')
    await runner.wait('tricks', 7n, { timeoutMs })
    expect(done.at(-1)).toEqual('TrainingSchool/7 jump')
  })

  it('gives whole pages to those who ask for them, again where they fail, and waits as long as a failure passes', async () => {
    const pages: string[][] = []
    let failures = 6
    const relay = definePageReaction({
      name: 'relay',
      from: 'start',
      mayPass: (error) => error instanceof RangeError,
      async handlePage(events, signal) {
        expect([signal.aborted, open.datastore.tryCurrentTransaction]).toEqual([false, undefined])
        if (failures-- > 0) throw new RangeError('the broker is away')
        pages.push(events.map(({ id, topic }) => `${id} ${topic}`))
      },
    })
    const runner = await runnerOf([relay])
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await runner.start()
    await runner.wait('relay', 2n, { timeoutMs })
    expect(pages).toEqual([['TrainingSchool/1 Dog.Registered', 'TrainingSchool/2 Dog.TrickAdded']])
    await runner.wait('relay', await school.register('Rex'), { timeoutMs })
    expect(pages[1]).toEqual(['TrainingSchool/3 Dog.Registered'])
  })

  it('is never built anew, and no projection can have its name', async () => {
    const runner = await runnerOf([opening()])
    await school.register('Fido')
    await runner.runOnce()
    for (const way of ['atomic', 'in-place', 'shadow'] as const) {
      await expect(runner.rebuild('opening', { way })).rejects.toThrow(NotSupportedError)
    }
    expect(await topics()).toEqual(['Dog.Registered', 'Account.Opened'])
    const projection = defineProjection({ name: 'opening', on: [on(Dog, 'Registered', () => undefined)] })
    await expect((await runnerOf([projection])).runOnce()).rejects.toThrow(/projection 'opening'.*for a reaction/)
  })

  it('rests while it is paused, and goes on', async () => {
    const runner = await runnerOf([opening()])
    await runner.pause('opening')
    await school.register('Fido')
    await runner.start()
    await runner.resume('opening')
    await runner.wait('opening', 1n, { timeoutMs })
    expect(await topics()).toEqual(['Dog.Registered', 'Account.Opened'])
  })

  it.runIf(kind.provider !== 'sqlite')('is told from projections by the commands', async () => {
    const runner = await runnerOf([opening()])
    await school.register('Fido')
    await runner.runOnce()
    await runner.runOnce()
    const out: string[] = []
    const output = { print: (line: string) => void out.push(line), complain: (line: string) => void out.push(line) }
    const where = ['--url', open.database.url, '--app', 'TrainingSchool']
    expect(await run(['projections', 'status', ...where], output)).toBe(0)
    expect(out).toEqual(['live    reaction opening: at 2, level with the log, nobody works on it'])
    out.length = 0
    await run(['projections', 'status', '--json', ...where], output)
    expect(JSON.parse(out.join('\n'))).toMatchObject({ projections: [{ name: 'opening', kind: 'reaction' }] })
  })
})

describe('a definition', () => {
  it('is refused where it cannot be run', () => {
    const handlers = [on(Dog, 'Registered', () => undefined)]
    for (const bad of [{ name: '' }, { name: 'a b' }, { partitions: 0 }, { on: [] }, { from: 'end' as 'now' }]) {
      expect(() => defineReaction({ name: 'good', on: handlers, ...bad })).toThrow(ProgrammingError)
    }
    expect(() => defineReaction({ name: 'good', on: handlers, ...({ version: 2 } as object) })).toThrow(/version/)
  })

  it('is refused inline', () => {
    const reaction = defineReaction({ name: 'acting', on: [on(Dog, 'Registered', () => undefined)] })
    expect(() => new TrainingSchool({ store: 'memory', inline: [reaction] })).toThrow(
      /'acting' inline.*ProjectionRunner/s,
    )
  })
})
