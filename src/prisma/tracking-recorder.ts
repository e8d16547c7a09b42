/** Stores how far upstream applications have been processed, in a table of the Prisma schema, alone or with the events that were made from them. */
import { ProgrammingError } from '../errors.js'
import {
  logPosition,
  type ProcessEventsOptions,
  type ProcessRecorder,
  type TrackingRecorder,
  type WaitOptions,
} from '../persistence/recorder.js'
import type { StoredEvent, Tracking } from '../persistence/stored-event.js'
import {
  alreadyProcessed,
  checkTracking,
  isProcessed,
  noticeSharing,
  type TrackingOrigin,
  waitUntilProcessed,
} from '../persistence/tracking.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { RecorderDatastore, RecorderOptions } from './aggregate-recorder.js'
import { PrismaApplicationRecorder } from './application-recorder.js'
import type { TrackingTable } from './dialect.js'
import { createTables, type Engine, engineOf, runIn } from './engine.js'
import type { Transaction } from './transaction.js'

/** Which positions of which table. */
interface TrackingPositionsOptions {
  readonly name: string
  readonly schema: string | undefined
  readonly reader: string | undefined
}

/** The subscriptions that have stored positions, by table and key: recorders of one datastore know of each other. */
const originsOf = new WeakMap<Engine, Map<string, TrackingOrigin>>()

/** Works in the current transaction; outside of one, each call is stored by itself. */
class TrackingPositions implements TrackingRecorder {
  readonly createStatements: readonly string[]
  readonly #engine: Engine
  readonly #table: TrackingTable
  readonly #prefix: string
  readonly #place: string

  /** @throws `ProgrammingError` when the table's name is no identifier, or too long for one, or the reader's is none */
  constructor(engine: Engine, options: TrackingPositionsOptions) {
    this.#engine = engine
    this.#prefix = prefixOf(options.reader)
    const schema = options.schema ?? engine.schema
    this.#place = JSON.stringify([schema, options.name])
    this.#table = engine.dialect.trackingTable({ name: options.name, schema })
    this.createStatements = this.#table.createStatements
  }

  async insertTracking(tracking: Tracking): Promise<void> {
    checkTracking(tracking)
    if (this.#engine.transactions.current === undefined)
      this.#engine.checkOutside(`the position in ${tracking.applicationName}`)
    const key = this.#keyOf(tracking.applicationName)
    const { applicationName, notificationId } = tracking
    await runIn(this.#engine, 'write', `track notification ${notificationId} of ${applicationName}`, async (runner) => {
      if (await this.#table.advance(runner, { applicationName: key, notificationId })) return
      throw alreadyProcessed(tracking, await this.#table.lastPosition(runner, key))
    })
    const origins = originsOf.get(this.#engine) ?? new Map<string, TrackingOrigin>()
    originsOf.set(this.#engine, origins)
    noticeSharing(origins, `${this.#place} ${key}`, tracking)
  }

  async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return await this.#last('read', applicationName)
  }

  async hasTrackingId(applicationName: string, notificationId: bigint | null): Promise<boolean> {
    return isProcessed(logPosition(notificationId, 'notificationId'), await this.maxTrackingId(applicationName))
  }

  async wait(applicationName: string, awaited: bigint | null, options?: WaitOptions): Promise<void> {
    const notificationId = logPosition(awaited, 'notificationId')
    if (notificationId === null) return
    const { current } = this.#engine.transactions
    // What this transaction has stored itself is not seen from outside of it.
    const isBegun = current !== undefined && current.session.begun
    if (isBegun && (await this.hasTrackingId(applicationName, notificationId))) return
    const readLast = (): Promise<bigint | null> => this.#last('outside', applicationName)
    await waitUntilProcessed(readLast, { applicationName, notificationId }, options)
  }

  async #last(place: 'read' | 'outside', applicationName: string): Promise<bigint | null> {
    return await runIn(this.#engine, place, `read how far ${applicationName} was processed`, (runner) =>
      this.#table.lastPosition(runner, this.#keyOf(applicationName)),
    )
  }

  #keyOf(applicationName: string): string {
    return `${this.#prefix}${applicationName}`
  }
}

function prefixOf(reader: string | undefined): string {
  if (reader === undefined) return ''
  if (/^[\w.-]{1,100}$/.test(reader)) return `${reader}@`
  throw new ProgrammingError(
    `Could not make a tracking recorder for the reader '${reader}': its name has 1 to 100 letters, digits, '_', '-' and '.'.`,
  )
}

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

/** Which tables a process recorder uses. */
export interface ProcessRecorderOptions extends RecorderOptions, TrackingOptions {}

/** A `ProcessRecorder` on a datastore. */
export class PrismaProcessRecorder<Client extends object = object>
  extends PrismaApplicationRecorder<Client>
  implements ProcessRecorder
{
  readonly #positions: TrackingPositions

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the name of a table is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: ProcessRecorderOptions = {}) {
    super(datastore, options)
    const { trackingTable = 'notification_tracking', schema, reader } = options
    this.#positions = new TrackingPositions(this.engine, { name: trackingTable, schema, reader })
  }

  override async insertEvents(events: readonly StoredEvent[], options: ProcessEventsOptions = {}): Promise<bigint[]> {
    const { tracking } = options
    if (tracking === undefined) return await super.insertEvents(events)
    // In a scope of its own: where one of the two fails, the other is undone, and the transaction around them goes on.
    const work = async (): Promise<bigint[]> => {
      await this.#positions.insertTracking(tracking)
      return await super.insertEvents(events)
    }
    return await this.datastore.transaction(work, { propagation: 'nested' })
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

  override async createTable(): Promise<void> {
    await super.createTable()
    await createTables(this.engine, this.#positions.createStatements)
  }
}
