/** Compares what writers and followers were told with what is stored. */
import { expect } from 'vitest'
import type { Notification } from '../../src/index.js'
import type { TestDatabase } from '../support/databases.js'
import type { Batch, Companion, Writer } from './writer.js'

/** An event as an observer sees it. */
export interface Stored {
  readonly id: string
  readonly originatorId: string
  readonly originatorVersion: number
  readonly batch: string
}

/** All events, in the order of the log, as a connection sees them that has nothing to do with the library. */
export async function storedEvents(database: TestDatabase): Promise<Stored[]> {
  const rows = await database.query(
    'SELECT id, originator_id, originator_version, state FROM stored_events ORDER BY id',
  )
  return rows.map((row) => ({
    id: String(row['id']),
    originatorId: String(row['originator_id']),
    originatorVersion: Number(row['originator_version']),
    batch: String(row['state']),
  }))
}

/** Each event that is stored was delivered once, in the order of the log. */
export function assertDelivered(delivered: readonly Notification[], stored: readonly Stored[], told: string): void {
  const seen = delivered.map(({ id, originatorId, originatorVersion, state }) => ({
    id: String(id),
    originatorId,
    originatorVersion,
    batch: new TextDecoder().decode(state),
  }))
  expect(seen, told).toEqual(stored)
}

/** What was acknowledged is there under the ids that were told, what was refused is not, of what is unknown there is all or nothing. */
export function assertAllOrNothing(batches: readonly Batch[], stored: readonly Stored[], told: string): void {
  const storedIds = new Map<string, string[]>()
  for (const { batch, id } of stored) storedIds.set(batch, [...(storedIds.get(batch) ?? []), id])
  const wrong = batches.filter(({ name, events, outcome, ids }) => {
    const found = storedIds.get(name) ?? []
    const isWhole = found.length === events.length
    if (outcome === 'acknowledged') return !isWhole || (ids !== undefined && ids.join() !== found.join())
    return outcome === 'unknown' ? !isWhole && found.length > 0 : found.length > 0
  })
  expect(wrong, told).toEqual([])
}

/** In the order of the log, each stream has its versions from 1 without a gap. */
export function assertInOrder(stored: readonly Stored[], told: string): void {
  const lasts = new Map<string, number>()
  for (const { originatorId, originatorVersion } of stored) {
    expect(originatorVersion, told).toBe((lasts.get(originatorId) ?? 0) + 1)
    lasts.set(originatorId, originatorVersion)
  }
}

/** The user's rows, and the tracking, are those of the batches that are stored. */
export async function assertCompanions(
  writers: readonly Writer[],
  stored: readonly Stored[],
  { database, told }: { readonly database: TestDatabase; readonly told: string },
): Promise<void> {
  const names = new Set(stored.map(({ batch }) => batch))
  const storedWith = (companion: Companion): string[] =>
    writers
      .filter((writer) => writer.companion === companion)
      .flatMap(({ batches }) => batches.map(({ name }) => name).filter((name) => names.has(name)))
  const rows = await database.query('SELECT dog FROM owners')
  expect(rows.map((row) => String(row['dog'])).sort(), told).toEqual(storedWith('row').sort())
  const tracked = await database.query('SELECT application_name FROM notification_tracking')
  const trackedNames = tracked.map((row) => String(row['application_name']))
  expect(trackedNames.sort(), told).toEqual(storedWith('tracking').sort())
}

/** How many batches had which outcome. */
export function summary(batches: readonly Batch[]): string {
  const count = (outcome: string): number => batches.filter((batch) => batch.outcome === outcome).length
  return `${count('acknowledged')} batches acknowledged, ${count('refused')} refused, ${count('unknown')} unknown`
}
