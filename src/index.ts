/** The public API, in reading order: the domain, the application, the datastore, persistence, errors. */
import { AESCipher, RotatingCipher } from './persistence/cipher.js'
import { BrotliCompressor, ZlibCompressor } from './persistence/compressor.js'
import { registerModule } from './persistence/configured.js'
import { PrismaFactory } from './prisma/factory.js'

// What variables such as PERSISTENCE_MODULE=eventsourcing-prisma name is this copy of the package, from wherever it was loaded.
registerModule('eventsourcing-prisma', { PrismaFactory, AESCipher, RotatingCipher, ZlibCompressor, BrotliCompressor })

export { Application } from './application/application.js'
export type { ApplicationOptions, ConflictOptions, ExecuteOptions } from './application/application-options.js'
export {
  type ApplicationSubscribeOptions,
  type ApplicationSubscription,
  type Causation,
  causedBy,
  type SubscribedEvent,
  type SubscribedPage,
} from './application/application-subscription.js'

export type { Saveable } from './application/collected.js'

export type {
  AnySaveOptions,
  Decide,
  DecideOptions,
  FactsByName,
  SaveOptions,
  Unless,
  ValuesOf,
} from './application/decisions.js'
export {
  EventSourcedLog,
  type EventSourcedLogOptions,
  type LoggedEvents,
  type LogStore,
} from './application/event-sourced-log.js'
export {
  type FetchSection,
  type FetchSectionOptions,
  LocalNotificationLog,
  type NotificationLog,
  NotificationLogReader,
  type RemoteLogOptions,
  RemoteNotificationLog,
  type Section,
  type SelectLogOptions,
  sectionToJSON,
} from './application/notification-log.js'
export { type CacheOptions, LRUCache, OriginatorCache } from './application/originator-cache.js'

export { type GetOptions, type LoadTrace, Repository } from './application/repository.js'
export type { InlineProjection } from './application/saves.js'
export { type TimerContent, type TimerOptions, type TimerStore, Timers } from './application/timers.js'
export {
  Aggregate,
  type AggregateClass,
  type CreateOptions,
  type EventHandlers,
  type EventSource,
  isAggregate,
  type SnapshotState,
  type TriggerOptions,
} from './domain/aggregate.js'
export type { AggregateStatics } from './domain/aggregate-events.js'
export {
  type CommandArguments,
  type Decider,
  type DeciderEvent,
  type DeciderState,
  type Decision,
  type DefinedEvents,
  defineDecider,
  type EventsOfDefinitions,
} from './domain/decider.js'
export type { DomainEvent, EventData } from './domain/event.js'
export { applies, type EventOptions, event } from './domain/event-decorator.js'
export {
  defineEvent,
  type EventDefinition,
  type EventDefinitionOptions,
  type NamedEvent,
  type SchemaIssue,
  type SchemaResult,
  type SchemaTypes,
  type StandardSchema,
  typed,
} from './domain/event-definition.js'
export type { Upcast, Upcasts } from './domain/event-shapes.js'
export { type Facts, type FactsCase, type FactsHandler, type FactsOptions, facts, type When } from './domain/facts.js'
export { NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, NAMESPACE_X500, uuid5 } from './domain/names.js'
export { Erased, isErased, type PersonalData, type PersonalFields } from './domain/personal-data.js'
export { type DataOf, readEvent, topicsOf } from './domain/read-event.js'
export type { SavedVersions, SnapshotPolicy } from './domain/snapshot-policy.js'
export { type Secret, secret, type Tag, type Tags, type TagsOf, type TagValue } from './domain/tags.js'
export { createTimestamp, Timestamp } from './domain/timestamp.js'
export {
  AggregateEndedError,
  AggregateNotFoundError,
  type AppendConditionDetails,
  AppendConditionError,
  type BeyondLogEndDetails,
  BeyondLogEndError,
  CommitUnknownError,
  type ConcurrencyDetails,
  ConcurrencyError,
  DatabaseError,
  DataError,
  DatastoreClosedError,
  EnvironmentError,
  type ErrorDetails,
  EscapeError,
  type EventDataDetails,
  EventDataError,
  type EventDataIssue,
  EventProcessingError,
  EventSourcingError,
  FollowerError,
  type FollowerErrorDetails,
  IdempotencyBodyError,
  IdempotencyKeyError,
  IdempotencyKeyInUseError,
  IdempotencyKeyReusedError,
  IntegrityError,
  InterfaceError,
  InternalError,
  isEventSourcingError,
  LeaseLostError,
  MapperError,
  type MapperErrorDetails,
  NoTransactionError,
  NotificationConvertingError,
  NotificationPullingError,
  NotSupportedError,
  OperationalError,
  type OperationalErrorDetails,
  OriginatorIdError,
  OriginatorVersionError,
  OverloadedError,
  type PartialCommitDetails,
  PartialCommitError,
  PersistenceError,
  PoolExhaustedError,
  PositionError,
  type PreconditionDetails,
  PreconditionFailedError,
  PreconditionRequiredError,
  ProgrammingError,
  ProjectionBlockedError,
  ProjectionStaleError,
  PublishError,
  type PublishErrorDetails,
  RollbackOnlyError,
  RunnerAlreadyStartedError,
  TopicError,
  TransactionClosedError,
  TransactionTimeoutError,
  TranscodingNotRegisteredError,
  WaitInterruptedError,
  WaitTimeoutError,
} from './errors.js'
export { AESCipher, type Cipher, RotatingCipher } from './persistence/cipher.js'
export { BrotliCompressor, type Compressor, type CompressorOptions, ZlibCompressor } from './persistence/compressor.js'
export { Environment, type EnvironmentVariables } from './persistence/environment.js'
export { EventStore, type Recording } from './persistence/event-store.js'
export { InMemoryProcessRecorder, InMemoryTrackingRecorder } from './persistence/in-memory-factory.js'

export { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from './persistence/in-memory-recorders.js'

export { Mapper } from './persistence/mapper.js'

export { type ParkedEvent, type ProjectionKey, type ProjectionStatus } from './persistence/projection-recorder.js'
export {
  type AggregateRecorder,
  type ApplicationRecorder,
  type IdempotencyKey,
  type IdempotencyStore,
  type LogOrder,
  type ProcessRecorder,
  type SubscribeOptions,
  type Subscription,
  type TrackingRecorder,
} from './persistence/recorder.js'
export {
  type LoggedNotification,
  type Metadata,
  type Notification,
  type StoredEvent,
  type Tracking,
} from './persistence/stored-event.js'

export { JSONTranscoder, type Transcoder } from './persistence/transcoder.js'
export { DecimalText, decimalsAs, defineTranscoding, type Transcoding, Uuid } from './persistence/transcodings.js'

export { PrismaAggregateRecorder } from './prisma/aggregate-recorder.js'
export { PrismaApplicationRecorder } from './prisma/application-recorder.js'
export { isTransient } from './prisma/connection-source.js'
export { PrismaDatastore } from './prisma/datastore.js'
export type { PrismaDatastoreOptions } from './prisma/datastore-options.js'
export { preparedStatementName, type TransactionClient } from './prisma/driver.js'
export { PrismaFactory } from './prisma/factory.js'
export type { ListenConnection } from './prisma/log-signals.js'
export { type IdempotencyStoreOptions, PrismaIdempotencyStore } from './prisma/side-recorders.js'

export { PrismaProcessRecorder, PrismaTrackingRecorder } from './prisma/tracking-recorder.js'
export type {
  ManagedTransaction,
  RollbackOnlyOptions,
  Transaction,
  TransactionHost,
} from './prisma/transaction.js'
export {
  type FiredTimer,
  of,
  on,
  type ProjectedEvent,
  type ProjectionHandler,
  type TimerHandler,
} from './projection/handlers.js'
export {
  defineProjection,
  type OutsideWork,
  type Projection,
  type ProjectionOptions,
  type ReactionTraits,
} from './projection/projection.js'
export { ProjectionRunner } from './projection/projection-runner.js'
export {
  defineReaction,
  onTimer,
  type Reaction,
  type ReactionOptions,
  type TimedHandler,
} from './projection/reaction.js'
export type { RebuildOptions, RebuildWay } from './projection/rebuild.js'
export { type RowsDelegate, rows } from './projection/rows.js'
export type {
  ProjectionDatastore,
  ProjectionProgress,
  ProjectionRunnerOptions,
  ProjectionRunnerStats,
} from './projection/runner-options.js'
export type { RebuildProgress, RebuildResult } from './projection/shadow-rebuild.js'
export {
  Follower,
  ProcessingEvent,
  type ProcessingJob,
  type RecordingEvent,
  type RecordingEventReceiver,
} from './systems/follower.js'
export {
  type ApplicationClass,
  EventSourcedProjection,
  Leader,
  type Leading,
  ProcessApplication,
} from './systems/leader.js'
export { System, type SystemOptions, SystemRunner, type SystemRunnerOptions } from './systems/system.js'
export { currentMetadata, withMetadata } from './transaction/ambient-metadata.js'
export { CapturedContext } from './transaction/context.js'
export type { OnEscape, Outside } from './transaction/escapes.js'
export type { CloseOptions } from './transaction/open-scopes.js'
export {
  type BeginAt,
  type IsolationLevel,
  type Propagation,
  type TransactionalDecorator,
  type TransactionLabel,
  type TransactionOptions,
  type TransactionRunner,
  type TransactionState,
  transactional,
} from './transaction/options.js'

export type {
  ConflictTrace,
  DatastoreStats,
  EscapeTrace,
  FlushTrace,
  LogGauges,
  RetryTrace,
  RollbackTrace,
  TracedTransaction,
  TransactionCounts,
  TransactionTrace,
} from './transaction/telemetry.js'
