/** One database transaction from its first statement to its end: the connection, the deadline and the guests in it. */
import { CommitUnknownError, OverloadedError, RollbackOnlyError, TransactionTimeoutError } from '../errors.js'
import type { Run } from './buffers.js'
import { closedError } from './closed.js'
import type {
  Abandonable,
  ConnectionSource,
  LoneStatements,
  Statements,
  TransactionConnection,
  WaitOptions,
} from './connection.js'
import type { Deadline } from './deadline.js'
import type { Escapes } from './escapes.js'
import { type IsolationLevel, type TransactionLabel, textOf } from './options.js'
import { settlesWithin } from './patience.js'
import type { Telemetry } from './telemetry.js'
import { Turn } from './turn.js'

/** How long the statement under way and the ROLLBACK may take together, before the connection is abandoned. */
const rollbackPatienceMs = 300
/** How long what was under way on an abandoned connection may take to fail. */
const lastPatienceMs = 100
/** From when on a deadline that comes late tells that the process has stood still. */
const leastLateMs = 500
/** How long beyond the deadline a COMMIT may take that was sent before it. */
const commitPatienceMs = 500

/** Something that lives inside the transaction and has to leave before its end. */
export interface Guest {
  /** @param commit - whether the transaction is about to commit */
  leave(commit: boolean): Promise<void>
}

/** A transaction around another one. */
interface Holder {
  readonly connection: object | undefined
  notePosition(log: string, position: bigint): void
}

/** What a session needs to know when it starts. */
export interface SessionOptions {
  readonly isolationLevel: IsolationLevel | undefined
  readonly readOnly: boolean
  /** Whether BEGIN may wait for the first statement that writes or locks. */
  readonly beginsWithWrite: boolean
  readonly deadline: Deadline
  /** Milliseconds that it may wait for a connection, which are not charged to the deadline. */
  readonly maxWaitMs: number
  /** From 1: how often the work was begun. */
  readonly attempt: number
  /** Who is told what becomes of it. */
  readonly telemetry: Telemetry
  /** What the transaction is for, for messages. */
  readonly label: TransactionLabel | undefined
  readonly escapes: Escapes
  /** The transactions that are open around this one. */
  readonly around: readonly Holder[]
}

/** Runs statements on one connection, one at a time: the scopes see to the order. */
export class Session<Connection extends TransactionConnection> {
  readonly options: SessionOptions
  readonly #source: ConnectionSource<Connection>
  readonly #onStopped: () => void
  readonly #guests = new Map<object, Guest>()
  readonly #turn = new Turn()
  #controller: AbortController | undefined
  #abortReason: Error | undefined
  #ending: AbortController | undefined
  #connecting: Promise<Connection> | undefined
  #connection: Connection | undefined
  /** What the pool has given, while BEGIN or a statement by itself is under way. */
  #acquired: Abandonable | undefined
  #inFlight: Promise<unknown> | undefined
  #undone: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined
  #ended: Error | boolean = false
  #stopped: Error | undefined
  #useCount = 0
  #isLoneWrite = false
  #positions: Map<string, bigint> | undefined
  #lost: { readonly cause: unknown } | undefined

  constructor(source: ConnectionSource<Connection>, options: SessionOptions, onStopped: () => void) {
    this.#source = source
    this.options = options
    this.#onStopped = onStopped
  }

  /** Which transaction this is, for messages. */
  get title(): string {
    const text = textOf(this.options.label)
    return text === undefined ? 'the transaction' : `the transaction "${text}"`
  }

  /** What it holds of the pool, undefined before BEGIN has been answered. */
  get connection(): object | undefined {
    return this.#connection
  }

  /** Whether BEGIN has been answered. */
  get begun(): boolean {
    return this.#connection !== undefined
  }

  /** Whether the database has begun it: by BEGIN, or with the one statement that wrote everything. */
  get isCounted(): boolean {
    return this.begun || this.#isLoneWrite
  }

  /** Where statements are sent that need no transaction around them; undefined once it has begun, and where it begins with its first statement. */
  get lone(): LoneStatements<Connection> | undefined {
    if (this.#connecting !== undefined || !this.options.beginsWithWrite) return undefined
    return this.#source.lone
  }

  /** Whether its reads so far were sent by themselves. */
  get readsAlone(): boolean {
    return this.lone?.readAsInTransaction === true
  }

  /** Whether the database has ended the transaction by itself. */
  get hasEndedInDatabase(): boolean {
    return this.#connection?.hasEnded === true
  }

  /** By the names of logs: the position of the last event that was committed by this transaction, and by those inside of it. */
  get positions(): ReadonlyMap<string, bigint> {
    return this.#positions ?? noPositions
  }

  /** Notes the position of an event that is committed. */
  notePosition(log: string, position: bigint): void {
    this.#positions ??= new Map()
    if (position > (this.#positions.get(log) ?? 0n)) this.#positions.set(log, position)
    for (const around of this.options.around) around.notePosition(log, position)
  }

  /** How often the connection was asked for, from whatever scope. */
  get useCount(): number {
    return this.#useCount
  }

  /** Why no statement can start any more, undefined while one can. */
  get ended(): Error | undefined {
    // Made when it is asked for: few transactions are used after their end.
    if (this.#ended === true) this.#ended = closedError('A statement was sent', this.title)
    return this.#ended === false ? undefined : this.#ended
  }

  /** Whether no statement can start any more. */
  get isOver(): boolean {
    return this.#ended !== false
  }

  /** What has ended it from outside, such as the deadline; undefined where nothing has. */
  get stopped(): Error | undefined {
    return this.#stopped
  }

  /** Aborts at the deadline, or when `abort` is called. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#abortReason !== undefined) this.#controller.abort(this.#abortReason)
    }
    return this.#controller.signal
  }

  /** Aborts at the end, whatever ends it: for what waits for a place or a connection, which has nothing to wait for then. */
  get endSignal(): AbortSignal {
    if (this.#ending === undefined) {
      this.#ending = new AbortController()
      if (this.isOver) this.#ending.abort(this.ended)
    }
    return this.#ending.signal
  }

  /** Aborts the signal without ending anything: it is the work's choice to stop. */
  abort(reason: Error): void {
    this.#abortReason ??= reason
    this.#controller?.abort(reason)
  }

  /** The guest under this key, made at its first use. */
  guest<G extends Guest>(key: object, create: () => G): G {
    // Each key is used with one kind of guest only, by the module that owns the key.
    const known = this.#guests.get(key) as G | undefined
    if (known !== undefined) return known
    this.assertOpen()
    const guest = create()
    this.#guests.set(key, guest)
    return guest
  }

  /** Sees to the deadline where it has passed: timers of different lengths are late in any order when something keeps the process busy. */
  checkDeadline(): void {
    if (this.#ended === false && this.options.deadline.isOver) this.#expire()
  }

  /** @throws why no statement can start any more */
  assertOpen(): void {
    this.checkDeadline()
    const { ended } = this
    if (ended !== undefined) throw ended
  }

  /**
   * The database has ended the transaction. What would be sent now would be stored at once, by itself, so nothing is.
   *
   * @param cause - the failure after which it did
   */
  lose(cause: unknown): void {
    this.#lost ??= { cause }
  }

  /** Starts the deadline at the first use of the database. */
  startDeadline(): void {
    if (this.#timer !== undefined) return
    const { deadline } = this.options
    this.#timer = setTimeout(() => this.#expire(), deadline.leftMs)
    deadline.start()
  }

  /** Stops it while the transaction waits for a connection. @returns what starts it again */
  #pauseDeadline(): () => void {
    this.options.deadline.pause()
    clearTimeout(this.#timer)
    return () => {
      this.#timer = undefined
      if (!this.isOver) this.startDeadline()
    }
  }

  /** Runs one piece of work on the connection, after those that were asked for before; the first one begins the transaction. */
  async use<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    return await this.#send(work, undefined)
  }

  /** As `use`, for work that only reads: it begins the transaction where that shows it something else than a statement by itself. */
  async read<T>(work: (connection: Statements<Connection>) => Promise<T>): Promise<T> {
    return await this.#send(work, work)
  }

  /**
   * Sends what is to be committed in place of a transaction, which then is over. As with COMMIT, the deadline rolls nothing back any
   * more once it is sent.
   *
   * @param write - sends statements of which at most one writes
   * @throws `CommitUnknownError` when no answer comes
   */
  async writeAlone(
    lone: LoneStatements<Connection>,
    write: (run: Run<Statements<Connection>>) => Promise<void>,
  ): Promise<void> {
    this.#useCount += 1
    const { telemetry, deadline } = this.options
    await this.#alone(lone, async (connection) => {
      const patienceMs = deadline.leftMs + commitPatienceMs
      this.#close()
      this.#isLoneWrite = true
      telemetry.begun()
      const writing = write((work) => work(connection))
      if (await settlesWithin(writing, patienceMs)) return await writing
      this.abandon()
      throw new CommitUnknownError(
        'No answer came to the statement that stores the events of the transaction, so they may or may not be stored. Look before you repeat it.',
      )
    })
  }

  async #send<T>(
    work: (connection: Connection) => Promise<T>,
    reading: ((connection: Statements<Connection>) => Promise<T>) | undefined,
  ): Promise<T> {
    this.#useCount += 1
    const endTurn = this.#turn.tryTake() ?? (await this.#turn.take())
    try {
      this.assertOpen()
      if (this.#lost !== undefined) throw lostError(this.#lost.cause)
      const lone = reading === undefined ? undefined : this.lone
      if (lone !== undefined && reading !== undefined) {
        if (lone.readAsInTransaction ?? (await lone.learn(this.#waiting()))) {
          this.#inFlight = this.#alone(lone, reading)
          return (await this.#inFlight) as T // as below
        }
        this.assertOpen()
      }
      const connection = this.#connection ?? (await this.#connect())
      this.assertOpen()
      this.#inFlight = work(connection)
      // The type of what is in flight is lost in the field.
      return (await this.#inFlight) as T
    } catch (error) {
      // What has stopped it has let go of the connection as well.
      throw this.#stopped ?? error
    } finally {
      this.#inFlight = undefined
      endTurn()
    }
  }

  /** Runs work on a connection that is given back afterwards. */
  async #alone<T>(
    lone: LoneStatements<Connection>,
    work: (connection: Statements<Connection>) => Promise<T>,
  ): Promise<T> {
    try {
      return await lone.run(this.#waiting(), (connection) => {
        // It may have ended while this waited.
        this.assertOpen()
        return work(connection)
      })
    } catch (error) {
      if (error instanceof OverloadedError) this.options.telemetry.overloaded()
      throw error
    } finally {
      this.#acquired = undefined
    }
  }

  /** How it waits for a connection. */
  #waiting(): WaitOptions {
    const { maxWaitMs, around, telemetry } = this.options
    return {
      heldAround: around.flatMap(({ connection }) => connection ?? []),
      maxWaitMs,
      signal: () => this.endSignal,
      waits: () => {
        const hasWaited = telemetry.waits()
        const goOn = this.#pauseDeadline()
        return () => {
          hasWaited()
          goOn()
        }
      },
      acquired: (connection) => this.#take(connection),
    }
  }

  /** Whether there are guests in it. */
  get hasGuests(): boolean {
    return this.#guests.size > 0
  }

  /** Has the guests leave before the end, while statements of the library may still follow. */
  async dismissGuests(commit: boolean): Promise<void> {
    for (const [key, guest] of this.#guests) {
      // When one fails, the rollback dismisses those that are left.
      this.#guests.delete(key)
      await guest.leave(commit)
    }
  }

  /** Sends COMMIT. The deadline rolls nothing back any more; but when the answer does not come soon after it, nobody waits longer. */
  async commit(): Promise<void> {
    const patienceMs = this.options.deadline.leftMs + commitPatienceMs
    this.#close()
    const connection = this.#connection
    if (connection !== undefined) await this.options.telemetry.commit(this, () => connection.commit(patienceMs))
  }

  /**
   * Awaits the statement in flight, then sends ROLLBACK; when that takes too long, the connection is abandoned. Never rejects:
   * a connection that fails here is lost, and the work with it.
   */
  async rollback(reason?: unknown): Promise<void> {
    this.#close()
    const undoing = this.#undo(reason)
    if (await settlesWithin(undoing, rollbackPatienceMs)) return
    this.abandon()
    if (!(await settlesWithin(undoing, lastPatienceMs))) this.#undone = undoing
  }

  /** Ends its connection at once, whatever is under way on it: nobody waits for an answer any more. */
  abandon(): void {
    const held = this.#connection ?? this.#acquired
    held?.abandon?.()
  }

  async #undo(reason: unknown): Promise<void> {
    await this.#inFlight?.catch(ignore)
    await this.dismissGuests(false).catch(ignore)
    const connection = this.#connection
    if (connection !== undefined) {
      await this.options.telemetry.rollback(this, reason, () => connection.rollback()).catch(ignore)
    }
    // A BEGIN that has not been answered is not waited for: it is undone when it comes.
    else if (this.#connecting !== undefined) this.#undone = this.#undoBegin(this.#connecting)
  }

  async #undoBegin(connecting: Promise<TransactionConnection>): Promise<void> {
    const undoing = undo(connecting)
    await this.#abandonUnless(undoing)
    await undoing
  }

  /** Resolves when a BEGIN that came after the end is undone, too. */
  get undone(): Promise<void> {
    return this.#undone
  }

  /**
   * Ends the transaction from outside: it rolls back, and whoever goes on using it gets the error.
   *
   * @returns false when its end has begun already
   */
  stop(error: Error): boolean {
    if (this.#ended !== false) return false
    this.#ended = this.#stopped = error
    this.abort(error)
    this.#onStopped()
    return true
  }

  #close(): void {
    clearTimeout(this.#timer)
    if (this.#ended === false) this.#ended = true
    this.#ending?.abort(this.ended)
  }

  async #connect(): Promise<Connection> {
    this.#connecting ??= this.#begin()
    return this.#connecting
  }

  async #begin(): Promise<Connection> {
    const { isolationLevel, readOnly, deadline, telemetry } = this.options
    const options = {
      ...this.#waiting(),
      waits: () => this.#pauseDeadline(),
      isolationLevel,
      readOnly,
      deadlineMs: deadline.ms,
    }
    try {
      const connection = await telemetry.begin(this, () => this.#source.begin(options))
      if (this.#ended === false) {
        this.#connection = connection
        telemetry.begun()
      } else telemetry.begunTooLate()
      return connection
    } catch (error) {
      this.#connecting = undefined
      if (error instanceof OverloadedError) telemetry.overloaded()
      this.assertOpen()
      throw error
    }
  }

  #take(acquired: Abandonable): void {
    this.#acquired = acquired
    // It came when nobody waited for it any more: what is begun on it is undone.
    if (this.isOver) void this.#abandonUnless(this.#undone)
  }

  async #abandonUnless(undone: Promise<void>): Promise<void> {
    if (!(await settlesWithin(undone, rollbackPatienceMs))) this.abandon()
  }

  #expire(): void {
    this.options.telemetry.timedOut()
    const isWaiting = this.#connecting !== undefined && this.#connection === undefined
    const what = isWaiting ? 'had no connection that answers' : 'was still open'
    const cure = isWaiting ? 'See whether the database can be reached' : 'Do less in it'
    const { ms, overMs } = this.options.deadline
    this.stop(
      new TransactionTimeoutError(
        `The deadline has passed: ${this.title} ${what} ${ms} ms after its first use of the database, and ` +
          `was rolled back. ${cure}, or give it a greater deadlineMs.${this.#whyLate(overMs)}`,
      ),
    )
  }

  /** What kept the timer from firing kept the work as well. */
  #whyLate(overMs: number): string {
    if (overMs < leastLateMs) return ''
    const writer = this.#source.singleWriter
      ? ' A PrismaClient without a datastore, or another driver of this process, that waits for the only writer of the same file stops it: use ' +
        'datastore.client, or open that with a busy timeout of 0.'
      : ''
    return ` The process stood still for the last ${Math.round(overMs)} ms, by something synchronous.${writer}`
  }
}

const noPositions: ReadonlyMap<string, bigint> = new Map()

function lostError(cause: unknown): Error {
  return new RollbackOnlyError(
    'A statement was not sent: the database has ended the transaction with an earlier one, whose error is the cause. ' +
      'Let that error propagate; with the option retries the work is then run again where that may help.',
    { cause },
  )
}

async function undo(connecting: Promise<TransactionConnection>): Promise<void> {
  try {
    await (await connecting).rollback()
  } catch {
    // It never came, or is lost with what was begun on it.
  }
}

function ignore(): void {}
