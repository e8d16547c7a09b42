/** The idempotency keys that transactions of this process have: told without asking the database. */
import type { IdempotencyKey } from '../persistence/idempotency-store.js'

/** For each database, by an object of it that lives as long: the keys that are in use. */
const running = new WeakMap<object, Set<string>>()

/**
 * Takes a key.
 *
 * @param database - keys of several never meet
 * @returns gives it back; undefined where it is in use
 */
export function takeKey(database: object, table: string, { scope, key }: IdempotencyKey): (() => void) | undefined {
  const keys = running.get(database) ?? new Set()
  running.set(database, keys)
  const name = JSON.stringify([table, scope, key])
  if (keys.has(name)) return undefined
  keys.add(name)
  return () => keys.delete(name)
}
