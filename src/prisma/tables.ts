/** What all recorders do with their tables: make them, and run statements over them. */
import type { StatementRunner } from './connections.js'
import { statement } from './driver.js'
import type { Engine } from './engine.js'
import { translateError, translateLoneWriteError } from './translate-error.js'

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
 * How statements run. Inside of the current transaction, if there is one; else
 *
 * - `read`: by themselves. In a transaction that has not begun they may be sent by themselves, too.
 * - `write`: by themselves; when the connection is lost then, the error is `CommitUnknownError`.
 * - `repeatable`: by themselves; who does not know whether they are stored sends them again.
 * - `together`: in a transaction of their own.
 * - `outside`: by themselves in any case.
 */
export type StatementPlace = 'read' | 'write' | 'repeatable' | 'together' | 'outside'

/**
 * Runs statements over tables, and makes of what a driver throws the error that callers see.
 *
 * @param attempted - what is to be done, as the message of a failure says it
 */
export async function runIn<T>(
  engine: Engine,
  place: StatementPlace,
  attempted: string,
  work: (runner: StatementRunner) => Promise<T>,
): Promise<T> {
  const scope = place === 'outside' ? undefined : engine.currentScope
  const runner = engine.runner()
  try {
    if (scope !== undefined) return await scope.execute(work, place === 'read' ? work : undefined)
    return await (place === 'together' && !runner.inTransaction ? engine.atOnce(work) : work(runner))
  } catch (error) {
    const isAlone = scope === undefined && place === 'write' && !runner.inTransaction
    throw (isAlone ? translateLoneWriteError : translateError)(engine.dialect, error, attempted)
  }
}
