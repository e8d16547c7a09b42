/** What happens when a statement passes by the transaction that is open around it. */
import { ProgrammingError } from '../errors.js'

/** `throw`: the statement is refused; `warn`: it runs outside of the transaction, with a process warning; `off`: it just runs. */
export type OnEscape = 'warn' | 'throw' | 'off'

/** `throw` in tests, where it is found; `warn` elsewhere, where it must not break what worked. */
export function defaultOnEscape(): OnEscape {
  const { VITEST, JEST_WORKER_ID, NODE_TEST_CONTEXT, NODE_ENV } = process.env
  return (VITEST ?? JEST_WORKER_ID ?? NODE_TEST_CONTEXT) !== undefined || NODE_ENV === 'test' ? 'throw' : 'warn'
}

/**
 * Reports a statement of a client that does not join the transaction around it.
 *
 * @param wouldWait - true when the statement waits for that transaction to end, and that one for the statement
 */
export function reportEscape(onEscape: OnEscape, sql: string, wouldWait: boolean): void {
  const shown = sql.length > 120 ? `${sql.slice(0, 117)}...` : sql
  const message =
    'A statement was sent by a PrismaClient that does not join the open transaction, so it would neither see its work nor ' +
    `be undone with it: ${shown} — use datastore.client (or tx.client) instead of the client that you made.`
  if (wouldWait)
    throw new ProgrammingError(
      `${message} It would also wait for that transaction for ever: this database has one writer.`,
    )
  if (onEscape === 'throw') throw new ProgrammingError(message)
  if (onEscape === 'warn') process.emitWarning(message, { code: 'ES_ESCAPE' })
}
