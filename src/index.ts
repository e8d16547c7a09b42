/** The public API. */

export {
  PrismaDatastore,
  type PrismaDatastoreOptions,
} from './prisma/datastore.js'
export type { ManagedTransaction, Transaction } from './prisma/transaction.js'
export type { TransactionClient } from './prisma/prisma-client.js'
export type { IsolationLevel, Propagation, TransactionOptions } from './transaction/options.js'
export type { TransactionState } from './transaction/scope.js'
export { isTransient } from './transaction/retry.js'
export { PrismaAggregateRecorder, type RecorderDatastore, type RecorderOptions } from './prisma/aggregate-recorder.js'
export { PrismaApplicationRecorder } from './prisma/application-recorder.js'
export {
  AggregateNotFoundError,
  CommitUnknownError,
  type ConcurrencyDetails,
  ConcurrencyError,
  DatabaseError,
  DataError,
  EnvironmentError,
  type ErrorDetails,
  EventSourcingError,
  IntegrityError,
  InterfaceError,
  InternalError,
  isEventSourcingError,
  MapperError,
  NoTransactionError,
  NotSupportedError,
  OperationalError,
  type OperationalErrorDetails,
  OriginatorIdError,
  OriginatorVersionError,
  PersistenceError,
  ProgrammingError,
  RollbackOnlyError,
  TopicError,
  TransactionClosedError,
  TransactionTimeoutError,
  TranscodingNotRegisteredError,
  WaitInterruptedError,
  WaitTimeoutError,
} from './errors.js'
