/** The error classes about HTTP requests; docs/errors.md lists them. */
import { type ErrorDetails, EventSourcingError, PersistenceError } from './errors.js'

/** Which datastores of a request have committed, and which have not. */
export interface PartialCommitDetails extends ErrorDetails {
  /** The names of the datastores that have committed, in that order. */
  readonly committed: readonly string[]
  /** The name of the datastore that was not committed. */
  readonly failed: string
  /** The names of those that came after it, which were rolled back. */
  readonly rolledBack: readonly string[]
}

/**
 * A request with transactions on several datastores is stored in part: one could not be committed after others had been. The
 * cause says why, and whether it is certain.
 */
export class PartialCommitError extends PersistenceError {
  override readonly code: string = 'ES_PARTIAL_COMMIT'
  /** The names of the datastores that have committed, in that order. */
  readonly committed: readonly string[]
  /** The name of the datastore that was not committed. */
  readonly failed: string
  /** The names of those that came after it, which were rolled back. */
  readonly rolledBack: readonly string[]

  constructor(message: string, details: PartialCommitDetails) {
    super(message, details)
    this.committed = details.committed
    this.failed = details.failed
    this.rolledBack = details.rolledBack
  }
}

/** Which originator was not as it was expected. */
export interface PreconditionDetails extends ErrorDetails {
  /** The originator. */
  readonly originatorId: string
  /** The version that it has. */
  readonly actualVersion: number
}

/** A caller wants to change another version of an originator than there is. */
export class PreconditionFailedError extends EventSourcingError {
  override readonly code: string = 'ES_PRECONDITION_FAILED'
  /** The originator. */
  readonly originatorId: string
  /** The version that it has. */
  readonly actualVersion: number

  constructor(message: string, details: PreconditionDetails) {
    super(message, details)
    this.originatorId = details.originatorId
    this.actualVersion = details.actualVersion
  }
}

/** A caller does not say which version of an originator it wants to change. */
export class PreconditionRequiredError extends EventSourcingError {
  override readonly code: string = 'ES_PRECONDITION_REQUIRED'
}

/** A request has no idempotency key where one is required, or one that is none. */
export class IdempotencyKeyError extends EventSourcingError {
  override readonly code: string = 'ES_IDEMPOTENCY_KEY'
}

/** A request with this idempotency key is still being answered: wait, and repeat it. */
export class IdempotencyKeyInUseError extends EventSourcingError {
  override readonly code: string = 'ES_IDEMPOTENCY_KEY_IN_USE'
}

/** An idempotency key was used before, for another request: every request needs a key of its own. */
export class IdempotencyKeyReusedError extends EventSourcingError {
  override readonly code: string = 'ES_IDEMPOTENCY_KEY_REUSED'
}

/** A request with an idempotency key has a body that cannot be compared with that of another request. */
export class IdempotencyBodyError extends EventSourcingError {
  override readonly code: string = 'ES_IDEMPOTENCY_BODY'
}

/** A request wants to see a position of a log that is none, or that the log does not have. */
export class PositionError extends EventSourcingError {
  override readonly code: string = 'ES_POSITION'
}

/** A request wants to see more than projections show, and a late answer is refused: it may be sent again. */
export class ProjectionStaleError extends EventSourcingError {
  override readonly code: string = 'ES_PROJECTION_STALE'
}
