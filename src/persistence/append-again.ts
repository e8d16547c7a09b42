/** Appends whose events are made anew where another writer was first. */
import { AppendConditionError, ConcurrencyError } from '../errors.js'
import type { Append } from './recorder.js'

/** Each time somebody else has stored something, so this is reached by who is much slower than all others. */
const mostAttempts = 50

/**
 * Stores appends together; where another writer was first on one of their streams, those of that stream are made anew.
 *
 * @param store - stores them all, or nothing; an append is a function where it is to be made anew, when it is its turn
 * @throws what `store` throws, where that is no conflict on a stream whose events can be made anew
 */
export async function storeAgain(
  appends: readonly Append[],
  store: (appends: ReadonlyArray<Append | (() => Promise<Append>)>) => Promise<void>,
): Promise<void> {
  let next: ReadonlyArray<Append | (() => Promise<Append>)> = appends
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await store(next)
    } catch (error) {
      const anew = attempt < mostAttempts ? madeAnew(appends, error) : undefined
      if (anew === undefined) throw error
      const made = new Set(anew)
      next = appends.map((append) => (made.has(append) ? (append.options.again ?? append) : append))
    }
  }
}

/** Those on the stream of a conflict, if all of them can be made anew. */
function madeAnew(appends: readonly Append[], error: unknown): readonly Append[] | undefined {
  if (!(error instanceof ConcurrencyError) || error instanceof AppendConditionError) return undefined
  const own = appends.filter(({ events }) => events.some(({ originatorId }) => originatorId === error.originatorId))
  return own.length > 0 && own.every(({ options }) => options.again !== undefined) ? own : undefined
}
