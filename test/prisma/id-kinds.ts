/** Ids of originators, by the type of the column that has them. */
import { NAMESPACE_URL, uuid5 } from '../../src/index.js'
import { databasesOf, type TestDatabaseKind } from '../support/databases.js'

/** Makes an id of a number. */
export const idKinds = {
  uuid: (n: number): string => uuid5(NAMESPACE_URL, `/${n}`),
  text: (n: number): string => `order-${n}`,
} as const

/** Those that the contracts run with: for SQLite both are text, so its drivers share them. */
export function idKindsOn(kind: TestDatabaseKind): ReadonlyArray<keyof typeof idKinds> {
  const drivers = databasesOf(kind.provider)
  return drivers.length > 1 ? [kind === drivers[0] ? 'uuid' : 'text'] : ['uuid', 'text']
}
