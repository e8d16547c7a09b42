/** Keeps timers in a table of the Prisma schema. */
import type {
  DueTimer,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
  TimerRecorder,
} from '../persistence/timer-recorder.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import { mayPass } from './connection-source.js'
import type { StatementRunner } from './connections.js'
import type { TimersTable } from './dialect.js'
import { createTables, type Engine, engineOf, runIn } from './engine.js'

/** Which table of timers a recorder uses. */
export interface TimerRecorderOptions {
  /** The table's name; default `timers`. */
  readonly timersTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** Milliseconds that the handlers of timers may take that are handled together. */
const deadlineMs = 30_000

/** A `TimerRecorder` on a datastore. */
export class PrismaTimerRecorder<Client extends object = object> implements TimerRecorder {
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  readonly #engine: Engine
  readonly #table: TimersTable

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: TimerRecorderOptions = {}) {
    const { timersTable = 'timers', schema } = options
    this.datastore = datastore
    this.#engine = engineOf(datastore)
    this.#table = this.#engine.dialect.timersTable({
      name: timersTable,
      schema: schema ?? this.#engine.schema,
      notifies: this.#engine.signals?.notifies === true,
    })
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the table comes from
   * `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#table.createStatements)
  }

  async setTimer(timer: StoredTimer): Promise<void> {
    const scope = this.#engine.currentScope
    if (scope === undefined) this.#engine.checkOutside(`the timer ${timer.id}`)
    await this.#run('write', `set timer ${timer.id}`, (runner) => this.#table.set(runner, timer))
    const wake = (): void => this.#engine.signals?.followersOf(this.#table.channel)?.wake()
    if (scope === undefined) wake()
    else scope.hooks.afterCommit(wake)
  }

  async clearTimer(id: string): Promise<boolean> {
    if (this.#engine.currentScope === undefined) this.#engine.checkOutside(`the end of timer ${id}`)
    return await this.#run('write', `clear timer ${id}`, (runner) => this.#table.clear(runner, id))
  }

  async fireTimers(
    topics: readonly string[],
    limit: number,
    work: (timers: readonly DueTimer[]) => Promise<void>,
  ): Promise<number> {
    return await this.#apart('timers', async () => {
      const due = await this.#run('repeatable', 'take timers', (runner) => this.#table.take(runner, topics, limit))
      if (due.length === 0) return 0
      const ids = due.map(({ id }) => id)
      await this.#run('repeatable', 'take timers', (runner) => this.#table.remove(runner, ids))
      await work(due)
      return due.length
    })
  }

  async reserveTimer(topics: readonly string[], forMs: number): Promise<DueTimer | undefined> {
    return await this.#apart('a timer', async () => {
      const [due] = await this.#run('repeatable', 'take a timer', (runner) => this.#table.take(runner, topics, 1))
      if (due === undefined) return undefined
      await this.#run('repeatable', 'take a timer', (runner) => this.#table.reserve(runner, due.id, forMs))
      return { ...due, epoch: due.epoch + 1n }
    })
  }

  async extendTimer(timer: Pick<DueTimer, 'id' | 'epoch'>, forMs: number): Promise<boolean> {
    return await this.#run('outside', `keep timer ${timer.id}`, (runner) => this.#table.extend(runner, timer, forMs))
  }

  async finishTimer(timer: Pick<DueTimer, 'id' | 'epoch'>): Promise<void> {
    await this.#run('outside', `finish timer ${timer.id}`, (runner) => this.#table.finish(runner, timer))
  }

  async failTimer(timer: Pick<DueTimer, 'id' | 'epoch'>, failure: TimerFailure): Promise<void> {
    await this.#run('outside', `postpone timer ${timer.id}`, (runner) => this.#table.fail(runner, timer, failure))
  }

  async nextTimerInMs(topics: readonly string[]): Promise<number | undefined> {
    return await this.#run('outside', 'look for timers', (runner) => this.#table.nextInMs(runner, topics))
  }

  async selectTimers(options: SelectTimersOptions = {}): Promise<PendingTimer[]> {
    return await this.#run('read', 'read timers', (runner) => this.#table.select(runner, options))
  }

  async retryTimers(only: { readonly id?: string; readonly topics?: readonly string[] }): Promise<number> {
    const count = await this.#run('repeatable', 'try timers again', (runner) => this.#table.retry(runner, only))
    this.#engine.signals?.followersOf(this.#table.channel)?.wake()
    return count
  }

  onSet(listener: () => void): () => void {
    return this.#engine.signals?.follow(this.#table.channel, listener) ?? (() => undefined)
  }

  get isTold(): boolean {
    return this.#engine.signals?.notifies === true
  }

  mayPass(error: unknown): boolean {
    return mayPass(error, this.#engine.dialect)
  }

  async #apart<T>(label: string, work: () => Promise<T>): Promise<T> {
    const { isolationLevel } = this.#table
    const level = isolationLevel === undefined ? {} : { isolationLevel }
    return await this.datastore.transaction(work, { propagation: 'requiresNew', deadlineMs, label, ...level })
  }

  async #run<T>(
    place: Parameters<typeof runIn>[1],
    attempted: string,
    work: (runner: StatementRunner) => Promise<T>,
  ): Promise<T> {
    return await runIn(this.#engine, place, attempted, work)
  }
}
