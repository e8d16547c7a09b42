/** What the recordings of a lane tell: which of its events were written, and their notification ids. */
import { expect } from 'vitest'
import type { Recording } from '../../src/persistence/event-store.js'
import type { ModelDatabase, ModelEvent } from './model.js'
import type { Run } from './world.js'

/** The recordings of all saves of one lane, and the ids of its inserts. */
export class Recordings {
  readonly #run: Run
  readonly #database: ModelDatabase
  readonly #labels = new Set<string>()
  readonly #recordings: Recording[] = []

  constructor(run: Run, database: ModelDatabase) {
    this.#run = run
    this.#database = database
  }

  /** Keeps those of a save, which may get their notifications later. */
  add(recordings: readonly Recording[]): void {
    this.#recordings.push(...recordings)
  }

  /** Keeps what an insert has told. */
  tell(events: readonly ModelEvent[], ids: readonly bigint[]): void {
    expect(ids, 'one id for each event').toHaveLength(events.length)
    for (const [at, { label }] of events.entries()) this.#keep(label, ids[at])
  }

  /** Keeps what the recordings tell by now. */
  note(): void {
    for (const { event, notification } of this.#recordings) this.#keep(event.topic, notification?.id)
  }

  /** Recordings have their notifications from the flush on, and not before. */
  check(): void {
    this.note()
    const written = [...this.#database.written]
    expect([...this.#labels].toSorted(), 'the recordings that have a notification').toEqual(written.toSorted())
  }

  /** After the database has ended a transaction: how much of its last flush had been written only the recordings tell. */
  believe(): void {
    this.note()
    for (const label of this.#labels) this.#database.written.add(label)
  }

  #keep(label: string, id: bigint | undefined): void {
    if (id === undefined) return
    this.#labels.add(label)
    this.#run.ids.set(label, id)
  }
}
