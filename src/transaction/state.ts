/** The states of a unit of work, and the error for its use after the end. */
import { TransactionClosedError } from '../errors.js'

/** Where a unit of work is: `idle` until its first statement; the last two are final. */
export type TransactionState = 'idle' | 'open' | 'committing' | 'committed' | 'rolledBack'

/**
 * @param what - a clause that says what was attempted: "owner.create was called"
 * @param title - which transaction: "the transaction"
 */
export function closedError(what: string, title: string): TransactionClosedError {
  return new TransactionClosedError(
    `${what} after ${title} had ended. Await every database call before the transaction, or the response of its request, ends. ` +
      'What is to go on after that is given to tx.afterCommit(), or runs in datastore.transaction() with propagation "requiresNew". ' +
      'A middleware that writes when the response has been sent, such as a session or an access log, comes before that of the transactions.',
  )
}
