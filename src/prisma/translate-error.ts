/** Turns what a driver or Prisma threw into the error ladder, once; with tables of what the codes of a database mean. */
import {
  CommitUnknownError,
  DatabaseError,
  DataError,
  type EventSourcingError,
  IntegrityError,
  InterfaceError,
  InternalError,
  isEventSourcingError,
  NotSupportedError,
  OperationalError,
  ProgrammingError,
} from '../errors.js'
import type { Dialect } from './dialect.js'
import { readDriverError } from './driver.js'
import { missingTable } from './table-names.js'

type Make = (message: string, cause: unknown) => EventSourcingError

const integrity: Make = (message, cause) => new IntegrityError(message, { cause })
const data: Make = (message, cause) => new DataError(message, { cause })
const programming: Make = (message, cause) => new ProgrammingError(message, { cause })
const unsupported: Make = (message, cause) => new NotSupportedError(message, { cause })
const passing: Make = (message, cause) => new OperationalError(message, { cause, retryable: true })
const lasting: Make = (message, cause) => new OperationalError(message, { cause })

/** Prisma's kinds of driver errors that mean the same on every database. */
const byKind: Readonly<Record<string, Make>> = {
  UniqueConstraintViolation: integrity,
  NullConstraintViolation: integrity,
  ForeignKeyConstraintViolation: integrity,
  RestrictViolation: integrity,
  LengthMismatch: data,
  ValueOutOfRange: data,
  InvalidInputValue: data,
  InconsistentColumnData: data,
  TransactionWriteConflict: passing,
  SocketTimeout: passing,
  ConnectionClosed: passing,
  DatabaseNotReachable: passing,
  TooManyConnections: passing,
  TlsConnectionError: lasting,
  DatabaseAccessDenied: lasting,
  AuthenticationFailed: lasting,
  DatabaseDoesNotExist: lasting,
  TableDoesNotExist: programming,
  ColumnNotFound: programming,
  UnsupportedNativeDataType: unsupported,
  InvalidIsolationLevel: unsupported,
}

const adviceByKind: Readonly<Record<string, string>> = {
  DatabaseNotReachable: 'Is the server running, and is the address in the URL right?',
  DatabaseDoesNotExist: 'Create it, or correct the URL.',
}

/**
 * What Prisma's client says by itself, where somebody else's transaction client is used.
 *
 * @see https://www.prisma.io/docs/orm/reference/error-reference
 */
const byPrismaCode: Readonly<Record<string, Make>> = {
  P1000: lasting,
  P1001: passing,
  P1002: passing,
  P1003: lasting,
  P1008: passing,
  P1010: lasting,
  P1017: passing,
  P2024: passing,
  // The transaction has ended, or its time is over: only its owner can begin another.
  P2028: lasting,
  P2034: passing,
  P2037: passing,
}

/**
 * Makes the error that a caller sees.
 *
 * @param attempted - what was to be done, on which id: "append 2 events to stream …"
 */
export function translateError(dialect: Dialect, error: unknown, attempted: string): EventSourcingError {
  if (isEventSourcingError(error)) return error
  const facts = readDriverError(error)
  if (facts === undefined) return undescribed(error, attempted)
  const missing = missingTable(facts)
  if (missing !== undefined) return programming(`Could not ${attempted}: ${missing}.`, error)
  const advice = adviceByKind[facts.kind]
  const message = `Could not ${attempted}: ${facts.message}${advice === undefined ? '' : `. ${advice}`}`
  const known = dialect.translate(facts, message, error) ?? byKind[facts.kind]?.(message, error)
  return known ?? new DatabaseError(message, { cause: error })
}

/**
 * Makes the error for a statement that stores something by itself, outside of any transaction: it has no COMMIT of its
 * own, so it may be stored wherever the connection was lost.
 */
export function translateLoneWriteError(dialect: Dialect, error: unknown, attempted: string): EventSourcingError {
  if (isEventSourcingError(error) || !dialect.mayHaveCommitted(error, readDriverError(error))) {
    return translateError(dialect, error, attempted)
  }
  return new CommitUnknownError(
    `Could not ${attempted} for certain: the connection was lost before the answer, so it may or may not be stored. Look before you repeat it.`,
    { cause: error },
  )
}

/** A lost connection reaches us as a plain error of the driver; anything else without a description is a fault above the database. */
function undescribed(error: unknown, attempted: string): EventSourcingError {
  const message = `Could not ${attempted}: ${error instanceof Error ? error.message : String(error)}`
  if (isConnectionLoss(error) || isPoolTimeout(error)) return passing(message, error)
  const known = byPrismaCode[codeOf(error)]
  if (known !== undefined) return known(message, error)
  return new InterfaceError(message, { cause: error })
}

/**
 * Whether a driver says, in an error of its own, that no answer comes: the connection is gone, or the driver has waited for as long as
 * its options allow (`query_timeout` of node-postgres), while the server goes on.
 */
export function isConnectionLoss(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (
    /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_AGAIN|ENOTFOUND)/.test(codeOf(error)) ||
    /connection (error|terminated|ended|closed|timeout)|socket (has )?(been )?(ended|closed)|not queryable|query read timeout/i.test(
      error.message,
    )
  )
}

/** Whether a driver's pool says that none of its connections became free in time. */
function isPoolTimeout(error: unknown): boolean {
  return error instanceof Error && /timeout exceeded when trying to connect|pool timeout/i.test(error.message)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Which error it becomes; `passing` and `lasting` are operational, the first one `retryable`. */
export type ErrorKind = 'passing' | 'lasting' | 'integrity' | 'data' | 'programming' | 'unsupported' | 'internal'

/** Codes that mean the same. */
export interface ErrorRule {
  /** Whole codes, or the first two characters of a class of codes; a whole code counts before its class. */
  readonly codes: readonly string[]
  readonly kind: ErrorKind
  /** As docs/errors.md says it. */
  readonly meaning: string
}

/** Makes the errors that callers see. */
export const errorsByKind: Readonly<Record<ErrorKind, (message: string, cause: unknown) => EventSourcingError>> = {
  passing: (message, cause) => new OperationalError(message, { cause, retryable: true }),
  lasting: (message, cause) => new OperationalError(message, { cause }),
  integrity: (message, cause) => new IntegrityError(message, { cause }),
  data: (message, cause) => new DataError(message, { cause }),
  programming: (message, cause) => new ProgrammingError(message, { cause }),
  unsupported: (message, cause) => new NotSupportedError(message, { cause }),
  internal: (message, cause) => new InternalError(message, { cause }),
}

/** Looks codes up in a table. */
export class ErrorTable {
  readonly #kinds = new Map<string, ErrorKind>()

  constructor(rules: readonly ErrorRule[]) {
    for (const { codes, kind } of rules) for (const code of codes) this.#kinds.set(code, kind)
  }

  /** What a code means, undefined for one that is in no rule. */
  kindOf(code: string): ErrorKind | undefined {
    return this.#kinds.get(code) ?? this.#kinds.get(code.slice(0, 2))
  }

  /** Makes the error, undefined where no rule knows the code. */
  translate(code: string | undefined, message: string, cause: unknown): EventSourcingError | undefined {
    const kind = code === undefined ? undefined : this.kindOf(code)
    return kind === undefined ? undefined : errorsByKind[kind](message, cause)
  }
}
