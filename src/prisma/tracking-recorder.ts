/** Stores how far upstream applications have been processed, in a table of the Prisma schema. */
import type { TrackingRecorder, WaitOptions } from '../persistence/recorder.js'
import type { Tracking } from '../persistence/stored-event.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import { type Engine, engineOf } from './engine.js'
import { createTables } from './tables.js'
import { TrackingPositions } from './tracking-positions.js'
import type { Transaction } from './transaction.js'

/** Which table of tracking positions a recorder uses. */
export interface TrackingOptions {
  /** The table's name; default `notification_tracking`. */
  readonly trackingTable?: string
  /**
   * Who reads: letters, digits, `_`, `-` and `.`. Each reader has positions of its own in the table, stored as `reader@application`.
   * Without it there is one position for each application that is read, and two readers that store theirs pass over each other's
   * events: a process warning `ES_TRACKING_SHARED` tells where that is noticed.
   */
  readonly reader?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** A class of tracking recorders: this one, or one that extends it with the tables of a view. */
export type TrackingRecorderClass<Client extends object> = new (
  datastore: RecorderDatastore<Client>,
  options: TrackingOptions,
) => PrismaTrackingRecorder<Client>

/**
 * A `TrackingRecorder` on a datastore. Inside a transaction it works in that; outside, each call is stored by itself.
 *
 * Of several processes that insert one tracking at the same time, one succeeds.
 */
export class PrismaTrackingRecorder<Client extends object = object> implements TrackingRecorder {
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  readonly #engine: Engine
  readonly #positions: TrackingPositions

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: TrackingOptions = {}) {
    const { trackingTable = 'notification_tracking', schema, reader } = options
    this.datastore = datastore
    this.#engine = engineOf(datastore)
    this.#positions = new TrackingPositions(this.#engine, { name: trackingTable, schema, reader })
  }

  async insertTracking(tracking: Tracking): Promise<void> {
    await this.#positions.insertTracking(tracking)
  }

  async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return await this.#positions.maxTrackingId(applicationName)
  }

  async hasTrackingId(applicationName: string, notificationId: bigint | null): Promise<boolean> {
    return await this.#positions.hasTrackingId(applicationName, notificationId)
  }

  async wait(applicationName: string, notificationId: bigint | null, options?: WaitOptions): Promise<void> {
    await this.#positions.wait(applicationName, notificationId, options)
  }

  /** Runs work in a transaction: the same as `datastore.transaction`. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await this.datastore.transaction(work, options)
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#positions.createStatements)
  }
}
