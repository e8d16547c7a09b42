/** Systems as graphs, leaders that prompt, and how runners make, start and end applications. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  Application,
  type ApplicationOptions,
  type DomainEvent,
  Follower,
  Leader,
  ProcessApplication,
  type ProcessingEvent,
  ProgrammingError,
  type RecordingEvent,
  RunnerAlreadyStartedError,
  System,
  SystemRunner,
  TopicError,
} from '../../src/index.js'
import { Account, Bank, Commands, Email, Emails, Results } from './bank.js'

class Audit extends Follower {
  override policy(): void {}
}
class Alone extends Application {}

describe('a system', () => {
  it('is a graph: names, edges once in their order, leaders, followers, singles [212]', () => {
    const system = new System([[Bank, Emails, Audit], [Bank, Emails], [Bank, Audit], [Alone]])
    expect([...system.nodes]).toEqual([
      ['Bank', Bank],
      ['Emails', Emails],
      ['Audit', Audit],
      ['Alone', Alone],
    ])
    expect(system.edges).toEqual([
      ['Bank', 'Emails'],
      ['Emails', 'Audit'],
      ['Bank', 'Audit'],
    ])
    expect(system).toMatchObject({
      leaders: ['Bank', 'Emails'],
      leadersOnly: ['Bank'],
      followers: ['Emails', 'Audit'],
      processors: ['Emails'],
      singles: ['Alone'],
    })
    expect(new System([[Commands, Results, Commands]])).toMatchObject({
      leaders: ['Commands', 'Results'],
      leadersOnly: [],
      processors: ['Commands', 'Results'],
    })
  })

  it('refuses who cannot follow, who cannot do both, and what is no application [212]', () => {
    expect(() => new System([[Bank, Alone]])).toThrow(
      new TypeError('Could not make a system: Alone follows others, so it has to extend Follower.'),
    )
    expect(() => new System([[Bank, Audit, Emails]])).toThrow(
      /Audit follows others and leads, so it has to extend ProcessApplication/,
    )
    expect(() => new System([[class Bank extends Application {}, Emails], [Bank]])).toThrow(ProgrammingError)
    expect(() => new System([[Bank, {} as unknown as typeof Emails]])).toThrow(TypeError)
    expect(() => new System([[Bank]]).applicationClass('Nobody')).toThrow(/it has Bank/)
  })

  it('makes a leader of a class that is none, under its name [213]', () => {
    class Led extends Leader {}
    const system = new System([
      [Bank, Emails],
      [Led, Emails],
      [Emails, Audit],
    ])
    expect([system.leaderClass('Led'), system.leaderClass('Emails')]).toEqual([Led, Emails])
    const made = system.leaderClass('Bank')
    expect(made).not.toBe(Bank)
    expect(system.leaderClass('Bank')).toBe(made)
    const bank = new made()
    expect([bank instanceof Bank, bank.name, typeof bank.lead]).toEqual([true, 'Bank', 'function'])
  })

  it('is found by its topic, where a module exports it and says so [214]', async () => {
    const file = join(import.meta.dirname, 'module-level.ts')
    const { system } = await import('./module-level.js')
    expect(system.topic).toBe(`${pathToFileURL(file).href}#system`)
    expect(await System.resolve(system.topic)).toBe(system)
    await expect(System.resolve(system.topic.replace('module-level.ts#system', 'bank.ts#Bank'))).rejects.toBeInstanceOf(
      TopicError,
    )
    expect(() => new System([[Bank]]).topic).toThrow(ProgrammingError)
  })
})

describe('a leader', () => {
  const prompted = (leader: Pick<Leader, 'lead'>): RecordingEvent[] => {
    const events: RecordingEvent[] = []
    leader.lead({ receiveRecordingEvent: (event) => void events.push(event) })
    return events
  }

  it('prompts after a save with events, and not without any of its topics [210]', async () => {
    class Both extends Leader {}
    class Changes extends Leader {
      static override readonly notifyTopics = ['Account.Changed']
    }
    const [both, changes] = [new Both(), new Changes()]
    const [all, some] = [prompted(both), prompted(changes)]
    for (const leader of [both, changes]) {
      await leader.save()
      await leader.save(new Account('Ann'))
      await leader.change(Account, Account.createId('Ann'), (account) => account.change(5))
    }
    expect(all).toMatchObject([
      { applicationName: 'Both', previousMaxNotificationId: null, recordings: [{ notification: { id: 1n } }] },
      { applicationName: 'Both', previousMaxNotificationId: 1n, recordings: [{ notification: { id: 2n } }] },
    ])
    expect(some).toMatchObject([{ applicationName: 'Changes', recordings: [{ event: { topic: 'Account.Changed' } }] }])
  })

  it('prompts by itself those who follow: what is known already is ignored, a gap is read [220]', async () => {
    class Led extends Leader {}
    const [led, emails] = [new Led(), new Emails()]
    const select = vi.spyOn(led.notificationLog, 'select')
    emails.follow('Led', led)
    const recordings = await led.save(new Account('Ann'))
    await led.save(new Account('Bob'))
    led.lead(emails)
    await led.save(new Account('Cid'))
    await emails.recorder.wait('Led', 3n)
    expect(await emails.sent()).toEqual(['Ann', 'Bob', 'Cid'])
    const reads = select.mock.calls.length
    await emails.receiveRecordingEvent({ applicationName: 'Led', recordings, previousMaxNotificationId: null })
    expect(select.mock.calls.length).toBe(reads)
  })

  it('tells of a follower that fails, and stores what it saves', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockReturnValue()
    onTestFinished(() => warn.mockRestore())
    class Led extends Leader {}
    const led = new Led()
    led.lead({ receiveRecordingEvent: () => Promise.reject(new RangeError('not now')) })
    expect(await led.save(new Account('Ann'))).toHaveLength(1)
    await vi.waitFor(() =>
      expect(warn.mock.calls.map(([, options]) => options)).toEqual([{ code: 'ES_PROMPT_FAILED' }]),
    )
  })

  it('is known to those who follow it', async () => {
    const emails = new Emails()
    await expect(emails.pullAndProcess('Bank')).rejects.toThrow(/does not follow Bank/)
    emails.follow('Bank', new Bank())
    expect(emails.leaders).toEqual(['Bank'])
  })
})

describe('a runner', () => {
  it('gives variables and options to all that it makes, and each of them by its class [215]', async () => {
    const env = { COMPRESSOR_TOPIC: 'zlib', EMAILS_IS_SNAPSHOTTING_ENABLED: 'yes' }
    const runner = new SystemRunner(new System([[Bank, Emails], [Alone]]), {
      env,
      applications: { Alone: { sectionSize: 3 } },
    })
    expect(runner.get(Alone).notificationLog.sectionSize).toBe(3)
    for (const applicationClass of [Bank, Emails, Alone]) {
      const application: Application = runner.get<Application>(applicationClass)
      expect(application).toBeInstanceOf(applicationClass)
      expect(application.environment.get('COMPRESSOR_TOPIC')).toBe('zlib')
    }
    expect(runner.get(Emails).environment.getBoolean('IS_SNAPSHOTTING_ENABLED')).toBe(true)
    expect(() => runner.get(Audit)).toThrow(ProgrammingError)
    const misnamed = { applications: { Banc: {} } }
    expect(() => new SystemRunner(new System([[Bank, Emails]]), misnamed)).toThrow(ProgrammingError)
  })

  it('starts a single application, once, and stops at the end of a block [215]', async () => {
    const runner = new SystemRunner(new System([[Alone]]))
    await runner.start()
    await expect(runner.start()).rejects.toBeInstanceOf(RunnerAlreadyStartedError)
    await runner.stop()
    await runner.stop()
    let bank: Bank
    {
      await using other = new SystemRunner(new System([[Bank, Emails]]))
      await Promise.all([other.start(), expect(other.start()).rejects.toBeInstanceOf(RunnerAlreadyStartedError)])
      bank = other.get(Bank)
      await other.wait(Bank, await bank.open('Ann'))
    }
    await expect(bank.open('Bob')).rejects.toThrow(/closed/)
  })

  it('calls the followers in the order of the system, each for a whole part of the log [219]', async () => {
    const calls: string[] = []
    const noting = (name: string) =>
      class extends Follower {
        static override readonly name = name
        override async policy({ topic }: DomainEvent): Promise<void> {
          await new Promise((resolve) => setTimeout(resolve, name === 'First' ? 5 : 0))
          calls.push(`${name} ${topic}`)
        }
      }
    const [First, Second] = [noting('First'), noting('Second')]
    const runner = new SystemRunner(
      new System([
        [Bank, First],
        [Bank, Second],
      ]),
    )
    const account = new Account('Ann')
    account.change(5)
    await runner.get(Bank).save(account)
    await runner.start()
    await runner.wait(Bank, 2n)
    await runner.close()
    const expected = ['First', 'Second'].flatMap((name) =>
      ['Opened', 'Changed'].map((topic) => `${name} Account.${topic}`),
    )
    expect(calls).toEqual(expected)
    calls.length = 0
    const again = new SystemRunner(
      new System([
        [Bank, First],
        [Bank, Second],
      ]),
    )
    const other = new Account('Bob')
    other.change(5)
    await again.get(Bank).save(other)
    await again.runOnce()
    expect(calls).toEqual(expected)
  })

  it('fails where an application cannot be made, or made ready [221]', async () => {
    class Broken extends ProcessApplication {
      constructor(options?: ApplicationOptions) {
        super(options)
        throw new RangeError('broken')
      }
      override policy(): void {}
    }
    expect(() => new SystemRunner(new System([[Bank, Broken]]))).toThrow(new RangeError('broken'))
    const env = { PERSISTENCE_MODULE: './nowhere.js' }
    const runner = new SystemRunner(new System([[Bank, Emails]]), { env })
    await expect(runner.start()).rejects.toMatchObject({ code: 'ES_ENVIRONMENT' })
    expect(runner.isStarted).toBe(false)
    await expect(runner.start()).rejects.toMatchObject({ code: 'ES_ENVIRONMENT' })
  })

  it('refuses what a policy collects after it has ended', async () => {
    let late: Promise<unknown> = Promise.resolve()
    class Forgetful extends ProcessApplication {
      override policy(_event: DomainEvent, processing: ProcessingEvent): void {
        late = new Promise((resolve) => setTimeout(resolve, 20)).then(() => processing.collectEvents(new Email('late')))
      }
    }
    const [bank, forgetful] = [new Bank(), new Forgetful()]
    forgetful.follow('Bank', bank)
    await bank.open('Ann')
    await forgetful.pullAndProcess('Bank')
    await expect(late).rejects.toThrow(/Await in the policy what it does/)
  })
})
