/** What is said to who uses a transaction after its end. */
import { TransactionClosedError } from '../errors.js'

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
