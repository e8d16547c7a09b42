/** Keeps timers, the keys of personal data, processed messages and the answers to requests, in tables of the Prisma schema. */
import { checkSubject } from '../domain/personal-data.js'
import {
  DatastoreClosedError,
  IdempotencyKeyInUseError,
  IdempotencyKeyReusedError,
  NoTransactionError,
  ProgrammingError,
} from '../errors.js'
import type {
  IdempotencyClaim,
  IdempotencyKey,
  IdempotencyStore,
  RecordedResponse,
  SubjectKey,
  SubjectKeyRecorder,
} from '../persistence/recorder.js'
import type {
  DueTimer,
  InboxMessage,
  InboxRecorder,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
  TimerRecorder,
} from '../persistence/side-recorders.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { Scope } from '../transaction/scope.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import { mayPass } from './connection-source.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import type { IdempotencyKeysTable, InboxTable, SubjectKeysTable, TimersTable, TrackingTable } from './dialect.js'
import { addAnswerTable, answerTablesOf, createTables, type Engine, engineOf, runIn } from './engine.js'
import type { Transaction } from './transaction.js'

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
    const scope = this.#engine.transactions.current
    if (scope === undefined) this.#engine.checkOutside(`the timer ${timer.id}`)
    await this.#run('write', `set timer ${timer.id}`, (runner) => this.#table.set(runner, timer))
    const wake = (): void => this.#engine.signals?.followers.get(this.#table.channel)?.wake()
    if (scope === undefined) wake()
    else scope.hooks.afterCommit.push(wake)
  }

  async clearTimer(id: string): Promise<boolean> {
    if (this.#engine.transactions.current === undefined) this.#engine.checkOutside(`the end of timer ${id}`)
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
    this.#engine.signals?.followers.get(this.#table.channel)?.wake()
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

/** Which table of keys a recorder uses. */
export interface SubjectKeyOptions {
  /** The table's name; default `subject_keys`. */
  readonly keysTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/**
 * A `SubjectKeyRecorder` on a datastore. Inside a transaction it works in that; outside, each call is stored by itself.
 *
 * Of several writers that insert a key for one person at the same time, all get the key of the first.
 */
export class PrismaSubjectKeyRecorder<Client extends object = object> implements SubjectKeyRecorder {
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  readonly #engine: Engine
  readonly #table: SubjectKeysTable

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: SubjectKeyOptions = {}) {
    const { keysTable = 'subject_keys', schema } = options
    this.datastore = datastore
    this.#engine = engineOf(datastore)
    this.#table = this.#engine.dialect.subjectKeysTable({ name: keysTable, schema: schema ?? this.#engine.schema })
  }

  async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return await runIn(this.#engine, 'read', 'read the keys of persons', (runner) =>
      this.#table.select(runner, [...new Set(subjects)]),
    )
  }

  async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    if (keys.length === 0) return []
    const firstOfEach = [...new Map(keys.toReversed().map((key) => [key.subject, key])).values()]
    return await runIn(this.#engine, 'together', 'store the keys of persons', (runner) =>
      this.#table.insert(runner, firstOfEach),
    )
  }

  async deleteKey(subject: string): Promise<boolean> {
    if (this.#engine.transactions.current === undefined) this.#engine.checkOutside(`the erasure of ${subject}`)
    return await runIn(this.#engine, 'write', 'delete the key of a person', async (runner) => {
      // Before the key: who repeats this after a failure deletes what is left.
      for (const answers of answerTablesOf(this.#engine)) await answers.deleteOf(runner, subject)
      return await this.#table.delete(runner, subject)
    })
  }

  /** Runs work in a transaction: the same as `datastore.transaction`. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await this.datastore.transaction(work, options)
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#table.createStatements)
  }
}

/** Which tables an inbox uses. */
export interface InboxRecorderOptions {
  /** The table of messages. */
  readonly inboxTable: string
  /** The table of positions, for sources that come in order. */
  readonly trackingTable: string
  /** The schema that the tables are in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** How many rows one statement deletes. */
const sweptAtOnce = 1_000

/** An `InboxRecorder` on a datastore. */
export class PrismaInboxRecorder implements InboxRecorder {
  readonly #datastore: RecorderDatastore<object>
  readonly #engine: Engine
  readonly #table: InboxTable
  readonly #tracking: TrackingTable

  constructor(datastore: RecorderDatastore<object>, { inboxTable, trackingTable, schema }: InboxRecorderOptions) {
    this.#datastore = datastore
    this.#engine = engineOf(datastore)
    const place = schema ?? this.#engine.schema
    this.#table = this.#engine.dialect.inboxTable({ name: inboxTable, schema: place })
    this.#tracking = this.#engine.dialect.trackingTable({ name: trackingTable, schema: place })
  }

  async createTable(): Promise<void> {
    await createTables(this.#engine, [...this.#table.createStatements, ...this.#tracking.createStatements])
  }

  async once({ source, id }: InboxMessage, work: () => Promise<unknown>): Promise<boolean> {
    return await this.#together(
      `message ${id} of ${source}`,
      work,
      async (attempted) =>
        await runIn(this.#engine, 'write', attempted, (runner) => this.#table.insert(runner, source, id)),
    )
  }

  /** Under the name of a reader, as those of the application have one: it may follow the same log by itself, too. */
  async inOrder(source: string, position: bigint, work: () => Promise<unknown>): Promise<boolean> {
    return await this.#together(
      `message ${position} of ${source}`,
      work,
      async (attempted) =>
        await runIn(this.#engine, 'write', attempted, (runner) =>
          this.#tracking.advance(runner, { applicationName: `inbox@${source}`, notificationId: position }),
        ),
    )
  }

  async sweep(olderThanMs: number): Promise<number> {
    let count = 0
    for (;;) {
      const deleted = await runIn(this.#engine, 'together', 'delete old messages from the inbox', (runner) =>
        this.#table.deleteOlder(runner, olderThanMs, sweptAtOnce),
      )
      count += deleted
      if (deleted < sweptAtOnce) return count
    }
  }

  /** The note of a message comes first: who brings it a second time waits for that. */
  async #together(
    message: string,
    work: () => Promise<unknown>,
    note: (attempted: string) => Promise<boolean>,
  ): Promise<boolean> {
    return await this.#datastore.transaction(
      async () => {
        if (!(await note(`take ${message} into the inbox`))) return false
        await work()
        return true
      },
      { label: message },
    )
  }
}

/** Which table of keys a store uses. */
export interface IdempotencyStoreOptions {
  /** The table's name; default `idempotency_keys`. */
  readonly keysTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** How many keys are deleted by one transaction. */
const partSize = 200

/** After so many answers a store deletes what has expired, up to twice as many. */
const answersPerCleanUp = 100

/**
 * An `IdempotencyStore` on a datastore: what adapters use where the option `idempotency` is set.
 *
 * While a key is in use, a second claim fails at once: on PostgreSQL and MariaDB wherever it comes from, on SQLite and
 * MySQL in the same process. There another process waits for the end of the first transaction, and then gets its answer.
 * Now and then, after a commit, it deletes some of what has expired. `application.forget` and `deleteKey` of the recorder of
 * subject keys delete the answers about a person from the tables of all stores that were made in this process on the datastore.
 */
export class PrismaIdempotencyStore implements IdempotencyStore {
  readonly #engine: Engine
  readonly #table: IdempotencyKeysTable
  readonly #name: string
  #answers = 0

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: object, options: IdempotencyStoreOptions = {}) {
    const { keysTable = 'idempotency_keys', schema } = options
    this.#engine = engineOf(datastore)
    const place = { name: keysTable, schema: schema ?? this.#engine.schema }
    this.#name = `${place.schema ?? ''}.${keysTable}`
    this.#table = this.#engine.dialect.idempotencyKeysTable(place)
    addAnswerTable(this.#engine, this.#name, this.#table)
  }

  async claim(claim: IdempotencyClaim): Promise<RecordedResponse | undefined> {
    assertFits(claim)
    const transaction = this.#transaction('claim an idempotency key')
    transaction.assertUsable()
    const release = takeKey(this.#engine, this.#name, claim)
    if (release === undefined) throw inUse(claim)
    transaction.onEnded.push(release)
    const outcome = await runIn(this.#engine, 'write', 'claim an idempotency key', (runner) =>
      this.#table.claim(runner, claim),
    )
    if (outcome === 'claimed') return undefined
    if (outcome === 'in use') throw inUse(claim)
    if (Buffer.compare(outcome.fingerprint, claim.fingerprint) === 0) return outcome.response
    throw new IdempotencyKeyReusedError(
      `Could not use idempotency key ${claim.key}: another request was sent with it before. Use a new key for a new request.`,
    )
  }

  async complete(key: IdempotencyKey, response: RecordedResponse): Promise<void> {
    const transaction = this.#transaction('store an answer')
    const { subject } = response
    const answer = subject === undefined ? response : { ...response, subject: checkSubject(subject) }
    const isStored = await runIn(this.#engine, 'write', 'store an answer', (runner) =>
      this.#table.complete(runner, key, answer),
    )
    if (!isStored) {
      throw new ProgrammingError(`Could not store an answer under idempotency key ${key.key}: claim the key first.`)
    }
    this.#answers += 1
    if (this.#answers % answersPerCleanUp === 0) transaction.hooks.afterCommit.push(() => this.#cleanUp())
  }

  async #cleanUp(): Promise<void> {
    try {
      await this.#deletePart()
    } catch (error) {
      // While the datastore is closed, it is left to others.
      if (!(error instanceof DatastoreClosedError)) throw error
    }
  }

  async deleteExpired(): Promise<number> {
    let count = 0
    for (;;) {
      const deleted = await this.#deletePart()
      count += deleted
      if (deleted < partSize) return count
    }
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#table.createStatements)
  }

  async #deletePart(): Promise<number> {
    return await runIn(this.#engine, 'together', 'delete idempotency keys that have expired', (runner) =>
      this.#table.deleteExpired(runner, partSize),
    )
  }

  #transaction(attempted: string): Scope<DriverConnection> {
    const { current } = this.#engine.transactions
    if (current !== undefined) return current
    throw new NoTransactionError(
      `Could not ${attempted}: there is no current transaction, and an answer is stored together with its work or not at all.`,
    )
  }
}

function assertFits({ scope, key, ttlMs }: IdempotencyClaim): void {
  if (key.length >= 1 && key.length <= longest && scope.length <= longest && ttlMs > 0 && ttlMs <= longestTtlMs) return
  throw new ProgrammingError(
    `Could not claim an idempotency key: a key has 1 to ${longest} characters, a scope at most ${longest}, and it is kept for more than 0 ms and at most ${longestTtlMs}.`,
  )
}

const longest = 255
const longestTtlMs = 10 * 366 * 24 * 60 * 60 * 1000

function inUse({ key }: IdempotencyKey): IdempotencyKeyInUseError {
  return new IdempotencyKeyInUseError(
    `Could not use idempotency key ${key}: a request with it is still being answered. Wait, and send it again.`,
  )
}

/** For each database, by an object of it that lives as long: the keys that are in use. */
const running = new WeakMap<object, Set<string>>()

/**
 * Takes a key.
 *
 * @param database - keys of several never meet
 * @returns gives it back; undefined where it is in use
 */
function takeKey(database: object, table: string, { scope, key }: IdempotencyKey): (() => void) | undefined {
  const keys = running.get(database) ?? new Set()
  running.set(database, keys)
  const name = JSON.stringify([table, scope, key])
  if (keys.has(name)) return undefined
  keys.add(name)
  return () => keys.delete(name)
}
