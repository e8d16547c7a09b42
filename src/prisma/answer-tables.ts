/** Which tables of a datastore keep answers to requests, so that those with data of a person go when the person is forgotten. */
import type { IdempotencyKeysTable } from './dialect.js'
import type { Engine } from './engine.js'

const tables = new WeakMap<Engine, Map<string, IdempotencyKeysTable>>()

/** Lets a table be known from now on. */
export function addAnswerTable(engine: Engine, name: string, table: IdempotencyKeysTable): void {
  const known = tables.get(engine) ?? new Map<string, IdempotencyKeysTable>()
  tables.set(engine, known.set(name, table))
}

/** Those of all stores that this process has made on the datastore. */
export function answerTablesOf(engine: Engine): Iterable<IdempotencyKeysTable> {
  return tables.get(engine)?.values() ?? []
}
