/** What Python's systems promise, in memory and on every database, by the numbers of its behaviours. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Application,
  type ApplicationClass,
  type DomainEvent,
  EventProcessingError,
  EventSourcedProjection,
  Follower,
  IntegrityError,
  PrismaDatastore,
  ProcessApplication,
  type ProcessingEvent,
  readEvent,
  System,
  SystemRunner,
  topicsOf,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'
import { Account, Bank, Command, Commands, Counter, Email, Emails, Opened, Results, Tally } from './bank.js'

const timeoutMs = 30_000
const kinds: ReadonlyArray<{ readonly name: string; readonly kind?: TestDatabaseKind }> = [
  { name: 'memory' },
  ...oneOfEach.map((kind) => ({ name: kind.name, kind })),
]
const owners = Array.from({ length: 10 }, (_, n) => `Owner ${n}`)

describe.each(kinds)('on $name', ({ kind }) => {
  let open: OpenDatabase | undefined
  beforeEach(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
  })
  afterEach(async () => {
    await open?.close()
  })
  const onDatabase = (): object =>
    open === undefined ? {} : { datastore: open.datastore, env: { CREATE_TABLE: 'yes' } }
  const made = <A extends Application>(applicationClass: ApplicationClass<A>): A => new applicationClass(onDatabase())
  const runnerOf = (system: System): SystemRunner => {
    const runner = new SystemRunner(system, onDatabase())
    onTestFinished(async () => await runner.close().catch(() => undefined))
    return runner
  }

  it('pulls and processes the first event, and its position [207]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank.notificationLog)
    await bank.open('Ann')
    await emails.pullAndProcess('Bank', 1n)
    expect((await emails.notificationLog.section('1,10')).items).toHaveLength(1)
    expect(await emails.recorder.maxTrackingId('Bank')).toBe(1n)
    await emails.pullAndProcess('Bank')
    expect((await emails.notificationLog.section('1,10')).items).toHaveLength(1)
  })

  it('refuses a position that was processed, and changes nothing [208]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank)
    await bank.open('Ann')
    await emails.pullAndProcess('Bank', 1n)
    await expect(emails.pullAndProcess('Bank', 1n)).rejects.toBeInstanceOf(IntegrityError)
    await emails.pullAndProcess('Bank', 2n)
    expect([await emails.recorder.maxTrackingId('Bank'), await emails.recorder.maxNotificationId()]).toEqual([1n, 1n])
  })

  it('leaves the position where what follows from an event is in conflict with what is stored [209]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank)
    await bank.open('Ann')
    await emails.save(new Email('Ann'))
    await expect(emails.pullAndProcess('Bank')).rejects.toBeInstanceOf(IntegrityError)
    expect([await emails.recorder.maxTrackingId('Bank'), await emails.recorder.maxNotificationId()]).toEqual([null, 1n])
  })

  it('gives ten openings to a follower, and to two of them [216]', async () => {
    class OtherEmails extends Emails {}
    const runner = runnerOf(
      new System([
        [Bank, Emails],
        [Bank, OtherEmails],
      ]),
    )
    await runner.start()
    for (const owner of owners) await runner.get(Bank).open(owner)
    await runner.wait(Bank, 10n, { timeoutMs })
    for (const emails of [Emails, OtherEmails]) expect(await runner.get(emails).sent()).toEqual(owners)
    await runner.stop()
  })

  it('goes round in a loop of commands and their results [217]', async () => {
    const runner = runnerOf(new System([[Commands, Results, Commands]]))
    await runner.start()
    const commands = runner.get(Commands)
    const [known, unknown] = [await commands.give("echo 'Hello World'"), await commands.give('delete everything')]
    await runner.runOnce()
    const results = await Promise.all([known, unknown].map(async (id) => await commands.repository.get(Command, id)))
    expect(results.map(({ output, error }) => [output, error])).toEqual([
      ['Hello World\n', ''],
      ['', 'unknown command: delete everything'],
    ])
  })

  it('catches up at the start with what was recorded before [218]', async () => {
    const runner = runnerOf(new System([[Bank, Emails]]))
    await runner.get(Bank).open('Ann')
    await runner.get(Bank).open('Bob')
    await runner.start()
    await runner.wait(Bank, 2n, { timeoutMs })
    expect(await runner.get(Emails).sent()).toEqual(['Ann', 'Bob'])
  })

  it('follows topics: those that it names, of none of the others, or all [211]', async () => {
    const bank = made(Bank)
    await bank.open('Ann')
    await bank.deposit('Ann', 5)
    for (const [topics, expected] of [
      [[], ['Account.Opened', 'Account.Changed']],
      [topicsOf(Account, 'Changed'), ['Account.Changed']],
      [['Account.Closed'], []],
    ] as const) {
      const seen: string[] = []
      class Noting extends Follower {
        static override readonly name = `Noting${topics.length}${expected.length}`
        static override readonly followTopics = topics
        override policy({ topic }: DomainEvent): void {
          seen.push(topic)
        }
      }
      const noting = made(Noting)
      noting.follow('Bank', bank)
      await noting.pullAndProcess('Bank')
      expect(seen).toEqual(expected)
      // What it leaves out counts as processed.
      expect(await noting.recorder.maxTrackingId('Bank')).toBe(2n)
    }
  })

  it('collects what follows, also by the deprecated save, which warns [206]', async () => {
    class Older extends ProcessApplication {
      override policy(_event: DomainEvent, processing: ProcessingEvent): void {
        processing.save(new Email('by save'))
      }
    }
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    const [bank, older] = [made(Bank), made(Older)]
    older.follow('Bank', bank)
    await bank.open('Ann')
    await older.pullAndProcess('Bank')
    expect(await older.recorder.maxNotificationId()).toBe(1n)
    expect(warn.mock.calls.map(([, options]) => options)).toEqual([
      { type: 'DeprecationWarning', code: 'ES_PROCESSING_SAVE' },
    ])
  })

  it('stands still at what fails, tells it once, and goes on when it is started again [221]', async () => {
    let isMended = false
    class Failing extends Emails {
      override policy(event: DomainEvent, processing: ProcessingEvent): void {
        const opened = readEvent(Account, Opened, event)
        if (opened?.data.owner === 'Bob' && !isMended) throw new RangeError('no address')
        super.policy(event, processing)
      }
    }
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    const runner = runnerOf(
      new System([
        [Bank, Failing],
        [Bank, Emails],
      ]),
    )
    const bank = runner.get(Bank)
    await runner.start()
    await bank.open('Ann')
    await runner.wait(Bank, 1n, { timeoutMs })
    expect(await runner.watchForErrors(50)).toBe(false)
    const recordings = await bank.open('Bob')
    await expect(runner.wait(Bank, recordings, { timeoutMs })).rejects.toBeInstanceOf(EventProcessingError)
    await runner.get(Emails).recorder.wait('Bank', 2n, { timeoutMs })
    expect(warn.mock.calls.map(([, options]) => options)).toEqual([{ code: 'ES_SYSTEM_STANDS' }])
    await expect(runner.watchForErrors()).rejects.toMatchObject({
      leader: 'Bank',
      follower: 'Failing',
      notificationId: 2n,
      cause: new RangeError('no address'),
    })
    expect([runner.isStarted, await runner.watchForErrors()]).toEqual([false, false])
    await runner.start()
    await expect(runner.watchForErrors(timeoutMs)).rejects.toBeInstanceOf(EventProcessingError)
    isMended = true
    await runner.start()
    await runner.wait(Bank, 2n, { timeoutMs })
    expect(await runner.get(Failing).sent()).toEqual(['Ann', 'Bob'])
    await runner.stop()
  })

  it('says which event it cannot read, after those before it [221]', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    const runner = runnerOf(new System([[Bank, Emails]]))
    await runner.get(Bank).ready()
    await runner.get(Bank).open('Ann')
    const state = new TextEncoder().encode('no JSON')
    const originatorId = Account.createId('nobody')
    await runner
      .get(Bank)
      .recorder.insertEvents([{ originatorId, originatorVersion: 1, topic: 'Account.Opened', state }])
    await runner.start()
    await expect(runner.watchForErrors(timeoutMs)).rejects.toMatchObject({
      code: 'ES_NOTIFICATION_CONVERTING',
      notificationId: 2n,
    })
    expect(await runner.get(Emails).sent()).toEqual(['Ann'])
  })

  it('keeps nobody waiting who saves, however far its followers are behind [222]', async () => {
    const gate = new AbortController()
    const opened = new Promise<void>((resolve) => gate.signal.addEventListener('abort', () => resolve()))
    class Slow extends Emails {
      override async policy(event: DomainEvent, processing: ProcessingEvent): Promise<void> {
        await opened
        super.policy(event, processing)
      }
    }
    const runner = runnerOf(new System([[Bank, Slow]]))
    await runner.start()
    const bank = runner.get(Bank)
    const accounts = Array.from({ length: 150 }, (_, n) => new Account(`Owner ${n}`))
    for (const account of accounts.slice(0, 50)) await bank.save(account)
    await bank.save(...accounts.slice(50))
    expect(await runner.get(Slow).recorder.maxTrackingId('Bank')).toBe(null)
    gate.abort()
    await runner.wait(Bank, 150n, { timeoutMs })
    expect(await runner.get(Slow).recorder.maxNotificationId()).toBe(150n)
  })

  it('counts in events of its own what happens elsewhere [232]', async () => {
    class Counters extends EventSourcedProjection {
      static override readonly topics = [...topicsOf(Account, 'Opened'), ...topicsOf(Account, 'Changed')]

      override async policy({ topic }: DomainEvent, processing: ProcessingEvent): Promise<void> {
        const id = Counter.createId(topic)
        const counter = (await this.repository.has(Counter, id))
          ? await this.repository.get(Counter, id)
          : new Counter(topic)
        counter.increment()
        processing.collectEvents(counter)
      }

      async count(topic: string): Promise<number> {
        const id = Counter.createId(topic)
        return (await this.repository.has(Counter, id)) ? (await this.repository.get(Counter, id)).count : 0
      }
    }
    const runner = runnerOf(new System([[Bank, Counters]]))
    const [bank, counters] = [runner.get(Bank), runner.get(Counters)]
    const counts = async (): Promise<number[]> =>
      await Promise.all(['Account.Opened', 'Account.Changed'].map(async (topic) => await counters.count(topic)))
    for (const [n, owner] of ['Ann', 'Bob', 'Cid'].entries()) {
      await bank.open(owner)
      await runner.runOnce()
      expect(await counts()).toEqual([n + 1, 0])
    }
    await runner.start()
    await bank.open('Dora')
    await runner.wait(Bank, await bank.deposit('Dora', 5), { timeoutMs })
    expect(await counts()).toEqual([4, 1])
  })

  it('takes snapshots of what follows from events [194]', async () => {
    class Snapshotting extends ProcessApplication {
      override async policy(event: DomainEvent, processing: ProcessingEvent): Promise<void> {
        const id = Tally.createId()
        const tally = (await this.repository.has(Tally, id)) ? await this.repository.get(Tally, id) : new Tally('tally')
        if (readEvent(Account, Opened, event)) tally.increment()
        processing.collectEvents(tally)
      }
    }
    const [bank, snapshotting] = [made(Bank), made(Snapshotting)]
    snapshotting.follow('Bank', bank)
    for (const owner of owners) await bank.open(owner)
    await snapshotting.pullAndProcess('Bank')
    const snapshots = await (await snapshotting.snapshotStore()).recorder.selectEvents(Tally.createId())
    expect(snapshots.map(({ originatorVersion }) => originatorVersion)).toEqual([5, 10])
  })
})

/** What needs a database of its own. */
describe.each(oneOfEach)('with databases on $name', (kind) => {
  const twoDatabases = async (): Promise<readonly [OpenDatabase, OpenDatabase]> => {
    const both = [await openDatabase(kind), await openDatabase(kind)] as const
    onTestFinished(async () => void (await Promise.all(both.map(async (each) => await each.close()))))
    return both
  }
  const env = { CREATE_TABLE: 'yes' }

  it('has a database for each application, by variables, and by options [223]', async () => {
    const [one, other] = [await kind.createDatabase(), await kind.createDatabase()]
    onTestFinished(async () => void (await Promise.all([one.drop(), other.drop()])))
    const byVariables = new SystemRunner(new System([[Bank, Emails]]), {
      env: {
        ...env,
        PERSISTENCE_MODULE: 'eventsourcing-prisma',
        BANK_PRISMA_URL: one.url,
        EMAILS_PRISMA_URL: other.url,
      },
    })
    await byVariables.start()
    await byVariables.wait(Bank, await byVariables.get(Bank).open('Ann'), { timeoutMs })
    expect(await byVariables.get(Emails).sent()).toEqual(['Ann'])
    await byVariables.close()
    const [first, second] = await twoDatabases()
    await using byOptions = new SystemRunner(new System([[Bank, Emails]]), {
      env,
      applications: { Bank: { datastore: first.datastore }, Emails: { datastore: second.datastore } },
    })
    await byOptions.start()
    await byOptions.wait(Bank, await byOptions.get(Bank).open('Bob'), { timeoutMs })
    expect(await byOptions.get(Emails).sent()).toEqual(['Bob'])
    expect(await first.database.query('SELECT topic FROM bank_events')).toHaveLength(1)
    expect(await second.database.query('SELECT topic FROM emails_events')).toHaveLength(1)
  })

  it('processes each event once where two processes run it', async () => {
    const open = await openDatabase(kind)
    const beside = new PrismaDatastore({ adapter: open.database.adapter() })
    const runners = [open.datastore, beside].map(
      (datastore) => new SystemRunner(new System([[Bank, Emails]]), { datastore, env }),
    )
    onTestFinished(async () => {
      for (const runner of runners) await runner.close()
      await beside.close()
      await open.close()
    })
    for (const runner of runners) await runner.start()
    const [first, second] = runners as [SystemRunner, SystemRunner]
    for (const [n, owner] of owners.entries()) await (n % 2 === 0 ? first : second).get(Bank).open(owner)
    for (const runner of runners) await runner.wait(Bank, 10n, { timeoutMs })
    expect(await first.get(Emails).sent()).toEqual(owners)
    expect(await first.get(Emails).recorder.maxNotificationId()).toBe(10n)
  })

  it('stores rows of the policy with its events, and processes again after a conflict', async () => {
    const open = await openDatabase(kind)
    const { datastore, db } = open
    let attempts = 0
    class Owners extends ProcessApplication {
      override async policy(event: DomainEvent, processing: ProcessingEvent): Promise<void> {
        const opened = readEvent(Account, Opened, event)
        if (opened === undefined) return
        await db.owner.create({ data: { name: opened.data.owner, dog: `${(attempts += 1)}` } })
        const tally = await this.repository.get(Tally, Tally.createId())
        tally.increment()
        // Somebody else is faster, the first time.
        if (attempts === 1) await datastore.outside(async () => await this.bump())
        processing.collectEvents(tally)
      }

      async bump(): Promise<void> {
        const tally = await this.repository.get(Tally, Tally.createId())
        tally.increment()
        await this.save(tally)
      }
    }
    const runner = new SystemRunner(new System([[Bank, Owners]]), { datastore, env })
    onTestFinished(async () => {
      await runner.close()
      await open.close()
    })
    await runner.get(Owners).save(new Tally('tally'))
    // SQLite has one writer: nobody else can be faster there.
    if (kind.provider === 'sqlite') attempts = 1
    await runner.start()
    await runner.wait(Bank, await runner.get(Bank).open('Ann'), { timeoutMs })
    expect(await db.owner.findMany()).toMatchObject([{ name: 'Ann', dog: '2' }])
    const [, event] = await runner.get(Owners).recorder.selectEvents(Tally.createId(), { desc: true, limit: 2 })
    const stored = (await runner.get(Owners).recorder.selectEvents(Tally.createId())).at(-1)
    expect(stored?.metadata).toEqual({ causationId: 'Bank/1', correlationId: 'Bank/1' })
    expect(event).toBeDefined()
  })

  it('belongs to the transaction around it', async () => {
    const [{ datastore }] = await twoDatabases()
    const [bank, emails] = [new Bank({ datastore, env }), new Emails({ datastore, env })]
    emails.follow('Bank', bank)
    await bank.open('Ann')
    await emails.ready()
    const undone = datastore.transaction(async () => {
      await emails.pullAndProcess('Bank')
      expect(await emails.recorder.maxTrackingId('Bank')).toBe(1n)
      throw new RangeError('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect([await emails.recorder.maxTrackingId('Bank'), await emails.sent()]).toEqual([null, []])
    // A runner that was started there works on when that has ended.
    const runner = new SystemRunner(new System([[Bank, Emails]]), { datastore, env })
    await datastore.transaction(async () => await runner.start())
    await runner.wait(Bank, 1n, { timeoutMs })
    await runner.close()
  })

  it('says that a log cannot be read [221]', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    const [first, second] = await twoDatabases()
    const runner = new SystemRunner(new System([[Bank, Emails]]), {
      env,
      applications: { Bank: { datastore: first.datastore }, Emails: { datastore: second.datastore } },
    })
    onTestFinished(async () => await runner.close().catch(() => undefined))
    await runner.start()
    await first.database.query('DROP TABLE bank_events')
    const stopped = runner.watchForErrors(timeoutMs)
    await expect(stopped).rejects.toMatchObject({ code: 'ES_NOTIFICATION_PULLING', leader: 'Bank' })
    await expect(runner.stop()).resolves.toBe(undefined)
  })
})

describe.each(inMemorySqlites)('on $name', ({ adapter }) => {
  it('runs a system on one database that its applications share [223]', async () => {
    const datastore = new PrismaDatastore({ adapter: adapter() })
    const runner = new SystemRunner(new System([[Bank, Emails]]), { datastore })
    onTestFinished(async () => {
      await runner.close()
      await datastore.close()
    })
    await runner.createTable()
    await runner.start()
    for (const owner of owners) await runner.get(Bank).open(owner)
    await runner.wait(Bank, 10n, { timeoutMs })
    expect(await runner.get(Emails).sent()).toEqual(owners)
  })
})
