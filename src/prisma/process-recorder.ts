/** Stores the events of an application together with how far it has processed the logs that they were made from. */
import type { ProcessEventsOptions, ProcessRecorder, WaitOptions } from '../persistence/recorder.js'
import type { StoredEvent, Tracking } from '../persistence/stored-event.js'
import type { RecorderDatastore, RecorderOptions } from './aggregate-recorder.js'
import { PrismaApplicationRecorder } from './application-recorder.js'
import { createTables } from './tables.js'
import { TrackingPositions } from './tracking-positions.js'
import type { TrackingOptions } from './tracking-recorder.js'

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
