/** Makes the recorders of one application on a datastore. */
import { EnvironmentError } from '../errors.js'
import type { Environment } from '../persistence/environment.js'
import type { InfrastructureFactory, RecorderPurpose } from '../persistence/factory.js'
import { PrismaAggregateRecorder, type RecorderDatastore } from './aggregate-recorder.js'
import { PrismaApplicationRecorder } from './application-recorder.js'
import type { OriginatorIdType } from './dialect.js'
import type { TransactionClient } from './prisma-client.js'
import { tableNames } from './table-names.js'

/** The recorders of one application on a datastore that exists. */
export class DatastoreFactory<Client extends object> implements InfrastructureFactory<TransactionClient<Client>> {
  readonly #datastore: RecorderDatastore<Client>
  readonly #environment: Environment

  constructor(datastore: RecorderDatastore<Client>, environment: Environment) {
    this.#datastore = datastore
    this.#environment = environment
  }

  applicationRecorder(): PrismaApplicationRecorder<Client> {
    return new PrismaApplicationRecorder(this.#datastore, { eventsTable: this.#tables.events, ...this.#options })
  }

  aggregateRecorder(purpose: RecorderPurpose): PrismaAggregateRecorder<Client> {
    return new PrismaAggregateRecorder(this.#datastore, {
      eventsTable: purpose === 'events' ? this.#tables.events : this.#tables.snapshots,
      kind: purpose,
      ...this.#options,
    })
  }

  /** Makes the tables where `CREATE_TABLE` says so; otherwise they come from `prisma migrate`. */
  async prepare(): Promise<void> {
    if (this.#environment.getBoolean('CREATE_TABLE') !== true) return
    await this.applicationRecorder().createTable()
    await this.aggregateRecorder('snapshots').createTable()
  }

  /** The datastore was given, so it stays open. */
  async close(): Promise<void> {}

  get #tables(): ReturnType<typeof tableNames> {
    return tableNames(this.#environment.name)
  }

  get #options(): { readonly schema?: string; readonly originatorIdType?: OriginatorIdType } {
    const schema = this.#environment.get('PRISMA_SCHEMA')
    const idType = this.#environment.get('ORIGINATOR_ID_TYPE')
    if (idType !== undefined && idType !== 'uuid' && idType !== 'text') {
      throw new EnvironmentError(
        `The variable ${this.#environment.names('ORIGINATOR_ID_TYPE').join(', ')} is '${idType}': set it to uuid or text.`,
      )
    }
    return {
      ...(schema === undefined || schema === '' ? {} : { schema }),
      ...(idType === undefined ? {} : { originatorIdType: idType }),
    }
  }
}
