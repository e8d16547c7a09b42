/** A statement that passes by the transaction that is open around it. */
import { EscapeError } from '../errors.js'
import { callSite } from '../transaction/escapes.js'
import type { Session } from '../transaction/session.js'
import type { DriverConnection } from './connections.js'

/**
 * Reports a statement of a client that does not join the transaction around it.
 *
 * @param wouldWait - true when the statement waits for that transaction to end, and that one for the statement
 * @throws `EscapeError` where escapes are refused, and for a statement that would wait
 */
export function reportEscape(session: Session<DriverConnection>, sql: string, wouldWait: boolean): void {
  const { options } = session
  const { title } = session.life
  const caller = callSite()
  const shown = `${sql.length > 120 ? `${sql.slice(0, 117)}...` : sql}${caller === undefined ? '' : ` (${caller})`}`
  const message =
    `A statement was sent by a PrismaClient that does not join ${title}, which is open around it, so it would neither see ` +
    `its work nor be undone with it: ${shown} — use datastore.client (or tx.client) instead of the client that you made.`
  options.telemetry.escaped(session, message)
  if (wouldWait) {
    throw new EscapeError(`${message} It would also wait for that transaction for ever: this database has one writer.`)
  }
  options.escapes.report(message)
}
