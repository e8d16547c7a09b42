/** What is to happen where another writer was first. */

/** What a command asks for beside what it does. */
export interface ConflictOptions {
  /**
   * What to do where another writer was first: `fail` (default) throws a `ConcurrencyError`; `redecide` decides again, on the newer
   * events. For commands that commute, such as one more vote.
   */
  readonly onConflict?: 'fail' | 'redecide'
}

/** Divides what was given to a command into its arguments and the options after them. */
export function withoutOptions(given: readonly unknown[]): [args: readonly unknown[], options: ConflictOptions] {
  const last = given.at(-1)
  return isConflictOptions(last) ? [given.slice(0, -1), last] : [given, {}]
}

function isConflictOptions(value: unknown): value is ConflictOptions {
  if (typeof value !== 'object' || value === null || Object.keys(value).join() !== 'onConflict') return false
  const { onConflict } = value as ConflictOptions // it has this member alone
  return onConflict === 'fail' || onConflict === 'redecide'
}

/**
 * Changes an aggregate, and gives it back.
 *
 * @throws `TypeError` for a function that acts later: it could not be called again
 */
export function actedOn<A extends object>(aggregate: A | undefined, change: (aggregate: A) => unknown): A {
  if (aggregate === undefined) throw new TypeError('There is no aggregate to change: it has no events')
  const result = change(aggregate)
  if (!(result instanceof Promise)) return aggregate
  result.catch(() => undefined)
  throw new TypeError(
    'The function given to change() is asynchronous: look things up before, and change the aggregate at once',
  )
}
