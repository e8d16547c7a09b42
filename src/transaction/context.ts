/** Which transaction is the current one: the only place that touches AsyncLocalStorage. */
import { AsyncLocalStorage } from 'node:async_hooks'

/** One entry per datastore, innermost first; `value` undefined means that work here is outside of any transaction. */
interface Entry {
  readonly key: object
  readonly value: unknown
  readonly outer: Entry | undefined
}

const storage = new AsyncLocalStorage<Entry | undefined>()

/** A variable that follows the flow of async calls, one for each datastore, so that two databases never share a transaction. */
export class AsyncContext<T> {
  /** The value set by the innermost `run` around this code, undefined outside of any. */
  get(): T | undefined {
    for (let entry = storage.getStore(); entry !== undefined; entry = entry.outer) {
      // `run` below is the only writer of entries with this key, and it takes a T.
      if (entry.key === this) return entry.value as T | undefined
    }
    return undefined
  }

  /** Runs `fn` with the value set, for it and everything it calls, awaited or not. */
  run<R>(value: T | undefined, fn: () => R): R {
    return storage.run({ key: this, value, outer: storage.getStore() }, fn)
  }
}

/** Runs `fn` outside of every transaction, as code does that comes after the end of one. */
export function outsideOfTransactions<R>(fn: () => R): R {
  return storage.run(undefined, fn)
}
