/** Tests on a real database that leave nothing behind. */
import { engineOf } from '../prisma/engine.js'

/**
 * Runs a test in a transaction of the datastore that is always rolled back.
 *
 * The code under test does not notice: its own transactions begin, commit, roll back, run their hooks and are repeated as
 * they are otherwise, as savepoints of the test's transaction; what it does outside of any is kept until the end of the test.
 * That holds for everything on the datastore, also for requests that reach a server in this process over a socket. Other
 * connections, such as those of another datastore, see nothing of it.
 *
 * What is different: transactions take turns, so that one must not wait for another; one with the propagation `requiresNew`
 * is undone with the one that it was begun in; `isolationLevel` and `readOnly` have no effect; constraints that a database
 * checks at COMMIT are not checked; numbers from sequences are used up; and on MariaDB and MySQL, statements such as CREATE
 * TABLE end the test's transaction and store what it has done.
 *
 * @param datastore - a `PrismaDatastore` that runs no other test at the same time
 * @returns what `test` gives
 * @throws what `test` throws; `ProgrammingError` when another test runs on the datastore; `InterfaceError` where somebody else
 *   manages the transactions
 *
 * @example
 * it('registers a dog', () =>
 *   withRollback(datastore, async () => {
 *     await school.register('Fido')
 *     expect(await db.owner.count()).toBe(1)
 *   }))
 */
export async function withRollback<T>(datastore: object, test: () => Promise<T>): Promise<T> {
  return await engineOf(datastore).rehearse(test)
}
