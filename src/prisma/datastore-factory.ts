/** Makes the recorders of one application on a datastore. */
import { EnvironmentError, ProgrammingError } from '../errors.js'
import { resolveVariable } from '../persistence/configured.js'
import type { Environment, InfrastructureFactory, RecorderPurpose } from '../persistence/environment.js'
import type { LogOrder } from '../persistence/recorder.js'
import { PrismaAggregateRecorder, type RecorderDatastore, type RecorderOptions } from './aggregate-recorder.js'
import { PrismaApplicationRecorder } from './application-recorder.js'
import type { OriginatorIdType } from './dialect.js'
import type { TransactionClient } from './driver.js'
import { PrismaProjectionRecorder } from './projection-recorder.js'
import { PrismaInboxRecorder, PrismaSubjectKeyRecorder, PrismaTimerRecorder } from './side-recorders.js'
import { noteTables, tableNames } from './table-names.js'
import { PrismaProcessRecorder, PrismaTrackingRecorder, type TrackingRecorderClass } from './tracking-recorder.js'

const trackingRecorderVariable = 'TRACKING_RECORDER_TOPIC'

/** The recorders of one application on a datastore that exists. */
export class DatastoreFactory<Client extends object> implements InfrastructureFactory<TransactionClient<Client>> {
  readonly #datastore: RecorderDatastore<Client>
  readonly #environment: Environment
  #configuredClass: TrackingRecorderClass<Client> | undefined

  constructor(datastore: RecorderDatastore<Client>, environment: Environment) {
    this.#datastore = datastore
    this.#environment = environment
  }

  applicationRecorder(): PrismaApplicationRecorder<Client> {
    return new PrismaApplicationRecorder(this.#datastore, {
      eventsTable: this.#tables.events,
      tagsTable: this.#tables.eventTags,
      companions: this.#companions(),
      ...this.#options,
    })
  }

  aggregateRecorder(purpose: RecorderPurpose): PrismaAggregateRecorder<Client> {
    return new PrismaAggregateRecorder(this.#datastore, {
      eventsTable: purpose === 'events' ? this.#tables.events : this.#tables.snapshots,
      kind: purpose,
      ...this.#options,
    })
  }

  /**
   * Makes a recorder of the class given, else of the one that `TRACKING_RECORDER_TOPIC` names, else a `PrismaTrackingRecorder`.
   *
   * @throws `ProgrammingError` when the variable is set and `prepare()` was not awaited
   */
  trackingRecorder(
    recorderClass: TrackingRecorderClass<Client> = this.#trackingRecorderClass(),
  ): PrismaTrackingRecorder<Client> {
    return new recorderClass(this.#datastore, { trackingTable: this.#tables.tracking, ...this.#schema })
  }

  processRecorder(): PrismaProcessRecorder<Client> {
    const { events, eventTags, tracking } = this.#tables
    return new PrismaProcessRecorder(this.#datastore, {
      eventsTable: events,
      tagsTable: eventTags,
      trackingTable: tracking,
      companions: this.#companions(),
      ...this.#options,
    })
  }

  #companions(): NonNullable<RecorderOptions['companions']> {
    return [this.aggregateRecorder('snapshots'), this.subjectKeyRecorder(), this.timerRecorder()]
  }

  subjectKeyRecorder(): PrismaSubjectKeyRecorder<Client> {
    return new PrismaSubjectKeyRecorder(this.#datastore, { keysTable: this.#tables.subjectKeys, ...this.#schema })
  }

  projectionRecorder(): PrismaProjectionRecorder<Client> {
    return new PrismaProjectionRecorder(this.#datastore, { names: this.#tables, ...this.#schema })
  }

  inboxRecorder(): PrismaInboxRecorder {
    const { inbox, tracking } = this.#tables
    return new PrismaInboxRecorder(this.#datastore, { inboxTable: inbox, trackingTable: tracking, ...this.#schema })
  }

  timerRecorder(): PrismaTimerRecorder<Client> {
    return new PrismaTimerRecorder(this.#datastore, { timersTable: this.#tables.timers, ...this.#schema })
  }

  /** Makes the tables where `CREATE_TABLE` says so; otherwise they come from `prisma migrate`. */
  async prepare(): Promise<void> {
    this.#configuredClass = await this.#loadTrackingRecorderClass()
    if (this.#environment.getBoolean('CREATE_TABLE') !== true) return
    await this.processRecorder().createTable()
    await this.aggregateRecorder('snapshots').createTable()
    await this.subjectKeyRecorder().createTable()
    await this.projectionRecorder().createTable()
    await this.inboxRecorder().createTable()
  }

  /** The datastore was given, so it stays open. */
  async close(): Promise<void> {}

  get #tables(): ReturnType<typeof tableNames> {
    const { name } = this.#environment
    const names = tableNames(name)
    noteTables(name, names)
    return names
  }

  async #loadTrackingRecorderClass(): Promise<TrackingRecorderClass<Client> | undefined> {
    const named = await resolveVariable(this.#environment, trackingRecorderVariable)
    if (named === undefined || isTrackingRecorderClass<Client>(named)) return named
    const names = this.#environment.names(trackingRecorderVariable).join(', ')
    throw new EnvironmentError(
      `The variable ${names} is '${this.#environment.get(trackingRecorderVariable)}': set it to the topic of a class that extends PrismaTrackingRecorder.`,
    )
  }

  #trackingRecorderClass(): TrackingRecorderClass<Client> {
    if (this.#configuredClass !== undefined) return this.#configuredClass
    if ((this.#environment.get(trackingRecorderVariable) ?? '') === '') return PrismaTrackingRecorder
    throw new ProgrammingError(
      `Could not make the tracking recorder that ${trackingRecorderVariable} names: await application.ready(), or factory.prepare(), first.`,
    )
  }

  get #schema(): { readonly schema?: string } {
    const schema = this.#environment.get('PRISMA_SCHEMA')
    return schema === undefined || schema === '' ? {} : { schema }
  }

  get #options(): {
    readonly schema?: string
    readonly originatorIdType?: OriginatorIdType
    readonly order?: LogOrder
  } {
    const idType = this.#environment.get('ORIGINATOR_ID_TYPE')
    if (idType !== undefined && idType !== 'uuid' && idType !== 'text') {
      throw new EnvironmentError(
        `The variable ${this.#environment.names('ORIGINATOR_ID_TYPE').join(', ')} is '${idType}': set it to uuid or text.`,
      )
    }
    const order = this.#environment.get('LOG_ORDER') || undefined
    if (order !== undefined && order !== 'floor-lock' && order !== 'table-lock') {
      throw new EnvironmentError(
        `The variable ${this.#environment.names('LOG_ORDER').join(', ')} is '${order}': set it to floor-lock or table-lock.`,
      )
    }
    return {
      ...this.#schema,
      ...(order === undefined ? {} : { order }),
      ...(idType === undefined ? {} : { originatorIdType: idType }),
    }
  }
}

function isTrackingRecorderClass<Client extends object>(value: unknown): value is TrackingRecorderClass<Client> {
  return (
    typeof value === 'function' &&
    (value === PrismaTrackingRecorder || value.prototype instanceof PrismaTrackingRecorder)
  )
}
