/** What all recorders do with their tables: make them, and run statements over them. */
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection, StatementRunner } from './connections.js'
import { statement } from './driver.js'
import type { Engine } from './engine.js'
import { translateError } from './translate-error.js'

/**
 * Makes a recorder's tables, harmless where they exist.
 *
 * Outside of the current transaction, since a table must not vanish with a request that fails; unless that would wait for it.
 */
export async function createTables(engine: Engine, statements: readonly string[]): Promise<void> {
  const { dialect, currentScope } = engine
  const scope = dialect.singleWriter && currentScope?.session.begun === true ? currentScope : undefined
  const runner = engine.runner()
  try {
    for (const sql of dialect.creationScripts(statements)) {
      await (scope === undefined ? runner.execute(statement(sql)) : scope.execute((own) => own.execute(statement(sql))))
    }
  } catch (error) {
    throw translateError(dialect, error, 'create the table')
  }
}

/**
 * Runs what only reads in a transaction, or outside of any.
 *
 * @param attempted - as in `runIn`
 */
export async function readIn<T>(
  engine: Engine,
  scope: Scope<DriverConnection> | undefined,
  attempted: string,
  work: (runner: StatementRunner) => Promise<T>,
): Promise<T> {
  try {
    return await (scope === undefined ? work(engine.runner()) : scope.execute(work, work))
  } catch (error) {
    throw translateError(engine.dialect, error, attempted)
  }
}

/**
 * Runs a statement in a transaction, or outside of any.
 *
 * @param attempted - what is to be done, as the message of a failure says it
 */
export async function runIn<T>(
  engine: Engine,
  scope: Scope<DriverConnection> | undefined,
  attempted: string,
  work: (runner: StatementRunner) => Promise<T>,
): Promise<T> {
  try {
    return await (scope === undefined ? work(engine.runner()) : scope.execute(work))
  } catch (error) {
    throw translateError(engine.dialect, error, attempted)
  }
}
