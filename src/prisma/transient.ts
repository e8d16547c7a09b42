/** Which failures may pass: also those that a call of Prisma met, which are Prisma's own errors. */
import { isEventSourcingError } from '../errors.js'
import { isTransient as isOwnTransient } from '../transaction/options.js'
import type { Dialect } from './dialect.js'
import { dialectNamed } from './dialects/by-provider.js'
import { readDriverError } from './driver-error.js'
import { translateError } from './translate-error.js'

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
