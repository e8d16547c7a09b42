/** The port of what makes an application's recorders. */
import type { Environment } from './environment.js'
import type { InboxRecorder } from './inbox-recorder.js'
import type { ProjectionRecorder } from './projection-recorder.js'
import type {
  ManagedAggregateRecorder,
  ManagedApplicationRecorder,
  ManagedProcessRecorder,
  ManagedSubjectKeyRecorder,
  ManagedTrackingRecorder,
} from './recorder-transaction.js'

/** What an aggregate recorder is for: an application's events, or its snapshots. */
export type RecorderPurpose = 'events' | 'snapshots'

/** Makes the recorders of one application, all on the same database. */
export interface InfrastructureFactory<Client = unknown> {
  /** Makes a recorder without a log. */
  aggregateRecorder(purpose: RecorderPurpose): ManagedAggregateRecorder<Client>
  /** Makes a recorder with a log. */
  applicationRecorder(): ManagedApplicationRecorder<Client>
  /** Makes a recorder of how far other applications' logs were processed. */
  trackingRecorder(): ManagedTrackingRecorder<Client>
  /** Makes a recorder with a log, and of how far other applications' logs were processed. */
  processRecorder(): ManagedProcessRecorder<Client>
  /** Makes what keeps the keys of personal data; a factory without it makes no application that can have such data. */
  subjectKeyRecorder?(): ManagedSubjectKeyRecorder<Client> | undefined
  /** Makes what keeps the positions of projections; an application whose factory is without it has no projections. */
  projectionRecorder?(): ProjectionRecorder<Client> | undefined
  /** Makes what keeps which messages were processed; an application whose factory is without it has no inbox. */
  inboxRecorder?(): InboxRecorder | undefined
  /** Awaited once before the application first uses its recorders, for what cannot be done at once, such as `CREATE_TABLE`. */
  prepare?(): Promise<void>
  /** Gives up what the factory opened itself. */
  close(): Promise<void>
}

/** A class of factories: what `PERSISTENCE_MODULE` names, or the module that it names exports. */
export type InfrastructureFactoryClass = new (environment: Environment) => InfrastructureFactory

/** A database that makes the factory for an application: what the option `datastore` takes. */
export interface InfrastructureSource<Client = unknown> {
  /** Makes the factory of the application whose environment this is. */
  infrastructureFactory(environment: Environment): InfrastructureFactory<Client>
}
