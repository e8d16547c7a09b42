/** A writer that goes on whatever happens to the database, and keeps account of what it was told. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  CommitUnknownError,
  isEventSourcingError,
  NAMESPACE_URL,
  OperationalError,
  type PrismaDatastore,
  PrismaProcessRecorder,
  type StoredEvent,
  uuid5,
} from '../../src/index.js'
import type { TestClient } from '../prisma/open-database.js'
import { randomNumbers } from './random-numbers.js'

/** How a writer stores its events: alone, with a row of the user's, or with the tracking of another log. */
export type Companion = 'nothing' | 'row' | 'tracking'

/** What became of a batch as far as its writer was told. */
export type Outcome = 'pending' | 'acknowledged' | 'refused' | 'unknown'

/** Events that are to be stored together or not at all. */
export interface Batch {
  /** In the state of each of its events, and in the row or the tracking that goes with them. */
  readonly name: string
  readonly events: readonly StoredEvent[]
  outcome: Outcome
  /** The notification ids that were told, where the way of storing tells them. */
  ids?: readonly bigint[]
}

const longestPauseMs = 20
const mostEvents = 3

/** Appends batch after batch to a stream of its own. */
export class Writer {
  readonly companion: Companion
  readonly name: string
  readonly batches: Batch[] = []
  /** The first error that a writer must never see. */
  failure: unknown
  /** How often it was told that something could not be done. */
  refusals = 0
  readonly #datastore: PrismaDatastore<TestClient>
  readonly #recorder: PrismaProcessRecorder<TestClient>
  readonly #originatorId: string
  readonly #random: () => number
  readonly #running: Promise<void>
  #version = 0
  #isStopped = false

  constructor(datastore: PrismaDatastore<TestClient>, options: { number: number; companion: Companion; seed: number }) {
    const { number, companion, seed } = options
    this.companion = companion
    this.name = `writer ${number}`
    this.#datastore = datastore
    this.#recorder = new PrismaProcessRecorder(datastore)
    this.#originatorId = uuid5(NAMESPACE_URL, `/writers/${number}`)
    this.#random = randomNumbers(seed + number)
    this.#running = this.#run().catch((error: unknown) => {
      this.failure = error
    })
  }

  /** How many of its batches had this outcome. */
  count(outcome: Outcome): number {
    return this.batches.filter((batch) => batch.outcome === outcome).length
  }

  /** Waits for what is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      const batch = this.#nextBatch()
      this.batches.push(batch)
      try {
        await this.#write(batch)
        batch.outcome = 'acknowledged'
        this.#version += batch.events.length
      } catch (error) {
        if (!this.#isOfModelCall(error)) assertPasses(error)
        this.refusals += 1
        batch.outcome = error instanceof CommitUnknownError ? 'unknown' : 'refused'
        if (batch.outcome === 'unknown') await this.#look()
      }
      await delay(this.#random() * longestPauseMs)
    }
  }

  #nextBatch(): Batch {
    const name = `${this.name}, batch ${this.batches.length + 1}`
    const state = new TextEncoder().encode(name)
    const events = Array.from({ length: 1 + Math.floor(this.#random() * mostEvents) }, (_, index) => ({
      originatorId: this.#originatorId,
      originatorVersion: this.#version + index + 1,
      topic: 'Written',
      state,
    }))
    return { name, events, outcome: 'pending' }
  }

  async #write(batch: Batch): Promise<void> {
    const { name, events } = batch
    if (this.companion === 'nothing') batch.ids = await this.#recorder.insertEvents(events)
    else if (this.companion === 'tracking') {
      // A row for each batch, so that one which is stored without its events shows for good.
      const tracking = { applicationName: name, notificationId: 1n }
      batch.ids = await this.#recorder.insertEvents(events, { tracking })
    } else {
      await this.#datastore.transaction(async () => {
        await this.#recorder.appendEvents(events)
        await this.#datastore.client.owner.create({ data: { name: this.name, dog: name } })
      })
    }
  }

  /** Errors of the user's own Prisma calls stay Prisma's; the transaction is undone like after any other. */
  #isOfModelCall(error: unknown): boolean {
    return this.companion === 'row' && error instanceof Error && 'clientVersion' in error
  }

  /** Looks how far its stream goes, until the database answers. */
  async #look(): Promise<void> {
    for (;;) {
      try {
        const [last] = await this.#recorder.selectEvents(this.#originatorId, { desc: true, limit: 1 })
        this.#version = last?.originatorVersion ?? 0
        return
      } catch (error) {
        assertPasses(error)
        this.refusals += 1
        await delay(this.#random() * longestPauseMs)
      }
    }
  }
}

/** Throws on what a caller cannot handle: neither a failure that may pass, nor the one that tells to look. */
function assertPasses(error: unknown): void {
  if (!isEventSourcingError(error)) throw error
  if (error instanceof CommitUnknownError || (error instanceof OperationalError && error.retryable)) return
  throw error
}
