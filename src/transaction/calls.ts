/** The calls that belong to a scope from when they are made: those of clients and of applications, and what a commit finds that is not done. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { EscapeError, type EventSourcingError, isEventSourcingError, TransactionClosedError } from '../errors.js'
import { AsyncContext } from './context.js'
import type { Escapes } from './escapes.js'
import type { TransactionState } from './options.js'
import type { Observed, Telemetry } from './telemetry.js'

/** What was called, for messages: made into text only when there is one. */
export interface Call {
  toString(): string
}

/** One operation, from when it is made to its end. */
export interface Operation {
  readonly all: Operations
  readonly call: ClientCall
  /** Whether all that the guest sends for it reads, and locks nothing. */
  readonly isRead: boolean
  /** Guests are lazy: what is made does nothing before it is awaited. */
  isStarted: boolean
  /** The one of the same scope that it runs inside of. */
  outer: Operation | undefined
  /** Whether something that it has sent may have written. */
  hasWritten: boolean
  /** What its statements are sent by while it is carried out without a guest. */
  runner: object | undefined
  /** An error of ours, which the guest may hide in one of its own. */
  failure: EventSourcingError | undefined
}

/** The operation that the code runs in. */
const currentOperation = new AsyncContext<Operation>()

/**
 * Whether the code runs in an operation of some scope that a guest carries out, or seems to: Prisma sends what is asked for in one tick in the
 * context of the first that asked.
 */
export function seemsInsideOperation(): boolean {
  const operation = currentOperation.get()
  return operation !== undefined && operation.runner === undefined
}

/** What the statements of the operation are sent by that the code runs in; undefined where they come by a guest. */
export function currentRunner(): object | undefined {
  return currentOperation.get()?.runner
}

/** Those of one scope. */
export class Operations {
  /** Made and not ended. */
  readonly #unfinished = new Set<Operation>()
  readonly #running = new Set<Operation>()
  /** How many of those may write. */
  #runningWrites = 0
  #onIdle: (() => void) | undefined

  /** The one that the code runs in. */
  get around(): Operation | undefined {
    if (this.#running.size === 0) return undefined
    const operation = currentOperation.get()
    return operation?.all === this ? operation : undefined
  }

  /** Whether something runs, and all of it reads. Which operation a statement belongs to is not known. */
  get areReading(): boolean {
    return this.#running.size > 0 && this.#runningWrites === 0
  }

  /** What was made and never awaited. */
  get neverStarted(): Call[] {
    return [...this.#unfinished].filter(({ isStarted }) => !isStarted).map(({ call }) => call)
  }

  /** What was started and has not ended. */
  get started(): Call[] {
    return [...this.#unfinished].filter(({ isStarted }) => isStarted).map(({ call }) => call)
  }

  /** Makes one: nothing is done before it is started. */
  make(call: ClientCall, isRead: boolean): Operation {
    const operation: Operation = {
      all: this,
      call,
      isRead,
      isStarted: false,
      hasWritten: false,
      outer: undefined,
      runner: undefined,
      failure: undefined,
    }
    this.#unfinished.add(operation)
    return operation
  }

  /** It has ended, or something else is done in its place. */
  forget(operation: Operation): void {
    this.#unfinished.delete(operation)
  }

  /** It is to be carried out now, inside of whatever this code is in. */
  start(operation: Operation): void {
    operation.isStarted = true
    if (this.#running.size > 0) operation.outer = this.around
  }

  /** Carries it out. Call `end` afterwards. */
  inside<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    this.#running.add(operation)
    if (!operation.isRead) this.#runningWrites += 1
    return currentOperation.run(operation, work)
  }

  /**
   * A statement of one of them has written something: of the one that the code runs in, or, where the code seems to run in the operation of
   * another scope, of any that may write.
   */
  noteWrite(): void {
    const [only] = this.#running
    const operation = this.#running.size === 1 ? only : this.around
    if (operation !== undefined) operation.hasWritten = true
    else for (const running of this.#running) if (!running.isRead) running.hasWritten = true
  }

  /** It has ended, whether it was run or not. */
  end(operation: Operation): void {
    // What was made in its context, such as a connection, may go on to send statements.
    operation.runner = undefined
    this.#unfinished.delete(operation)
    if (!this.#running.delete(operation)) return
    if (!operation.isRead) this.#runningWrites -= 1
    if (this.#running.size === 0) this.#onIdle?.()
  }

  /** Resolves once none of them runs. Called by whoever lets no others begin. */
  async idle(): Promise<void> {
    if (this.#running.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
  }

  /** @param isOfGuest - whether what failed was sent by one of them, in whatever context */
  recordFailure(error: unknown, isOfGuest: boolean): void {
    if (!isEventSourcingError(error)) return
    const operation = this.around
    if (operation !== undefined) operation.failure = error
    else if (isOfGuest) for (const running of this.#running) running.failure ??= error
  }
}

/** A call that has failed. */
interface FailedCall {
  readonly call: Call
  readonly error: unknown
}

interface RunningCall {
  readonly call: Call
  /** Whether somebody waits for it. */
  isNoticed: boolean
}

/** The calls of one scope. They take no place in it: what they send does. */
export class Calls {
  /** Those that have not ended. A field, as each commit asks; only this class writes it. */
  readonly running: Set<Call> = new Set()
  readonly #failed: Array<{ readonly running: RunningCall; readonly error: unknown }> = []
  #onIdle: (() => void) | undefined

  /** The first that has failed, and whose failure nobody has seen. */
  get unnoticed(): FailedCall | undefined {
    const failed = this.#failed.find(({ running }) => !running.isNoticed)
    return failed === undefined ? undefined : { call: failed.running.call, error: failed.error }
  }

  /** Runs a call, at once. Nobody has to await it: a commit does. */
  run<T>(call: Call, work: () => Promise<T>): Promise<T> {
    // Before those that it makes itself.
    this.running.add(call)
    const result = work()
    const running = { call, isNoticed: false }
    const end = (): void => {
      this.running.delete(call)
      if (this.running.size === 0) this.#onIdle?.()
    }
    result.then(end, (error: unknown) => {
      this.#failed.push({ running, error })
      end()
    })
    return noticed(result, () => {
      running.isNoticed = true
    })
  }

  /**
   * Waits until none runs, and what goes on after one has ended has made no other.
   *
   * @param signal - gives up waiting
   */
  async quiet(signal: AbortSignal): Promise<void> {
    while (this.running.size > 0 && !signal.aborted) {
      await this.#idle(signal)
      await nextTurn()
    }
  }

  async #idle(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}

/** The same promise, which tells when somebody begins to wait for it: from then on its failure is his. */
function noticed<T>(promise: Promise<T>, onNoticed: () => void): Promise<T> {
  return new Proxy(promise, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof value !== 'function') return value
      onNoticed()
      return value.bind(target)
    },
  })
}

/** Those of work outside of any transaction that is done when they are, such as a handler of a reaction. */
export class AttendedCalls {
  readonly #title: string
  readonly #calls = new Calls()
  /** Operations that do nothing before they are awaited. */
  readonly #made = new Set<Call>()
  /** Of the datastore that was called first. */
  #escapes: Escapes | undefined
  #isOver = false
  #hasToldOfLate = false

  /** @param title - what the work is called in messages */
  constructor(title: string) {
    this.#title = title
  }

  /** An operation was made, which does nothing before it is awaited. */
  make(call: Call, escapes: Escapes): void {
    this.#escapes ??= escapes
    this.#made.add(call)
  }

  /** It is sent now, or something else is done in its place. */
  forget(call: Call): void {
    this.#made.delete(call)
  }

  /** Runs a call, at once. */
  run<T>(call: Call, escapes: Escapes, work: () => Promise<T>): Promise<T> {
    this.#escapes ??= escapes
    return this.#isOver ? this.#late(call, escapes, work) : this.#calls.run(call, work)
  }

  async #late<T>(call: Call, escapes: Escapes, work: () => Promise<T>): Promise<T> {
    const isTold = this.#hasToldOfLate
    this.#hasToldOfLate = true
    // Once: what was made in the work for long, such as a connection, has its context in all of its calls.
    if (isTold) return await work()
    escapes.report(
      `${String(call)} was called after ${this.#title} had ended, and may be lost: await it there. ${whatIsMeant}`,
    )
    return await work()
  }

  /**
   * Waits for the calls that nobody has awaited. @param signal - gives up waiting
   *
   * @throws `EscapeError` for a call that has failed unseen; where escapes are refused, also for one that was not awaited
   */
  async end(signal: AbortSignal): Promise<void> {
    const running = [...this.#calls.running]
    await this.#calls.quiet(signal)
    this.#isOver = true
    const failed = this.#calls.unnoticed
    if (failed !== undefined) throw failedUnseen(this.#title, failed)
    if (running.length > 0) {
      this.#escapes?.report(
        `Work was still running when ${this.#title} had returned: ${named(running).join(', ')}. Await everything there, with ` +
          `Promise.all for what runs side by side. ${whatIsMeant}`,
      )
    }
    if (this.#made.size > 0) {
      this.#escapes?.report(
        `An operation was made in ${this.#title} and not awaited, so it did not run: ${named([...this.#made]).join(', ')}. ` +
          'Await it: Prisma sends nothing before that.',
      )
    }
  }
}

const whatIsMeant = 'What is to go on longer needs a transaction of its own (propagation "requiresNew").'

/** Stays where code steps out of transactions: what it does there is waited for as well. */
const attending = new AsyncContext<AttendedCalls>(true)

/** Whether such work has ever begun in this process: calls outside of transactions need not ask before. */
export const attendance: { hasBegun: boolean } = { hasBegun: false }

/** Those around this code, where the datastore watches calls; undefined outside of such work. */
export function attendedCalls({ areWatched }: Escapes): AttendedCalls | undefined {
  return areWatched ? attending.get() : undefined
}

/**
 * Runs work outside of any transaction that is done when its calls are.
 *
 * @param title - what it is called in messages
 * @throws what the work throws; what `end` of its calls throws
 */
export async function attended(title: string, work: () => Promise<void>): Promise<void> {
  const calls = new AttendedCalls(title)
  attendance.hasBegun = true
  const { signal } = new AbortController()
  try {
    await attending.run(calls, work)
  } catch (error) {
    // What the work throws comes first.
    await calls.end(signal).catch(() => undefined)
    throw error
  }
  await calls.end(signal)
}

/** Any method of what is called. */
export type AnyMethod = (...args: unknown[]) => unknown

/** Names a call, for messages. */
export class ClientCall implements Call {
  readonly name: string
  readonly #by: string
  /** Holds the stack, which is made into text when somebody asks for it. */
  readonly #site: { readonly stack?: string } | undefined

  /**
   * @param name - such as `owner.create`
   * @param method - which was called: what called that is the place of the call; undefined not to remember it
   * @param by - completes the name in messages: " of an extension"
   */
  constructor(name: string, method: AnyMethod | undefined, by: string = '') {
    this.name = name
    this.#by = by
    if (method !== undefined) this.#site = callerOf(method)
  }

  /** The name, with the line of the caller where it is known. */
  toString(): string {
    const caller = this.#site?.stack?.split('\n')[1]?.trim()
    return caller === undefined ? `${this.name}${this.#by}` : `${this.name}${this.#by} (${caller})`
  }
}

/** One frame is all that a message shows, and each one more makes every call slower. */
function callerOf(method: AnyMethod): { readonly stack?: string } {
  const { stackTraceLimit } = Error
  const site = {}
  Error.stackTraceLimit = 1
  Error.captureStackTrace(site, method)
  Error.stackTraceLimit = stackTraceLimit
  return site
}

/** A scope in which calls are watched. */
interface Watching {
  readonly calls: Calls
  readonly isOver: boolean
  readonly state: TransactionState
  readonly session: {
    readonly life: { readonly stopped: Error | undefined }
    readonly options: { readonly escapes: Escapes }
  }
}

/** A call of an application or a recorder. */
interface WatchedCall<T> {
  /** Of the method, such as `school.save`. */
  readonly name: string
  /** The object that the method is of. */
  readonly owner: object
  /** What it gives where the scope has been undone meanwhile; undefined where it rejects then. */
  readonly undone?: (() => T) | undefined
}

/** Runs a call at once, in a scope that has not ended. */
export function watchCall<T>(
  scope: Watching,
  { name, owner, undone }: WatchedCall<T>,
  work: () => Promise<T>,
): Promise<T> {
  const { areLocated } = scope.session.options.escapes
  const call = new ClientCall(name, areLocated ? methodOf(owner, name) : undefined)
  return scope.calls.run(call, undone === undefined ? work : () => unlessUndone(scope, work, undone))
}

/** The same of a call outside of any transaction, where it belongs to work that is to wait for it. */
export function watchOutside<T>(
  escapes: Escapes | undefined,
  { name, owner }: WatchedCall<T>,
  work: () => Promise<T>,
): Promise<T> {
  const calls = escapes === undefined ? undefined : attendedCalls(escapes)
  if (escapes === undefined || calls === undefined) return work()
  return calls.run(new ClientCall(name, escapes.areLocated ? methodOf(owner, name) : undefined), escapes, work)
}

async function unlessUndone<T>(scope: Watching, work: () => Promise<T>, undone: () => T): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // Whoever has ended it from outside, such as the deadline, says so to who waits.
    const isUndone = scope.isOver && scope.state !== 'committed' && scope.session.life.stopped === undefined
    if (isUndone && error instanceof TransactionClosedError) return undone()
    throw error
  }
}

function methodOf(owner: object, name: string): AnyMethod | undefined {
  // Only asked for the name of its caller, never called.
  return Reflect.get(owner, name.slice(name.lastIndexOf('.') + 1)) as AnyMethod | undefined
}

/** A scope that is about to commit. */
interface Ending {
  readonly calls: Calls
  /** Which one, for messages. */
  readonly title: string
  readonly operations: Operations
  readonly session: Observed & {
    readonly life: { readonly endSignal: AbortSignal }
    readonly options: { readonly escapes: Escapes; readonly telemetry: Telemetry }
  }
}

/** How many calls a message names. */
const mostNamed = 5

/**
 * Says what still runs in a scope in which something does.
 *
 * @param hasPart - whether a nested scope is open
 */
export function runningWork({ calls, operations }: Ending, hasPart: boolean): string {
  const names = named([...calls.running, ...operations.started])
  if (hasPart) names.push('a nested transaction')
  return names.length === 0 ? 'a read or write of a recorder' : names.join(', ')
}

/**
 * Waits for the calls that are not awaited, of which some run, and for what goes on after them.
 *
 * @returns what ran
 */
export async function untilQuiet(ending: Ending, hasPart: boolean): Promise<string> {
  const running = runningWork(ending, hasPart)
  await ending.calls.quiet(ending.session.life.endSignal)
  return running
}

/**
 * Reports what was found: of work that runs, what is not started may only be waiting for it.
 *
 * @param running - what still ran when the commit was asked for, undefined for nothing
 * @throws `EscapeError` where escapes are refused, and for a call that has failed unseen: what it was to store is missing
 */
export function reportUnfinished(ending: Ending, running: string | undefined): void {
  const { calls, operations, session } = ending
  const failed = calls.unnoticed
  if (failed !== undefined) throw failedUnseen(ending.title, failed)
  if (running !== undefined) {
    report(
      session,
      `Work was still running in ${ending.title} when it was to commit: ${running}. Await everything before the end, with ` +
        'Promise.all for what runs side by side; what is to go on longer needs a transaction of its own (propagation "requiresNew").',
    )
    return
  }
  const neverStarted = session.options.escapes.areWatched ? operations.neverStarted : []
  if (neverStarted.length === 0) return
  report(
    session,
    `An operation was made in ${ending.title} and not awaited before its commit, so it did not run: ${named(neverStarted).join(', ')}. ` +
      'Await it, or give it to $transaction([…]): Prisma sends nothing before that.',
  )
}

function failedUnseen(title: string, { call, error }: FailedCall): EscapeError {
  return new EscapeError(
    `A call in ${title} has failed, and nobody has awaited it: ${String(call)}. Await every call; why it failed is the cause.`,
    { cause: error },
  )
}

function report(session: Ending['session'], message: string): void {
  const { escapes, telemetry } = session.options
  telemetry.escaped(session, message)
  escapes.report(message)
}

function named(calls: readonly Call[]): string[] {
  const names = calls.slice(0, mostNamed).map((call) => String(call))
  return calls.length > mostNamed ? [...names, `${calls.length - mostNamed} more`] : names
}
