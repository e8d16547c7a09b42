/** Lets the transaction layer begin transactions on a datastore's connections. */
import { isEventSourcingError, OperationalError } from '../errors.js'
import type { ConnectionSource } from '../transaction/connection.js'
import type { Connections, DriverConnection } from './connections.js'
import type { Dialect } from './dialect.js'
import { readDriverError } from './driver-error.js'
import { mayPass } from './transient.js'
import { translateError } from './translate-error.js'

/** Makes the source from the dialect, which judges errors, and the connections, which begin. */
export function connectionSource(dialect: Dialect, connections: Connections): ConnectionSource<DriverConnection> {
  return {
    singleWriter: dialect.singleWriter,
    begin: (options) => connections.begin(options),
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
