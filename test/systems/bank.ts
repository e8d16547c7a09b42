/** The applications of these systems: a bank, those who write to its customers, and commands with their results. */
import {
  Aggregate,
  Application,
  type DomainEvent,
  defineEvent,
  event,
  NAMESPACE_URL,
  ProcessApplication,
  type ProcessingEvent,
  type Recording,
  readEvent,
  typed,
  uuid5,
} from '../../src/index.js'

export const Opened = defineEvent('Opened', typed<{ owner: string }>())

@event(Opened, 'owner')
export class Account extends Aggregate {
  readonly owner: string
  balance = 0

  constructor(owner: string) {
    super()
    this.owner = owner
  }

  static createId(owner: string): string {
    return uuid5(NAMESPACE_URL, `/accounts/${owner}`)
  }

  @event('Changed', 'amount')
  change(amount: number): void {
    this.balance += amount
  }
}

@event('Sent', 'owner')
export class Email extends Aggregate {
  readonly owner: string

  constructor(owner: string) {
    super()
    this.owner = owner
  }

  static createId(owner: string): string {
    return uuid5(NAMESPACE_URL, `/emails/${owner}`)
  }
}

@event('Begun', 'name')
export class Counter extends Aggregate {
  readonly name: string
  count = 0

  constructor(name: string) {
    super()
    this.name = name
  }

  static createId(name = ''): string {
    return uuid5(NAMESPACE_URL, `/counters/${name}`)
  }

  @event('Incremented')
  increment(): void {
    this.count += 1
  }
}

/** A counter of all, with a snapshot after each five events. */
@event('Begun', 'name')
export class Tally extends Counter {
  static override createId(): string {
    return uuid5(NAMESPACE_URL, '/tally')
  }

  static readonly snapshots = { every: 5 }
}

export class Bank extends Application {
  async open(owner: string): Promise<Recording[]> {
    return await this.save(new Account(owner))
  }

  async deposit(owner: string, amount: number): Promise<Recording[]> {
    const account = await this.repository.get(Account, Account.createId(owner))
    account.change(amount)
    return await this.save(account)
  }
}

export class Emails extends ProcessApplication {
  override policy(event: DomainEvent, processing: ProcessingEvent): unknown {
    const opened = readEvent(Account, Opened, event)
    if (opened !== undefined) processing.collectEvents(new Email(opened.data.owner))
    return undefined
  }

  async sent(): Promise<string[]> {
    const ids: string[] = []
    for await (const id of this.aggregates(Email)) ids.push((await this.repository.get(Email, id)).owner)
    return ids
  }
}

const Given = defineEvent('Given', typed<{ text: string }>())
const Created = defineEvent('Created', typed<{ command: string; output: string; error: string }>())

@event(Given, 'text')
export class Command extends Aggregate {
  readonly text: string
  output = ''
  error = ''

  constructor(text: string) {
    super()
    this.text = text
  }

  @event('Done', 'output', 'error')
  done(output: string, error: string): void {
    this.output = output
    this.error = error
  }
}

@event(Created, 'command', 'output', 'error')
class Result extends Aggregate {
  readonly command: string
  readonly output: string
  readonly error: string

  constructor(command: string, output: string, error: string) {
    super()
    this.command = command
    this.output = output
    this.error = error
  }
}

/** Takes commands, and notes their results. */
export class Commands extends ProcessApplication {
  async give(text: string): Promise<string> {
    const command = new Command(text)
    await this.save(command)
    return command.id
  }

  override async policy(event: DomainEvent, processing: ProcessingEvent): Promise<void> {
    const result = readEvent(Result, Created, event)
    if (result === undefined) return
    const command = await this.repository.get(Command, result.data.command)
    command.done(result.data.output, result.data.error)
    processing.collectEvents(command)
  }
}

/** Carries commands out. */
export class Results extends ProcessApplication {
  override policy(event: DomainEvent, processing: ProcessingEvent): void {
    const given = readEvent(Command, Given, event)
    if (given === undefined) return
    const [, echoed] = /^echo '(.*)'$/.exec(given.data.text) ?? []
    const result = echoed === undefined ? ['', `unknown command: ${given.data.text}`] : [`${echoed}\n`, '']
    processing.collectEvents(new Result(event.originatorId, ...(result as [string, string])))
  }
}
