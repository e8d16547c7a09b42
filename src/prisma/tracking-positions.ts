/** The tracking positions in one table, for the recorders that keep them. */
import { ProgrammingError } from '../errors.js'
import { logPosition } from '../persistence/positions.js'
import type { TrackingRecorder, WaitOptions } from '../persistence/recorder.js'
import type { Tracking } from '../persistence/stored-event.js'
import {
  alreadyProcessed,
  checkTracking,
  isProcessed,
  noticeSharing,
  type TrackingOrigin,
  waitUntilProcessed,
} from '../persistence/tracking.js'
import type { TrackingTable } from './dialect.js'
import type { Engine } from './engine.js'
import { runIn } from './tables.js'

/** Which positions of which table. */
export interface TrackingPositionsOptions {
  readonly name: string
  readonly schema: string | undefined
  readonly reader: string | undefined
}

/** The subscriptions that have stored positions, by table and key: recorders of one datastore know of each other. */
const originsOf = new WeakMap<Engine, Map<string, TrackingOrigin>>()

/** Works in the current transaction; outside of one, each call is stored by itself. */
export class TrackingPositions implements TrackingRecorder {
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
    if (this.#engine.currentScope === undefined)
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
    const { currentScope } = this.#engine
    // What this transaction has stored itself is not seen from outside of it.
    const isBegun = currentScope !== undefined && currentScope.session.begun
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
