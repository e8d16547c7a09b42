/** LAST_INSERT_ID as the way in which a statement of MariaDB tells what it has done. */
import type { StatementRunner } from '../connections.js'
import { statement } from '../driver.js'
import { toBigInt } from './event-rows.js'

/** Runs a statement that sets LAST_INSERT_ID. @returns what it set, undefined when it met no row */
export async function setInsertId(runner: StatementRunner, sql: string, args: unknown[]): Promise<bigint | undefined> {
  if (runner.givesInsertIds) {
    const { lastInsertId } = await runner.query(statement(sql, args))
    return lastInsertId === undefined || lastInsertId === '0' ? undefined : BigInt(lastInsertId)
  }
  const changed = await runner.execute(statement(sql, args))
  if (changed === 0) return undefined
  const { rows } = await runner.query(statement('SELECT LAST_INSERT_ID()'))
  return toBigInt(rows[0]?.[0])
}
