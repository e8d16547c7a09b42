/** What is to happen where another writer was first. */

/** What a command asks for beside what it does. */
export interface ConflictOptions {
  /**
   * What to do where another writer was first: `fail` (default) throws a `ConcurrencyError`; `redecide` decides again, on the newer
   * events. For commands that commute, such as one more vote.
   */
  readonly onConflict?: 'fail' | 'redecide'
}

/** What `execute` asks for beside the command. */
export interface ExecuteOptions extends ConflictOptions {
  /** Whether an originator that an event has ended begins anew; default false, an `AggregateEndedError`. */
  readonly newLife?: boolean
}

/** Divides what was given to a command into its arguments and the options after them. */
export function withoutOptions(given: readonly unknown[]): [args: readonly unknown[], options: ExecuteOptions] {
  const last = given.at(-1)
  return isExecuteOptions(last) ? [given.slice(0, -1), last] : [given, {}]
}

function isExecuteOptions(value: unknown): value is ExecuteOptions {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value)
  if (keys.length === 0 || !keys.every((key) => key === 'onConflict' || key === 'newLife')) return false
  const { onConflict = 'fail', newLife = false }: { onConflict?: unknown; newLife?: unknown } = value
  return (onConflict === 'fail' || onConflict === 'redecide') && typeof newLife === 'boolean'
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
