/** Keeps which messages were processed in a table of the Prisma schema. */
import type { InboxMessage, InboxRecorder } from '../persistence/inbox-recorder.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import type { InboxTable, TrackingTable } from './dialect.js'
import { createTables, type Engine, engineOf, runIn } from './engine.js'

/** Which tables an inbox uses. */
export interface InboxRecorderOptions {
  /** The table of messages. */
  readonly inboxTable: string
  /** The table of positions, for sources that come in order. */
  readonly trackingTable: string
  /** The schema that the tables are in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** How many rows one statement deletes. */
const partSize = 1_000

/** An `InboxRecorder` on a datastore. */
export class PrismaInboxRecorder implements InboxRecorder {
  readonly #datastore: RecorderDatastore<object>
  readonly #engine: Engine
  readonly #table: InboxTable
  readonly #tracking: TrackingTable

  constructor(datastore: RecorderDatastore<object>, { inboxTable, trackingTable, schema }: InboxRecorderOptions) {
    this.#datastore = datastore
    this.#engine = engineOf(datastore)
    const place = schema ?? this.#engine.schema
    this.#table = this.#engine.dialect.inboxTable({ name: inboxTable, schema: place })
    this.#tracking = this.#engine.dialect.trackingTable({ name: trackingTable, schema: place })
  }

  async createTable(): Promise<void> {
    await createTables(this.#engine, [...this.#table.createStatements, ...this.#tracking.createStatements])
  }

  async once({ source, id }: InboxMessage, work: () => Promise<unknown>): Promise<boolean> {
    return await this.#together(
      `message ${id} of ${source}`,
      work,
      async (attempted) =>
        await runIn(this.#engine, 'write', attempted, (runner) => this.#table.insert(runner, source, id)),
    )
  }

  /** Under the name of a reader, as those of the application have one: it may follow the same log by itself, too. */
  async inOrder(source: string, position: bigint, work: () => Promise<unknown>): Promise<boolean> {
    return await this.#together(
      `message ${position} of ${source}`,
      work,
      async (attempted) =>
        await runIn(this.#engine, 'write', attempted, (runner) =>
          this.#tracking.advance(runner, { applicationName: `inbox@${source}`, notificationId: position }),
        ),
    )
  }

  async sweep(olderThanMs: number): Promise<number> {
    let count = 0
    for (;;) {
      const deleted = await runIn(this.#engine, 'together', 'delete old messages from the inbox', (runner) =>
        this.#table.deleteOlder(runner, olderThanMs, partSize),
      )
      count += deleted
      if (deleted < partSize) return count
    }
  }

  /** The note of a message comes first: who brings it a second time waits for that. */
  async #together(
    message: string,
    work: () => Promise<unknown>,
    note: (attempted: string) => Promise<boolean>,
  ): Promise<boolean> {
    return await this.#datastore.transaction(
      async () => {
        if (!(await note(`take ${message} into the inbox`))) return false
        await work()
        return true
      },
      { label: message },
    )
  }
}
