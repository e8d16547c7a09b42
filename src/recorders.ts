/** The package entry `eventsourcing-prisma/recorders`: for those who write a recorder or a factory of their own, and call one without an application. */
export { type CachedOriginator, type Evicted } from './application/originator-cache.js'
export { type InfrastructureFactory, type InfrastructureSource } from './persistence/environment.js'
export { type EventsAgain, type PutOptions } from './persistence/event-store.js'
export { InMemorySubjectKeyRecorder } from './persistence/in-memory-factory.js'
export { InMemoryProjectionRecorder, InMemoryTimerRecorder } from './persistence/in-memory-projections.js'
export { type MapperOptions } from './persistence/mapper.js'
export { PersonalDataKeys } from './persistence/personal-data-keys.js'
export {
  type ChangeRows,
  type ProjectedRowChanges,
  type ProjectionBatch,
  type ProjectionLease,
  type ProjectionMove,
  type ProjectionRecorder,
  type ProjectionRow,
  type ProjectionShadow,
  type ProjectionStateChange,
  type ProjectionWanted,
} from './persistence/projection-recorder.js'
export {
  type Append,
  type AppendCondition,
  type AppendOptions,
  type DeleteEventsRange,
  type IdempotencyClaim,
  type ProcessEventsOptions,
  type RecordedResponse,
  type SelectEventsRange,
  type SelectNotificationsOptions,
  type SinceSnapshot,
  type SinceSnapshotRange,
  type SubjectKey,
  type SubjectKeyRecorder,
  type SubscriptionPage,
  type TaggedRead,
  type TaggedReadOptions,
  type TagQuery,
  type WaitOptions,
} from './persistence/recorder.js'
export {
  type DueTimer,
  type PendingTimer,
  type SelectTimersOptions,
  type StoredTimer,
  type TimerFailure,
  type TimerRecorder,
} from './persistence/side-recorders.js'
export { type StreamPosition } from './persistence/stored-event.js'
export { type DecimalClass, type TranscodedType } from './persistence/transcodings.js'
export { type RecorderDatastore, type RecorderOptions } from './prisma/aggregate-recorder.js'
export {
  PrismaSubjectKeyRecorder,
  PrismaTimerRecorder,
  type SubjectKeyOptions,
  type TimerRecorderOptions,
} from './prisma/side-recorders.js'
export {
  type ProcessRecorderOptions,
  type TrackingOptions,
  type TrackingRecorderClass,
} from './prisma/tracking-recorder.js'
