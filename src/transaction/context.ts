/** Which transaction is the current one: the only place that touches AsyncLocalStorage. */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'

/** One entry per datastore and other context, innermost first; `value` undefined means that work here is outside of any transaction. */
interface Entry {
  readonly key: object
  readonly value: unknown
  readonly outer: Entry | undefined
  /** Whether it stays where code steps out of transactions. */
  readonly isLasting: boolean
}

const storage = new AsyncLocalStorage<Entry | undefined>()
/** The key of the entry that says that code has stepped out of transactions on purpose. */
const steppedOut = {}
const root = new AsyncResource('eventsourcing-prisma')

/** A variable that follows the flow of async calls, one for each datastore, so that two databases never share a transaction. */
export class AsyncContext<T> {
  readonly #isLasting: boolean

  /** @param isLasting - whether its value stays where code steps out of transactions; default false */
  constructor(isLasting: boolean = false) {
    this.#isLasting = isLasting
  }

  /** The value set by the innermost `run` around this code, undefined outside of any. */
  get(): T | undefined {
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) {
      // `run` below is the only writer of entries with this key, and it takes a T.
      if (entry.key === this) return entry.value as T | undefined
    }
    return undefined
  }

  /** Whether a `run` around this code has set it, if only to undefined, or code has stepped out of all transactions. */
  get isSet(): boolean {
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) {
      if (entry.key === this || entry.key === steppedOut) return true
    }
    return false
  }

  /** The values set by all `run`s around this code, innermost first. */
  all(): T[] {
    const values: T[] = []
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) {
      if (entry.key === this && entry.value !== undefined) values.push(entry.value as T) // as in `get`
    }
    return values
  }

  /** The values set by all `run`s of all variables around this code, innermost first. */
  static everything(): unknown[] {
    const values: unknown[] = []
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) values.push(entry.value)
    return values
  }

  /** Runs `fn` with the value set, for it and everything it calls, awaited or not. */
  run<R>(value: T | undefined, fn: () => R): R {
    return storage.run({ key: this, value, outer: storage.getStore(), isLasting: this.#isLasting }, fn)
  }
}

/** Runs `fn` outside of every transaction, as code does that comes after the end of one. What else is set around it stays. */
export function outsideOfTransactions<R>(fn: () => R): R {
  const outer = lasting(storage.getStore())
  return storage.run({ key: steppedOut, value: undefined, outer, isLasting: true }, fn)
}

/**
 * A place in the flow of async calls, to come back to: that where it is made. For adapters of web frameworks: what is called from elsewhere,
 * such as the listeners of a stream, can be run with the transactions and the metadata that are around this code. What else follows the
 * flow of async calls is left as it is.
 *
 * One or two for each request, so it is an object of a class and keeps no function.
 */
export class CapturedContext {
  readonly #entry = storage.getStore()

  /** Runs `fn`, and all that it calls, inside and outside of the transactions as it was there. */
  run<R>(fn: () => R): R {
    return storage.run(this.#entry, fn)
  }
}

/**
 * Everything that follows the flow of async calls where it is made, also what others have set, such as the span of a tracer: for what is
 * done for this code in the flow of another one, by `runInAsyncScope`. `AsyncLocalStorage.snapshot` gives a function, and is much slower
 * to make in Node 20.
 */
export class Flow extends AsyncResource {}

/** Runs `fn` outside of every context, those of others too: for what outlives the request that has called it. */
export function outsideOfEverything<R>(fn: () => R): R {
  return root.runInAsyncScope(fn)
}

function lasting(entry: Entry | undefined): Entry | undefined {
  if (entry === undefined) return undefined
  const outer = lasting(entry.outer)
  return entry.isLasting ? { ...entry, outer } : { ...entry, value: undefined, outer }
}
