/** The operations of guests that belong to a scope, such as the calls on a PrismaClient. */
import { type EventSourcingError, isEventSourcingError } from '../errors.js'
import { AsyncContext } from './context.js'

/** What was called, for messages: made into text only when there is one. */
export interface Call {
  toString(): string
}

/** One operation, from when it is made to its end. */
export interface Operation {
  readonly all: Operations
  readonly call: Call
  /** Whether all that the guest sends for it reads, and locks nothing. */
  readonly isRead: boolean
  /** Guests are lazy: what is made does nothing before it is awaited. */
  isStarted: boolean
  /** The one of the same scope that it runs inside of. */
  outer: Operation | undefined
  /** Whether something that it has sent may have written. */
  hasWritten: boolean
  /** An error of ours, which the guest may hide in one of its own. */
  failure?: EventSourcingError
}

/** The operation that the code runs in. */
const currentOperation = new AsyncContext<Operation>()

/**
 * Whether the code runs in an operation of some scope, or seems to: Prisma sends what is asked for in one tick in the
 * context of the first that asked.
 */
export function seemsInsideOperation(): boolean {
  return currentOperation.get() !== undefined
}

/** The operation that the code runs in has written something. */
export function noteWrite(): void {
  const operation = currentOperation.get()
  if (operation !== undefined) operation.hasWritten = true
}

/** Those of one scope. */
export class Operations {
  readonly #areWatched: boolean
  /** Made and not ended, where they are watched. */
  readonly #unfinished = new Set<Operation>()
  readonly #running = new Set<Operation>()
  /** How many of those may write. */
  #runningWrites = 0
  #onIdle: () => void = nothing

  /** @param areWatched - whether those are remembered that have not ended */
  constructor(areWatched: boolean) {
    this.#areWatched = areWatched
  }

  /** The one that the code runs in. */
  get around(): Operation | undefined {
    const operation = currentOperation.get()
    return operation?.all === this ? operation : undefined
  }

  /** Whether something runs, and all of it reads. Which operation a statement belongs to is not known. */
  get areReading(): boolean {
    return this.#running.size > 0 && this.#runningWrites === 0
  }

  /** What was made and never awaited. */
  get neverStarted(): Call[] {
    return this.#calls(false)
  }

  /** What was started and has not ended. */
  get started(): Call[] {
    return this.#calls(true)
  }

  /** Makes one: nothing is done before it is started. */
  make(call: Call, isRead: boolean): Operation {
    const operation: Operation = { all: this, call, isRead, isStarted: false, hasWritten: false, outer: undefined }
    if (this.#areWatched) this.#unfinished.add(operation)
    return operation
  }

  /** Somebody starts it. */
  start(operation: Operation): void {
    operation.isStarted = true
  }

  /** It has ended, or something else is done in its place. */
  forget(operation: Operation): void {
    this.#unfinished.delete(operation)
  }

  /** Runs one. When it fails after an error of ours, it rejects with that. */
  async run<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    operation.outer = this.around
    this.#running.add(operation)
    if (!operation.isRead) this.#runningWrites += 1
    try {
      return await currentOperation.run(operation, work)
    } catch (error) {
      throw operation.failure ?? error
    } finally {
      this.#running.delete(operation)
      if (!operation.isRead) this.#runningWrites -= 1
      if (this.#running.size === 0) this.#onIdle()
    }
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

  #calls(areStarted: boolean): Call[] {
    if (this.#unfinished.size === 0) return []
    return [...this.#unfinished].filter(({ isStarted }) => isStarted === areStarted).map(({ call }) => call)
  }
}

function nothing(): void {}
