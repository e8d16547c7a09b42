/** The error classes, each with a constant code; docs/errors.md lists them. */

/** What every error constructor takes beside its message. */
export interface ErrorDetails {
  /** What was thrown below: a driver's error, an abort reason. Kept as `error.cause`. */
  readonly cause?: unknown
}

/** The base of all errors of this package. Recognise one by `isEventSourcingError(e)` or `e.code`, also across copies of the package. */
export class EventSourcingError extends Error {
  /** Constant per class, stable across releases. */
  readonly code: string = 'ES_ERROR'

  /** Marks the errors of all copies of the package. */
  get isEventSourcingError(): true {
    return true
  }

  constructor(message: string, details?: ErrorDetails) {
    super(message, details?.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
  }
}

/**
 * Tells whether a thrown value is an error of this package, whichever copy of the package threw it.
 *
 * @param error - anything that was caught
 */
export function isEventSourcingError(error: unknown): error is EventSourcingError {
  return typeof error === 'object' && error !== null && 'isEventSourcingError' in error
}

/** Something went wrong between the application and its store. */
export class PersistenceError extends EventSourcingError {
  override readonly code: string = 'ES_PERSISTENCE'
}

/** The driver or Prisma was used in a way that it refuses, before the database was asked. */
export class InterfaceError extends PersistenceError {
  override readonly code: string = 'ES_INTERFACE'
}

/** The database refused or failed a statement. */
export class DatabaseError extends PersistenceError {
  override readonly code: string = 'ES_DATABASE'
}

/** A value that cannot be stored so that it can be read again: it does not fit its column, or an event cannot keep it. */
export class DataError extends DatabaseError {
  override readonly code: string = 'ES_DATA'
}

/** A value of this type cannot be written to, or read from, an event's state: define and register a transcoding. */
export class TranscodingNotRegisteredError extends DataError {
  override readonly code: string = 'ES_TRANSCODING_NOT_REGISTERED'
}

/** What an `OperationalError` carries beside its cause. */
export interface OperationalErrorDetails extends ErrorDetails {
  /** Whether the same transaction may succeed when it is run again; default false. */
  readonly retryable?: boolean
}

/** The database could not do its work: unreachable, busy, locked, shut down, a serialisation failure or a deadlock. */
export class OperationalError extends DatabaseError {
  override readonly code: string = 'ES_OPERATIONAL'
  /** Whether the same transaction may succeed when it is run again. */
  readonly retryable: boolean

  constructor(message: string, details?: OperationalErrorDetails) {
    super(message, details)
    this.retryable = details?.retryable ?? false
  }
}

/**
 * There was no connection for a transaction or a statement: as many as the datastore lets wait were waiting for one (`maxWaiting`),
 * or it had waited for as long as it may (`maxWaitMs`). It is not `retryable`: who repeats it at once adds to the load.
 */
export class OverloadedError extends OperationalError {
  override readonly code: string = 'ES_OVERLOADED'
}

/** A transaction inside another one would wait for a connection of the pool that nobody gives back, until the deadlines pass. */
export class PoolExhaustedError extends OperationalError {
  override readonly code: string = 'ES_POOL_EXHAUSTED'
}

/** A constraint of the database was violated. */
export class IntegrityError extends DatabaseError {
  override readonly code: string = 'ES_INTEGRITY'
}

/** What a position is compared with. */
export interface BeyondLogEndDetails extends ErrorDetails {
  /** The position up to which somebody has read. */
  readonly position: bigint
  /** The last one that the log has given out. */
  readonly end: bigint
}

/** A position is one that its log does not have: the log was restored or emptied, or it is another one. Events up to it would be passed over. */
export class BeyondLogEndError extends IntegrityError {
  override readonly code: string = 'ES_BEYOND_LOG_END'
  /** The position up to which somebody has read. */
  readonly position: bigint
  /** The last one that the log has given out. */
  readonly end: bigint

  constructor(message: string, { position, end, ...details }: BeyondLogEndDetails) {
    super(message, details)
    this.position = position
    this.end = end
  }
}

/** Where two writers of one stream met. */
export interface ConcurrencyDetails extends ErrorDetails {
  /** The stream. */
  readonly originatorId: string
  /** The version that the writer built on; its first new event has the next one. */
  readonly expectedVersion: number
  /** The version that the stream has, undefined when it has no events. */
  readonly actualVersion?: number | undefined
}

/** Another writer has changed the stream since it was read: load the aggregate again and repeat the command. */
export class ConcurrencyError extends IntegrityError {
  override readonly code: string = 'ES_CONCURRENCY'
  /** The stream. */
  readonly originatorId: string
  /** The version that the writer built on. */
  readonly expectedVersion: number
  /** The version that the stream has, undefined when it has no events. */
  readonly actualVersion: number | undefined

  constructor(message: string, details: ConcurrencyDetails) {
    super(message, details)
    this.originatorId = details.originatorId
    this.expectedVersion = details.expectedVersion
    this.actualVersion = details.actualVersion
  }
}

/** What was decided on, and has changed. */
export interface AppendConditionDetails extends ConcurrencyDetails {
  /** The tags of the events that were not to be there, as they are stored. */
  readonly tags: readonly string[]
  /** The names of those events; empty for all. */
  readonly types: readonly string[]
}

/**
 * Events with certain tags were stored that a decision, or the option `unless`, excludes: read again and repeat the decision. Where it
 * was about one value, such as a name that is taken, tell the user.
 */
export class AppendConditionError extends ConcurrencyError {
  override readonly code: string = 'ES_APPEND_CONDITION'
  /** The tags of the events that were not to be there. */
  readonly tags: readonly string[]
  /** The names of those events; empty for all. */
  readonly types: readonly string[]

  constructor(message: string, details: AppendConditionDetails) {
    super(message, details)
    this.tags = details.tags
    this.types = details.types
  }
}

/** The database found itself in a state that it cannot explain. */
export class InternalError extends DatabaseError {
  override readonly code: string = 'ES_INTERNAL'
}

/** The program asks for something that cannot be: a missing table, a wrong statement, a call out of order. */
export class ProgrammingError extends DatabaseError {
  override readonly code: string = 'ES_PROGRAMMING'
}

/** Something passes by the transaction that is open around it, or is not done when that is to commit. */
export class EscapeError extends ProgrammingError {
  override readonly code: string = 'ES_ESCAPE'
}

/** The datastore is closed, or about to be: no transaction begins any more, and what was open too long is rolled back. */
export class DatastoreClosedError extends ProgrammingError {
  override readonly code: string = 'ES_DATASTORE_CLOSED'
}

/** The database or its adapter cannot do what was asked. */
export class NotSupportedError extends DatabaseError {
  override readonly code: string = 'ES_NOT_SUPPORTED'
}

/** The connection was lost while COMMIT, or a write outside of a transaction, was under way: it may or may not be stored. Look before you repeat. */
export class CommitUnknownError extends PersistenceError {
  override readonly code: string = 'ES_COMMIT_UNKNOWN'
}

/** The transaction passed its deadline and was rolled back. */
export class TransactionTimeoutError extends PersistenceError {
  override readonly code: string = 'ES_TRANSACTION_TIMEOUT'
}

/** The transaction has ended: something still uses it, often a promise that was not awaited. */
export class TransactionClosedError extends PersistenceError {
  override readonly code: string = 'ES_TRANSACTION_CLOSED'
}

/** A transaction is needed and none is open here. */
export class NoTransactionError extends PersistenceError {
  override readonly code: string = 'ES_NO_TRANSACTION'
}

/** The transaction can only roll back, because of an earlier failure or by `rollbackOnly()`. */
export class RollbackOnlyError extends PersistenceError {
  override readonly code: string = 'ES_ROLLBACK_ONLY'
}

/** No aggregate has this id, or it has no events up to the version asked for. */
export class AggregateNotFoundError extends EventSourcingError {
  override readonly code: string = 'ES_AGGREGATE_NOT_FOUND'
}

/** The aggregate was there, and an event has ended it (`ends: true`): it is read at a `version` only, and has no further events. */
export class AggregateEndedError extends AggregateNotFoundError {
  override readonly code: string = 'ES_AGGREGATE_ENDED'
}

/** An event was applied to an aggregate whose version is not the one before it. */
export class OriginatorVersionError extends EventSourcingError {
  override readonly code: string = 'ES_ORIGINATOR_VERSION'
}

/** An event was applied to an aggregate with another id. */
export class OriginatorIdError extends EventSourcingError {
  override readonly code: string = 'ES_ORIGINATOR_ID'
}

/** One thing that is wrong with an event's data. */
export interface EventDataIssue {
  /** What is wrong. */
  readonly message: string
}

/** What an `EventDataError` carries beside its cause. */
export interface EventDataDetails extends ErrorDetails {
  /** What the event's schema has found. */
  readonly issues: readonly EventDataIssue[]
}

/** The data of an event are not what its definition asks for. */
export class EventDataError extends EventSourcingError {
  override readonly code: string = 'ES_EVENT_DATA'
  /** What the event's schema has found, each with a `path` where the schema gives one. */
  readonly issues: readonly EventDataIssue[]

  constructor(message: string, details: EventDataDetails) {
    super(message, details)
    this.issues = details.issues
  }
}

/** What a `MapperError` carries beside its cause: which event could not be read, as far as that is known. */
export interface MapperErrorDetails extends ErrorDetails {
  /** The topic of the event. */
  readonly topic?: string | undefined
  /** The stream that it is in. */
  readonly originatorId?: string | undefined
  /** Its position in the stream. */
  readonly originatorVersion?: number | undefined
  /** Its position in the log, where it was read from there. */
  readonly notificationId?: bigint | undefined
}

/** A stored state could not be turned back into an event: corrupt, truncated, or encrypted with another key. */
export class MapperError extends EventSourcingError {
  override readonly code: string = 'ES_MAPPER'
  /** The topic of the event; undefined for a state that belongs to none. */
  readonly topic: string | undefined
  /** The stream that the event is in. */
  readonly originatorId: string | undefined
  /** The event's position in the stream. */
  readonly originatorVersion: number | undefined
  /** The event's position in the log; undefined where it was not read from there. */
  readonly notificationId: bigint | undefined

  constructor(message: string, details?: MapperErrorDetails) {
    super(message, details)
    this.topic = details?.topic
    this.originatorId = details?.originatorId
    this.originatorVersion = details?.originatorVersion
    this.notificationId = details?.notificationId
  }
}

/** A topic names nothing that is known here. */
export class TopicError extends EventSourcingError {
  override readonly code: string = 'ES_TOPIC'
}

/** A configuration variable is missing or has a value that cannot be used. */
export class EnvironmentError extends EventSourcingError {
  override readonly code: string = 'ES_ENVIRONMENT'
}

/** What was waited for did not happen in time. */
export class WaitTimeoutError extends EventSourcingError {
  override readonly code: string = 'ES_WAIT_TIMEOUT'
}

/** Waiting was interrupted by its AbortSignal. */
export class WaitInterruptedError extends EventSourcingError {
  override readonly code: string = 'ES_WAIT_INTERRUPTED'
}

/** Another runner has taken a projection over: nothing of the batch was stored. */
export class LeaseLostError extends PersistenceError {
  override readonly code: string = 'ES_LEASE_LOST'
}

/** A projection stands still at an event that its handlers fail on, so what is waited for does not come. */
export class ProjectionBlockedError extends EventSourcingError {
  override readonly code: string = 'ES_PROJECTION_BLOCKED'
}

/** What went wrong in a running system, with the one that it stands still for. */
export interface FollowerErrorDetails extends ErrorDetails {
  /** The name of the application whose log was read. */
  readonly leader: string
  /** The name of the application that follows it; undefined where that concerns all of them. */
  readonly follower?: string | undefined
  /** The position in the leader's log; undefined where it is not known. */
  readonly notificationId?: bigint | undefined
}

/** A follower of a running system stands still: the base of the three errors that say at what. */
export class FollowerError extends EventSourcingError {
  override readonly code: string = 'ES_FOLLOWER'
  /** The name of the application whose log was read. */
  readonly leader: string
  /** The name of the application that follows it; undefined where that concerns all of them. */
  readonly follower: string | undefined
  /** The position in the leader's log; undefined where it is not known. */
  readonly notificationId: bigint | undefined

  constructor(message: string, details: FollowerErrorDetails) {
    super(message, details)
    this.leader = details.leader
    this.follower = details.follower
    this.notificationId = details.notificationId
  }
}

/** A leader's log cannot be read. */
export class NotificationPullingError extends FollowerError {
  override readonly code: string = 'ES_NOTIFICATION_PULLING'
}

/** An event of a leader's log cannot be read by its follower: its state is damaged, or encrypted with another key. */
export class NotificationConvertingError extends FollowerError {
  override readonly code: string = 'ES_NOTIFICATION_CONVERTING'
}

/** A follower's policy has failed on an event, or what it has collected cannot be stored. */
export class EventProcessingError extends FollowerError {
  override readonly code: string = 'ES_EVENT_PROCESSING'
}

/** A runner was started a second time. */
export class RunnerAlreadyStartedError extends ProgrammingError {
  override readonly code: string = 'ES_RUNNER_ALREADY_STARTED'
}

/** What a `PublishError` carries beside its cause. */
export interface PublishErrorDetails extends ErrorDetails {
  /** The id of the message, such as `TrainingSchool/4711`. */
  readonly messageId: string
  /** Whether the same message may be taken another time; false where it is the message that cannot be sent. */
  readonly retryable: boolean
}

/** A broker has not confirmed a message: it cannot be reached, has refused it, or no queue takes it. The relay sends it again. */
export class PublishError extends EventSourcingError {
  override readonly code: string = 'ES_PUBLISH'
  /** The id of the message. */
  readonly messageId: string
  /** Whether the same message may be taken another time. */
  readonly retryable: boolean

  constructor(message: string, details: PublishErrorDetails) {
    super(message, details)
    this.messageId = details.messageId
    this.retryable = details.retryable
  }
}

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
