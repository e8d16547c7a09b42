/** Databases that break a promise, and models with a rule that is wrong: the properties have to tell them from right ones. */
import type { SqlDriverAdapter, SqlDriverAdapterFactory, SqlQuery } from '../../src/prisma/driver.js'
import type { TestDatabaseKind } from '../support/databases.js'
import { type ModelDatabase, type ModelEvent, ModelScope } from './model.js'

/** Gives the statement that is sent instead of another. */
export type Rewrite = (sql: string) => string

/** Faults of a database, by what is wrong with it. */
export const faults: Readonly<Record<string, Rewrite>> = {
  'commits where it should roll back': (sql) => (sql === 'ROLLBACK' ? 'COMMIT' : sql),
  'rolls back where it should commit': (sql) => (sql === 'COMMIT' ? 'ROLLBACK' : sql),
  'does not go back to a savepoint': (sql) => sql.replace(/^ROLLBACK TO /, 'SAVEPOINT '),
}

/** The same kind of database with a fault. */
export function withFault(kind: TestDatabaseKind, rewrite: Rewrite): TestDatabaseKind {
  return {
    ...kind,
    async createDatabase() {
      const database = await kind.createDatabase()
      return { ...database, adapter: () => faultyFactory(database.adapter(), rewrite) }
    },
  }
}

function faultyFactory(factory: SqlDriverAdapterFactory, rewrite: Rewrite): SqlDriverAdapterFactory {
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => faulty(await factory.connect(), rewrite),
  }
}

/** For databases whose transactions are statements on the adapter itself. */
function faulty(adapter: SqlDriverAdapter, rewrite: Rewrite): SqlDriverAdapter {
  return {
    provider: adapter.provider,
    adapterName: adapter.adapterName,
    queryRaw: (query) => adapter.queryRaw(query),
    executeRaw: (query: SqlQuery) => adapter.executeRaw({ ...query, sql: rewrite(query.sql) }),
    executeScript: (script) => adapter.executeScript(script),
    startTransaction: (isolationLevel) => adapter.startTransaction(isolationLevel),
    dispose: () => adapter.dispose(),
  }
}

class KeepsFailedParts extends ModelScope {
  readonly #around: ModelScope | undefined

  constructor(database: ModelDatabase, parent: ModelScope | undefined, autoflush: boolean) {
    super(database, parent, autoflush)
    this.#around = parent
  }

  override rollback(): void {
    super.rollback()
    this.#around?.adopt(this)
  }
}

class ReadsTheLogWithoutPendingEvents extends ModelScope {
  override readLog(table: string): readonly ModelEvent[] {
    const { autoflush } = this
    this.autoflush = false
    try {
      return super.readLog(table)
    } finally {
      this.autoflush = autoflush
    }
  }
}

class InsertsAtTheEnd extends ModelScope {
  override insert(events: readonly ModelEvent[]): void {
    this.save(events)
  }
}

class RunsHooksBackwards extends ModelScope {
  override commit(): void {
    super.commit()
    this.due = this.due.toReversed()
  }
}

/** Models, by what is wrong with them. */
export const wrongModels: Readonly<Record<string, typeof ModelScope>> = {
  'keeps what a failed part has done': KeepsFailedParts,
  'reads the log without the events that are pending': ReadsTheLogWithoutPendingEvents,
  'inserts at the end what is to be inserted at once': InsertsAtTheEnd,
  'runs hooks from the last to the first': RunsHooksBackwards,
}
