/** One database transaction from its first statement to its end: the connection, the deadline and the guests in it. */
import { CommitUnknownError, OverloadedError, RollbackOnlyError } from '../errors.js'
import {
  type Abandonable,
  type ConnectionSource,
  type Holder,
  type LoneStatements,
  type Statements,
  type TransactionConnection,
  type WaitOptions,
} from './connection.js'
import type { Run } from './endings.js'
import type { Escapes } from './escapes.js'
import { Lifetime, type LifetimeOptions, type LifetimeOwner, settlesWithin } from './locks.js'
import type { IsolationLevel } from './options.js'
import { channels } from './telemetry.js'

/** How long the statement under way and the ROLLBACK may take together, before the connection is abandoned. */
const rollbackPatienceMs = 300
/** How long what was under way on an abandoned connection may take to fail. */
const lastPatienceMs = 100
/** How long beyond the deadline a COMMIT may take that was sent before it. */
const commitPatienceMs = 500

/** Something that lives inside the transaction and has to leave before its end. */
export interface Guest {
  /** @param commit - whether the transaction is about to commit */
  leave(commit: boolean): Promise<void>
}

/** What a session needs to know when it starts. */
export interface SessionOptions extends LifetimeOptions {
  readonly isolationLevel: IsolationLevel | undefined
  readonly readOnly: boolean
  /** Whether BEGIN may wait for the first statement that writes or locks. */
  readonly beginsWithWrite: boolean
  /** Milliseconds that it may wait for a connection, which are not charged to the deadline. */
  readonly maxWaitMs: number
  /** From 1: how often the work was begun. */
  readonly attempt: number
  readonly escapes: Escapes
  /** The transactions that are open around this one. */
  readonly around: readonly Holder[]
  /** The same of all datastores, as it was when the transaction was made: Prisma sends some statements in the context of another. */
  readonly aroundOfAny: readonly Holder[]
}

/** A piece of work on the connection of a transaction. */
export type Work<Connection, T> = (connection: Connection) => Promise<T>

/** One that only reads, also on a connection where each statement is a transaction of its own. */
export type Reading<Connection extends TransactionConnection, T> = Work<Statements<Connection>, T>

/** A scope, as its session sees it. */
export interface SessionUser {
  /** Asked again when the work has its turn. @throws when nothing can be done any more */
  assertUsable(): void
  /**
   * The work has failed.
   *
   * @param isOfGuest - as it was said of the work
   * @param wasAlone - whether it was sent without a transaction around it, which it cannot have spoilt then
   */
  failed(error: unknown, isOfGuest: boolean, wasAlone: boolean): void
}

/** Runs statements on one connection, one at a time: the scopes see to the order. */
export class Session<Connection extends TransactionConnection> implements LifetimeOwner {
  readonly options: SessionOptions
  readonly life: Lifetime
  readonly source: ConnectionSource<Connection>
  readonly #onStopped: () => void
  /** Each under a key of its own. */
  readonly guests: Map<object, Guest> = new Map()
  /** Whether a piece of work has the connection, and those that wait for it. */
  #isBusy = false
  readonly #waitingWork: Array<() => void> = []
  #connecting: Promise<Connection> | undefined
  #connection: Connection | undefined
  /** Whether the database has begun it: by BEGIN, or with the one statement that wrote everything. */
  isCounted = false
  /**
   * What others keep until the session is gone, each by a key of its own and made at its first use. A `WeakMap` of sessions whose values
   * know scopes would keep each of them until the next full garbage collection.
   */
  kept: Map<object, unknown> | undefined
  /** How often the connection was asked for, from whatever scope. */
  useCount = 0
  #hasBegun = false
  /** What the pool has given, while BEGIN or a statement by itself is under way. */
  #acquired: Abandonable | undefined
  #inFlight: Promise<unknown> | undefined
  #undone: Promise<void> | undefined
  /** By the names of logs: the position of the last event that was committed by this transaction, and by those inside of it. */
  positions: ReadonlyMap<string, bigint> = noPositions
  #lost: { readonly cause: unknown } | undefined

  constructor(source: ConnectionSource<Connection>, options: SessionOptions, onStopped: () => void) {
    this.source = source
    this.options = options
    this.#onStopped = onStopped
    this.life = new Lifetime(options, this)
  }

  get isBeginning(): boolean {
    return this.#connecting !== undefined && this.#connection === undefined
  }

  get singleWriter(): boolean {
    return this.source.singleWriter
  }

  stopped(): void {
    this.#onStopped()
  }

  /** What it holds of the pool, undefined before BEGIN has been answered, and after the end. */
  get connection(): object | undefined {
    return this.#connection
  }

  /** Whether BEGIN has been answered. */
  get begun(): boolean {
    return this.#hasBegun
  }

  /** Where statements are sent that need no transaction around them; undefined once it has begun, and where it begins with its first statement. */
  get lone(): LoneStatements<Connection> | undefined {
    if (this.#connecting !== undefined || !this.options.beginsWithWrite) return undefined
    return this.source.lone
  }

  /** Whether its reads so far were sent by themselves. */
  get readsAlone(): boolean {
    return this.lone?.readAsInTransaction === true
  }

  /** Whether the database has ended the transaction by itself. */
  get hasEndedInDatabase(): boolean {
    return this.#connection?.hasEnded === true
  }

  /** Notes the position of an event that is committed. */
  notePosition(log: string, position: bigint): void {
    if (position > (this.positions.get(log) ?? 0n)) this.positions = new Map([...this.positions, [log, position]])
    for (const around of this.options.around) around.notePosition(log, position)
  }

  /** The guest under this key, made at its first use. */
  guest<G extends Guest>(key: object, create: () => G): G {
    // Each key is used with one kind of guest only, by the module that owns the key.
    const known = this.guests.get(key) as G | undefined
    if (known !== undefined) return known
    const guest = create()
    this.guests.set(key, guest)
    return guest
  }

  /**
   * The database has ended the transaction. What would be sent now would be stored at once, by itself, so nothing is.
   *
   * @param cause - the failure after which it did
   */
  lose(cause: unknown): void {
    this.#lost ??= { cause }
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
    user: Pick<SessionUser, 'assertUsable'>,
  ): Promise<void> {
    this.useCount += 1
    const { telemetry } = this.options
    const { deadline } = this.life
    const send = async (connection: Statements<Connection>): Promise<void> => {
      const patienceMs = Math.max(0, deadline.leftMs) + commitPatienceMs
      this.life.close()
      this.isCounted = true
      telemetry.begun()
      const writing = write((work) => work(connection))
      if (await settlesWithin(writing, patienceMs)) return await writing
      this.abandon()
      throw new CommitUnknownError(
        'No answer came to the statement that stores the events of the transaction, so they may or may not be stored. Look before you repeat it.',
      )
    }
    try {
      await this.#alone(lone, send, user)
    } catch (error) {
      this.#noteOverload(error)
      throw error
    } finally {
      this.#acquired = undefined
    }
  }

  /**
   * Runs one piece of work on the connection, after those that were asked for before. It begins the transaction, unless it only reads
   * and a statement by itself shows the same.
   *
   * @throws what `user.assertUsable` throws, and why no statement can start any more
   */
  async use<T>(
    work: Work<Connection, T>,
    reading: Reading<Connection, T> | undefined,
    user: SessionUser,
    isOfGuest: boolean,
  ): Promise<T> {
    this.useCount += 1
    if (this.#isBusy) await new Promise<void>((resolve) => void this.#waitingWork.push(resolve))
    this.#isBusy = true
    try {
      // It may have ended while others had the connection: this would be done outside of it, then.
      user.assertUsable()
      if (this.#lost !== undefined) throw lostError(this.#lost.cause)
      const lone = reading === undefined ? undefined : this.lone
      if (lone !== undefined && reading !== undefined) {
        if (lone.readAsInTransaction ?? (await lone.learn(this.#waiting()))) {
          this.#inFlight = this.#alone(lone, reading, user)
          return (await this.#inFlight) as T // as below
        }
        this.life.assertOpen()
      }
      let connection = this.#connection
      if (connection === undefined) {
        connection = await (this.#connecting ??= this.#begin())
        user.assertUsable()
      }
      this.#inFlight = work(connection)
      // The type of what is in flight is lost in the field.
      return (await this.#inFlight) as T
    } catch (error) {
      // What has stopped it has let go of the connection as well.
      const failure = this.life.stopped ?? error
      this.#noteOverload(error)
      user.failed(failure, isOfGuest, reading !== undefined && this.readsAlone)
      throw failure
    } finally {
      this.#inFlight = undefined
      // Where nothing has begun, it was given back.
      if (this.#connecting === undefined) this.#acquired = undefined
      const next = this.#waitingWork.shift()
      if (next === undefined) this.#isBusy = false
      else next()
    }
  }

  /** Runs work on a connection that is given back afterwards. */
  #alone<T>(
    lone: LoneStatements<Connection>,
    work: Reading<Connection, T>,
    user: Pick<SessionUser, 'assertUsable'>,
  ): Promise<T> {
    return lone.run(this.#waiting(), (connection) => {
      // It may have ended while this waited.
      user.assertUsable()
      return work(connection)
    })
  }

  #noteOverload(error: unknown): void {
    if (error instanceof OverloadedError) this.options.telemetry.overloaded()
  }

  /** How it waits for a connection. */
  #waiting(): WaitOptions {
    const { maxWaitMs, around, aroundOfAny, telemetry } = this.options
    return {
      heldAround: around.flatMap(({ connection }) => connection ?? []),
      heldByAny: aroundOfAny.flatMap(({ connection }) => connection ?? []),
      maxWaitMs,
      signal: () => this.life.endSignal,
      waits: () => {
        const hasWaited = telemetry.waits()
        const goOn = this.life.pauseDeadline()
        return () => {
          hasWaited()
          goOn()
        }
      },
      acquired: (connection) => this.#take(connection),
    }
  }

  /** Has the guests leave before the end, while statements of the library may still follow. */
  async dismissGuests(commit: boolean): Promise<void> {
    for (const [key, guest] of this.guests) {
      // When one fails, the rollback dismisses those that are left.
      this.guests.delete(key)
      await guest.leave(commit)
    }
  }

  /** Sends COMMIT, where BEGIN was sent. The deadline rolls nothing back any more; but when the answer does not come soon after it, nobody waits longer. */
  commit(): Promise<void> | undefined {
    const patienceMs = Math.max(0, this.life.deadline.leftMs) + commitPatienceMs
    this.life.close()
    const connection = this.#connection
    // What has begun and failed is rolled back, with its connection.
    if (connection === undefined) return undefined
    const committing = channels.commit.hasSubscribers
      ? this.options.telemetry.commit(this, () => connection.commit(patienceMs))
      : connection.commit(patienceMs)
    return committing.then(() => this.#letGo())
  }

  /**
   * Awaits the statement in flight, then sends ROLLBACK; when that takes too long, the connection is abandoned. Never rejects:
   * a connection that fails here is lost, and the work with it.
   */
  async rollback(reason?: unknown): Promise<void> {
    this.life.close()
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
      this.#letGo()
    }
    // A BEGIN that has not been answered is not waited for: it is undone when it comes.
    else if (this.#connecting !== undefined) this.#undone = this.#undoBegin(this.#connecting)
  }

  async #undoBegin(connecting: Promise<TransactionConnection>): Promise<void> {
    const undoing = undo(connecting).then(() => this.#letGo())
    await this.#abandonUnless(undoing)
    await undoing
  }

  /**
   * Forgets the connection. The context of a request lives on in whatever was made in it, such as the socket that a driver has made
   * in the place of an abandoned connection: each would keep the one before.
   */
  #letGo(): void {
    this.#connection = this.#connecting = this.#acquired = undefined
  }

  /** Resolves when a BEGIN that came after the end is undone, too. */
  get undone(): Promise<void> | undefined {
    return this.#undone
  }

  async #begin(): Promise<Connection> {
    const { isolationLevel, readOnly, telemetry } = this.options
    const { heldAround, heldByAny, maxWaitMs, signal, acquired } = this.#waiting()
    const waits = (): (() => void) => this.life.pauseDeadline()
    const waiting = { heldAround, heldByAny, maxWaitMs, signal, acquired, waits }
    const options = { ...waiting, isolationLevel, readOnly, deadlineMs: this.life.deadline.ms }
    try {
      return await telemetry.begin(this, async () => {
        const connection = await this.source.begin(options)
        if (this.life.isOver) return connection
        this.#hasBegun = this.isCounted = true
        return (this.#connection = connection)
      })
    } catch (error) {
      this.#connecting = undefined
      this.life.assertOpen()
      throw error
    }
  }

  #take(acquired: Abandonable): void {
    this.#acquired = acquired
    // It came when nobody waited for it any more: what is begun on it is undone.
    if (this.life.isOver && this.#undone !== undefined) void this.#abandonUnless(this.#undone)
  }

  async #abandonUnless(undone: Promise<void>): Promise<void> {
    if (!(await settlesWithin(undone, rollbackPatienceMs))) this.abandon()
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
