/** Lets the transaction layer begin transactions on a datastore's connections, and says which failures may pass: also those that a call of Prisma met. */
import { isEventSourcingError, OperationalError } from '../errors.js'
import type { ConnectionSource } from '../transaction/connection.js'
import { isTransient as isOwnTransient } from '../transaction/options.js'
import type { Connections, DriverConnection } from './connections.js'
import type { Dialect } from './dialect.js'
import { dialectNamed } from './dialects/by-provider.js'
import { readDriverError } from './driver.js'
import { translateError } from './translate-error.js'

/** Makes the source from the dialect, which judges errors, and the connections, which begin. */
export function connectionSource(dialect: Dialect, connections: Connections): ConnectionSource<DriverConnection> {
  return {
    singleWriter: dialect.singleWriter,
    begin: (options) => connections.begin(options),
    hasLone: dialect.readsAloneAt !== undefined,
    get lone() {
      return connections.lone
    },
    damageOf(error) {
      // What counts is what the database said, whatever has been made of it since.
      let cause = error
      while (isEventSourcingError(cause)) cause = cause.cause
      return dialect.damageOf(cause, readDriverError(cause))
    },
    lossOf(error) {
      const facts = readDriverError(error)
      // A conflict has a code of Prisma's.
      if (isEventSourcingError(error) || facts?.kind === 'TransactionWriteConflict') return undefined
      const loss = translateError(dialect, error, 'go on with the transaction, whose connection was lost')
      return loss instanceof OperationalError && loss.retryable ? loss : undefined
    },
    mayPass: (error) => mayPass(error, dialect),
  }
}

/**
 * Tells whether running the same work again in a fresh transaction may succeed: after a conflict with another writer, a serialisation
 * failure, a deadlock, a lock that was not granted in time, a connection that was lost before COMMIT. Errors of Prisma's calls count
 * as well, such as P2034. An error of anything else, such as a lost connection to another service, is none of these.
 *
 * @param error - anything that was caught
 */
export function isTransient(error: unknown): boolean {
  return mayPass(error)
}

/** As `isTransient`, where the database is known. */
export function mayPass(error: unknown, dialect?: Dialect): boolean {
  if (isEventSourcingError(error)) return isOwnTransient(error)
  const facts = readDriverError(error)
  if (facts === undefined && !isOfPrisma(error)) return false
  return isOwnTransient(translateError(dialect ?? dialectNamed(facts?.kind), error, 'run the transaction'))
}

function isOfPrisma(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^P\d{4}$/.test(String(error.code))
}
