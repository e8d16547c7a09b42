/** Opens scopes as the propagation asks, and makes them current for the code that runs in them. */
import { setTimeout as delay } from 'node:timers/promises'
import { checkOptions } from '../checked-options.js'
import { NoTransactionError, NotSupportedError, ProgrammingError } from '../errors.js'
import { attendance, attendedCalls, ClientCall } from './calls.js'
import type { ConnectionSource, Holder, TransactionConnection } from './connection.js'
import { AsyncContext } from './context.js'
import type { Escapes } from './escapes.js'
import { type CloseOptions, DeferredScope, OpenScopes } from './open-scopes.js'
import {
  assertPossible,
  type BeginAt,
  backOffMs,
  type IsolationLevel,
  type Labelled,
  type Propagation,
  type TransactionOptions,
  transactionOptionTypes,
} from './options.js'
import { Scope, type ScopeOptions, Whole } from './scope.js'
import { channels, type Telemetry } from './telemetry.js'

/** What holds for every transaction that does not say otherwise. */
export interface TransactionDefaults {
  autoflush: boolean
  begin: BeginAt
  deadlineMs: number
  isolationLevel?: IsolationLevel
  maxWaitMs: number
}

/** Work to be done in a transaction; the scope is undefined where the propagation says that there is none. */
export type Work<Connection extends TransactionConnection, T> = (scope: Scope<Connection> | undefined) => Promise<T>

/** Work that goes on by itself on a datastore. */
interface OwnWork {
  /** Runs a part of it. */
  run<T>(fn: () => T): T
  /** Call it at the end of the work. */
  ended(): void
}

/** The transactions of one datastore. */
export class Transactions<Connection extends TransactionConnection> {
  readonly defaults: TransactionDefaults
  readonly telemetry: Telemetry
  readonly escapes: Escapes
  readonly #source: ConnectionSource<Connection>
  /** The scope that is the current one; undefined in it where code has stepped out of all. */
  readonly context: AsyncContext<Scope<Connection> | DeferredScope<Connection>> = new AsyncContext()
  /** The outermost scopes that have not ended, and those that may still be begun. */
  /** Set in work that goes on by itself. */
  readonly #ownWork = new AsyncContext<true>(true)
  readonly scopes: OpenScopes<Connection> = new OpenScopes(() => this.#isInside || this.#ownWork.get() === true)

  constructor(
    source: ConnectionSource<Connection>,
    defaults: TransactionDefaults,
    telemetry: Telemetry,
    escapes: Escapes,
  ) {
    this.#source = source
    this.defaults = defaults
    this.telemetry = telemetry
    this.escapes = escapes
  }

  /** The innermost scope around this code, ended or not; undefined outside of any. */
  get current(): Scope<Connection> | undefined {
    const here = this.context.get()
    return here instanceof DeferredScope ? (here.begun ?? here.scope()) : here
  }

  /** The transactions around this code that have not ended, innermost first, also where it has stepped out of them. */
  around(): Holder[] {
    return openAround().filter(({ source }) => source === this.#source)
  }

  /**
   * A new outermost scope; the caller ends it.
   *
   * @param failed - the attempt before this one, which has the same deadline
   * @param host - knows what it is for, where the options do not say
   */
  begin(options: TransactionOptions = {}, failed?: Scope<Connection>, host?: Labelled): Scope<Connection> {
    if (this.scopes.isClosing) this.scopes.assertAdmits()
    const scope: Scope<Connection> = new Whole(this.#source, this.#settings(options, failed, host))
    this.scopes.add(scope)
    if (channels.open.hasSubscribers) this.telemetry.opened(scope.session)
    return scope
  }

  #settings(
    options: TransactionOptions,
    failed: Scope<Connection> | undefined,
    host: Labelled | undefined,
  ): ScopeOptions {
    assertPossible(options)
    const { isolationLevel = this.defaults.isolationLevel, readOnly = false, begin = this.defaults.begin } = options
    const { deadlineMs = this.defaults.deadlineMs, maxWaitMs = this.defaults.maxWaitMs } = options
    const { autoflush = this.defaults.autoflush, label = host } = options
    const aroundOfAny = AsyncContext.everything().flatMap(sessionIn)
    return {
      isolationLevel,
      readOnly,
      beginsWithWrite: this.#source.hasLone && begin === 'first-write' && isolationLevel === undefined && !readOnly,
      deadline: failed?.session.life.deadline ?? deadlineMs,
      maxWaitMs,
      label,
      around: aroundOfAny.filter(({ source }) => source === this.#source),
      aroundOfAny,
      escapes: this.escapes,
      autoflush,
      attempt: (failed?.session.options.attempt ?? 0) + 1,
      telemetry: this.telemetry,
    }
  }

  /** Commits an outermost scope that the caller has begun. */
  commit(scope: Scope<Connection>): Promise<void> {
    // A request that is answered inside a nested part of its transaction is to wait for that part, which goes on.
    const here = this.context.get()
    const current = here instanceof DeferredScope ? here.begun : here
    const isInPart = current !== undefined && current !== scope && current.session === scope.session
    if (isInPart) dependOnParts(scope, current)
    return scope.commit(isInPart)
  }

  /** Runs work as the propagation asks, and ends what it has begun for it. */
  async run<T>(given: Work<Connection, T>, options: TransactionOptions = {}): Promise<T> {
    checkOptions('begin a transaction', options, transactionOptionTypes)
    assertPossible(options)
    // Prisma's promises do nothing before they are awaited: that has to be where the scope is the current one.
    const work: Work<Connection, T> = async (scope) => await given(scope)
    const { propagation = 'required' } = options
    // These need none around them: one that begins at its first use is not to begin for them.
    if (propagation === 'notSupported') return await this.context.run(undefined, () => work(undefined))
    if (propagation === 'requiresNew') {
      const here = this.context.get()
      this.#assertSecondPossible(here instanceof DeferredScope ? here.begun : here, options)
      return await this.#runOutermost(work, options)
    }
    return await this.#runWith(this.current, propagation, work, options)
  }

  #runWith<T>(
    current: Scope<Connection> | undefined,
    propagation: Exclude<Propagation, 'requiresNew' | 'notSupported'>,
    work: Work<Connection, T>,
    options: TransactionOptions,
  ): Promise<T> {
    const begin = (): Promise<T> =>
      attendance.hasBegun ? this.#runAttended(work, options) : this.#runOutermost(work, options)
    switch (propagation) {
      case 'required':
        return current === undefined ? begin() : join(current, work, options)
      case 'nested':
        return current === undefined ? begin() : this.#runNested(current, work, options)
      case 'mandatory':
        if (current === undefined) throw new NoTransactionError(missing('mandatory'))
        return join(current, work, options)
      case 'supports':
        return current === undefined ? this.context.run(undefined, () => work(undefined)) : join(current, work, options)
      case 'never':
        assertOutside(current)
        return this.context.run(undefined, () => work(undefined))
    }
  }

  /** Runs work in a part of a scope, wherever it is called: of the current one it is what `nested` is. */
  async inPart(scope: Scope<Connection>, work: (part: Scope<Connection>) => Promise<void>): Promise<void> {
    await this.context.run(scope, () => this.#runNested(scope, async (part) => await work(part ?? scope), {}))
  }

  /** Whether work may be run again after an attempt that failed; waits before it says yes, if the deadline allows that. */
  async mayRunAgain(scope: Scope<Connection>, error: unknown, { retries = 0 }: TransactionOptions): Promise<boolean> {
    const { session } = scope
    if (session.options.attempt > retries || this.scopes.isClosing || !this.#source.mayPass(error)) return false
    const waitMs = backOffMs(session.options.attempt)
    if (waitMs >= session.life.deadline.leftMs) return false
    await delay(waitMs)
    if (this.scopes.isClosing) return false
    this.telemetry.retried(session, error)
    return true
  }

  /**
   * Begins work that goes on by itself, such as that of a projection runner. When the datastore is closed it is stopped first, and may begin
   * transactions until it has ended.
   *
   * @throws `DatastoreClosedError`
   */
  beginWork(stop: () => Promise<void>): OwnWork {
    const run = <T>(fn: () => T): T => this.#ownWork.run(true, fn)
    return { run, ended: this.scopes.addWork(() => run(stop)) }
  }

  /**
   * Refuses new transactions, waits for the open ones, and rolls back what is open at the limit.
   *
   * @returns how many were rolled back
   * @throws `ProgrammingError` inside of one, which would wait for itself
   */
  async close(options?: CloseOptions): Promise<number> {
    if (this.#isInside) {
      throw new ProgrammingError(
        'Could not close the datastore inside of a transaction on it, which would wait for itself: close it after the transaction has ended.',
      )
    }
    return await this.scopes.close(options)
  }

  get #isInside(): boolean {
    for (const here of this.context.all()) if (here instanceof DeferredScope && here.isExpected) return true
    return this.around().length > 0
  }

  #runAttended<T>(work: Work<Connection, T>, options: TransactionOptions): Promise<T> {
    const run = (): Promise<T> => this.#runOutermost(work, options)
    const calls = attendedCalls(this.escapes)
    return calls === undefined ? run() : calls.run(new ClientCall('a transaction', undefined), this.escapes, run)
  }

  async #runOutermost<T>(work: Work<Connection, T>, options: TransactionOptions): Promise<T> {
    for (let scope = this.begin(options); ; scope = this.begin(options, scope)) {
      try {
        return await this.#attempt(scope, work)
      } catch (error) {
        if (!(await this.mayRunAgain(scope, error, options))) throw error
      }
    }
  }

  async #attempt<T>(scope: Scope<Connection>, work: Work<Connection, T>): Promise<T> {
    let result: T
    try {
      result = await untilExpired(scope, () => this.context.run(scope, () => work(scope)))
    } catch (error) {
      await scope.rollback(error)
      throw error
    }
    await scope.commit()
    return result
  }

  /** Opens a part of a scope; the caller ends it. */
  async part(outer: Scope<Connection>, options: TransactionOptions): Promise<Scope<Connection>> {
    assertFits(outer, options)
    return await outer.nested()
  }

  async #runNested<T>(outer: Scope<Connection>, work: Work<Connection, T>, options: TransactionOptions): Promise<T> {
    const scope = await this.part(outer, options)
    if (options.autoflush !== undefined) scope.autoflush = options.autoflush
    let result: T
    try {
      result = await this.context.run(scope, () => work(scope))
    } catch (error) {
      await scope.rollback()
      throw error
    }
    await scope.commit()
    return result
  }

  #assertSecondPossible(current: Scope<Connection> | undefined, options: TransactionOptions): void {
    if (current === undefined || current.session.life.isOver) return
    if (!this.#source.singleWriter || options.readOnly === true || current.session.options.readOnly) return
    throw new NotSupportedError(
      'Could not open a second transaction inside the current one (propagation "requiresNew"): this database has one writer, ' +
        'so it would wait for the current transaction for ever. Use "nested", or begin it after the current one has ended.',
    )
  }
}

/** The transactions of all datastores around this code that have not ended, also where it has stepped out of them. */
export function openAround(): Holder[] {
  return AsyncContext.everything().flatMap(sessionIn)
}

/** The session of what an async context has in it, where that is a transaction that has not ended. */
const sessionIn = (value: unknown): Holder | [] => {
  const scope: unknown = value instanceof DeferredScope ? value.begun : value
  return scope instanceof Scope && !scope.session.life.isOver ? scope.session : []
}

/** What was answered inside of parts that are open tells of what they do: when one of them is undone, so is the whole. */
function dependOnParts<C extends TransactionConnection>(whole: Scope<C>, innermost: Scope<C>): void {
  for (let part = innermost; part !== whole && part.parent !== undefined; part = part.parent) {
    if (part.ended) continue
    part.onEnded.push(() => {
      if (part.state === 'rolledBack') whole.failure.force(undoneAfterAnswer)
    })
  }
}

const undoneAfterAnswer =
  'its commit was asked for inside a nested part ($transaction, or propagation "nested"), which was undone afterwards. ' +
  'Send the response after the part.'

function join<C extends TransactionConnection, T>(
  scope: Scope<C>,
  work: Work<C, T>,
  options: TransactionOptions,
): Promise<T> {
  scope.assertUsable()
  assertFits(scope, options)
  return work(scope)
}

function assertFits<C extends TransactionConnection>(scope: Scope<C>, options: TransactionOptions): void {
  const { isolationLevel, readOnly } = scope.session.options
  if (readOnly && options.readOnly === false) {
    throw new ProgrammingError(
      'Could not join the current transaction: it is read-only, and a writing one was asked for.',
    )
  }
  if (options.isolationLevel !== undefined && options.isolationLevel !== isolationLevel) {
    throw new ProgrammingError(
      `Could not join the current transaction: isolation level ${options.isolationLevel} was asked for, and it runs with ` +
        `${isolationLevel ?? "the database's default"}. Set the level where the transaction begins.`,
    )
  }
}

/** Rejects as soon as the deadline has passed and the rollback is done, however long the work goes on. */
function untilExpired<C extends TransactionConnection, T>(scope: Scope<C>, work: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    scope.onExpired.push(reject)
    work().then(resolve, reject)
  })
}

function assertOutside<C extends TransactionConnection>(current: Scope<C> | undefined): void {
  if (current === undefined) return
  current.assertUsable()
  throw new ProgrammingError(present('never'))
}

function missing(propagation: Propagation): string {
  return `A transaction is needed here (propagation "${propagation}") and none is open. Call this inside datastore.transaction(), or in a route that has one.`
}

function present(propagation: Propagation): string {
  return `A transaction is open here, and propagation "${propagation}" forbids one.`
}
