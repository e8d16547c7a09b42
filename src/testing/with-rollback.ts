/** Tests on a real database that leave nothing behind. */
import { engineOf } from '../prisma/engine.js'

/** When a test ends that does not come to an end. */
export interface RollbackOptions {
  /** Rolls back at once, for what the test framework has given up: Vitest and `node:test` pass such a signal to every test. */
  readonly signal?: AbortSignal
  /** Milliseconds until the test is rolled back; default 60,000. */
  readonly deadlineMs?: number
}

/**
 * Runs a test in a transaction of the datastore that is always rolled back.
 *
 * The code under test does not notice: its own transactions begin, commit, roll back, run their hooks and are repeated as
 * they are otherwise, as savepoints of the test's transaction; what it does outside of any is kept until the end of the test.
 * That holds for everything on the datastore, also for requests that reach a server in this process over a socket. Other
 * connections, such as those of another datastore, see nothing of it.
 *
 * What is different: transactions take turns, so that one must not wait for another; one with the propagation `requiresNew`
 * is undone with the one that it was begun in, and on PostgreSQL it cannot begin once a statement has failed in that;
 * `isolationLevel` and `readOnly` have no effect; constraints that a database checks at COMMIT are not checked; numbers from
 * sequences are used up; and on MariaDB and MySQL, statements such as CREATE TABLE end the test's transaction and store what
 * it has done, as a deadlock undoes it: either way everything that comes after is refused.
 *
 * What the test leaves running is refused after its end. Only a request that has not opened its transaction by then, or has
 * none, cannot be told from any other: await every request. Subscriptions read what the test stores. Begin them in the test,
 * since on SQLite and MariaDB the same ids are given again afterwards; begin servers outside, since what belongs to a test is
 * refused after it.
 *
 * @param datastore - a `PrismaDatastore` that runs no other test at the same time
 * @returns what `test` gives
 * @throws what `test` throws; `ProgrammingError` when another test runs on the datastore, or inside of a transaction;
 *   `TransactionTimeoutError` at the deadline; the reason of the signal; `InterfaceError` where somebody else manages the
 *   transactions
 *
 * @example
 * it('registers a dog', ({ signal }) =>
 *   withRollback(datastore, async () => {
 *     await school.register('Fido')
 *     expect(await db.owner.count()).toBe(1)
 *   }, { signal }))
 */
export async function withRollback<T>(
  datastore: object,
  test: () => Promise<T>,
  { signal, deadlineMs = 60_000 }: RollbackOptions = {},
): Promise<T> {
  return await engineOf(datastore).rehearse(test, { signal, deadlineMs })
}
