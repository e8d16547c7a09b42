/** The transactions of a datastore that are open, or will begin when they are first asked for, and the end of them all. */
import { setTimeout as delay } from 'node:timers/promises'
import { abortSignal, milliseconds, type OptionTypesOf } from '../checked-options.js'
import { DatastoreClosedError, ProgrammingError } from '../errors.js'
import type { TransactionConnection } from './connection.js'
import { settlesWithin } from './locks.js'
import type { Scope } from './scope.js'

/** Stands where a scope would stand. One for each request, so it keeps functions to none: who extends it says how to begin. */
export abstract class DeferredScope<Connection extends TransactionConnection> {
  /** The scope, where it has been asked for. Read often, so it is a field: only this class writes it. */
  begun: Scope<Connection> | undefined
  #isBeginning = false
  #hasBegun = false

  /** Called at the first use. */
  protected abstract begin(): Scope<Connection>

  /** Called right after that, when the scope can be had. */
  protected abstract hasBegun(scope: Scope<Connection>): void

  /** Whether nothing can ask for it any more. */
  protected abstract readonly isPast: boolean

  /** Whether it may still be begun: whoever waits for the end of all transactions waits for it. */
  get isExpected(): boolean {
    return !this.#hasBegun && !this.isPast
  }

  /** The scope, begun now if need be; undefined for what runs while it begins, such as who listens to that. */
  scope(): Scope<Connection> | undefined {
    if (this.begun !== undefined || this.#isBeginning) return this.begun
    this.#isBeginning = true
    try {
      this.begun = this.begin()
      this.hasBegun(this.begun)
    } finally {
      this.#isBeginning = false
      this.#hasBegun = true
    }
    return this.begun
  }
}

/** How long to wait when a datastore is closed. */
export interface CloseOptions {
  /**
   * Milliseconds that open transactions get to end by themselves, with their hooks; default 10,000. Those that are open then
   * are rolled back. 0 is no time at all, `Infinity` no limit.
   */
  readonly timeoutMs?: number
  /** Ends the time before that. */
  readonly signal?: AbortSignal
}

/** What the options of a close are. */
export const closeOptionTypes: OptionTypesOf<CloseOptions> = { timeoutMs: milliseconds, signal: abortSignal }

/** How long open transactions get when nobody says otherwise. */
export const defaultCloseTimeoutMs = 10_000
/** How long those that are stopped, or commit, may take to end before their connections are abandoned. */
const endPatienceMs = 450
/** How long that may take. */
const lastPatienceMs = 150
/** How often those are looked at that are expected. */
const expectedPollMs = 10
// Node's timers fire at once beyond.
const longestTimeoutMs = 2_147_483_647

/** So many that may be begun may be kept that are past. */
const fewestExpected = 4

/** The outermost scopes that have not ended, and those whose hooks are still running. */
export class OpenScopes<Connection extends TransactionConnection> {
  /** In no order. */
  readonly #unsettled: Array<Member<Connection>> = []
  readonly #watchers = new Set<() => void>()
  /** What ends the work that goes on by itself. */
  readonly #work = new Set<() => Promise<void>>()
  /**
   * They are asked now and then whether they are past, so that nobody has to tell: a listener for each request would cost more than
   * this, and Node does not tell of all ends.
   */
  #expected: Array<DeferredScope<Connection>> = []
  #mostExpected = fewestExpected
  /** Whether the end of them all has begun. A field, as each transaction asks; only this class writes it. */
  isClosing = false
  #isStopped = false
  readonly #isInside: () => boolean

  /** @param isInside - whether the code that runs is in an open transaction, or in work of its own, which may need another one to come to its end */
  constructor(isInside: () => boolean) {
    this.#isInside = isInside
  }

  /** Those that have not ended. */
  get all(): ReadonlyArray<Scope<Connection>> {
    return this.#unsettled.flatMap(({ scope }) => (scope.isDone ? [] : scope))
  }

  /** Whether one may still be begun. */
  get isExpecting(): boolean {
    this.#forgetPast()
    return this.#expected.length > 0
  }

  /** @throws `DatastoreClosedError` when no transaction begins any more */
  assertAdmits(): void {
    if (!this.isClosing || (!this.#isStopped && this.#isInside())) return
    throw new DatastoreClosedError(
      'Could not begin a transaction: the datastore is closed, or about to be. Ask another instance of this service.',
    )
  }

  /** Takes in a scope until it has ended and its hooks have run. */
  add(scope: Scope<Connection>): void {
    const member = { scope, place: this.#unsettled.length }
    this.#unsettled.push(member)
    scope.hooks.settled = () => this.#remove(member)
  }

  /** Takes in one that is begun by whatever asks for the current one first. @throws as `assertAdmits` */
  expect(deferred: DeferredScope<Connection>): void {
    if (this.isClosing) this.assertAdmits()
    this.#expected.push(deferred)
    if (this.#expected.length > this.#mostExpected) this.#forgetPast()
  }

  /**
   * Takes in work that goes on by itself.
   *
   * @param stop - is called when they all are to end
   * @returns the function to call at its end
   * @throws as `assertAdmits`
   */
  addWork(stop: () => Promise<void>): () => void {
    if (this.isClosing) this.assertAdmits()
    this.#work.add(stop)
    return () => void this.#work.delete(stop)
  }

  /**
   * Admits no others, waits for those that are here, and rolls back what is open at the limit. When it is called again
   * meanwhile, the limit that comes first counts.
   *
   * @returns how many were rolled back
   * @throws `ProgrammingError` for a limit that no timer can measure
   */
  async close({ timeoutMs = defaultCloseTimeoutMs, signal }: CloseOptions = {}): Promise<number> {
    if (!(timeoutMs >= 0) || (timeoutMs > longestTimeoutMs && timeoutMs !== Infinity)) {
      throw new ProgrammingError(
        `Could not close the datastore with a timeoutMs of ${timeoutMs}: give a number from 0 to 2,147,483,647, or Infinity.`,
      )
    }
    this.isClosing = true
    // What it fails with, it tells by itself.
    for (const stop of this.#work) void stop().catch(() => undefined)
    if (await this.#isSettledWithin(timeoutMs, signal)) return 0
    this.#isStopped = true
    return await this.#stopAll()
  }

  /** Rolls back what can be, and lets go of what does not end soon. Hooks are not waited for. */
  async #stopAll(): Promise<number> {
    const open = this.all
    for (const { onEnded } of open) onEnded.push(() => this.#tell())
    const stopped = open.filter(({ session }) => session.life.stop(stoppedError()))
    const ending = this.#untilEnded(stopped)
    if (await settlesWithin(ending, endPatienceMs)) return stopped.length
    for (const { session } of open) session.abandon()
    await settlesWithin(ending, lastPatienceMs)
    return stopped.length
  }

  async #untilEnded(stopped: ReadonlyArray<Scope<Connection>>): Promise<void> {
    while (this.all.length > 0) await this.#change()
    for (const { session } of stopped) await session.undone
  }

  async #isSettledWithin(timeoutMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const limit = new AbortController()
    const reached = (): void => limit.abort()
    // Unlike that of `AbortSignal.timeout`, this timer keeps the process alive.
    const timer = timeoutMs === Infinity ? undefined : setTimeout(reached, timeoutMs)
    if (signal?.aborted) reached()
    else signal?.addEventListener('abort', reached)
    try {
      while (!this.#isSettled && !limit.signal.aborted) {
        // Nobody tells when one that is expected is past, or when work has ended.
        if (this.#unsettled.length > 0) await this.#change(limit.signal)
        else await delay(expectedPollMs)
      }
      return this.#isSettled
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', reached)
    }
  }

  get #isSettled(): boolean {
    return this.#unsettled.length === 0 && this.#work.size === 0 && !this.isExpecting
  }

  /** Waits until one is removed, or the limit is there. */
  async #change(limit?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const changed = (): void => {
        this.#watchers.delete(changed)
        limit?.removeEventListener('abort', changed)
        resolve()
      }
      this.#watchers.add(changed)
      limit?.addEventListener('abort', changed)
    })
  }

  #remove(member: Member<Connection>): void {
    if (this.#unsettled[member.place] !== member) return
    const last = this.#unsettled.pop()
    if (last !== undefined && last !== member) {
      last.place = member.place
      this.#unsettled[member.place] = last
    }
    if (this.#watchers.size > 0) this.#tell()
  }

  #tell(): void {
    for (const changed of this.#watchers) changed()
  }

  #forgetPast(): void {
    this.#expected = this.#expected.filter(({ isExpected }) => isExpected)
    // So each is asked twice on average, however many there are.
    this.#mostExpected = Math.max(fewestExpected, 2 * this.#expected.length)
  }
}

function stoppedError(): DatastoreClosedError {
  return new DatastoreClosedError(
    'The transaction was rolled back: its datastore was closed, and it had not ended in the time that close() gives.',
  )
}

/**
 * One that is in.
 *
 * Why no `Set` of scopes: a set that is used for long makes its table anew now and then, and V8 lets the old table point to the new
 * one. Once one of them is in the old generation, so are all that come after it, with everything that was in them, until the next
 * full garbage collection: young requests did not die young. A `WeakMap` keeps its values in the same way.
 */
interface Member<Connection extends TransactionConnection> {
  readonly scope: Scope<Connection>
  /** In the list: the last one takes the place of one that leaves. */
  place: number
}
