/** When snapshots of an originator are taken, and which of them are good. */
import type { Upcast } from './upcasting.js'

/** The versions before and after a save. */
export interface SavedVersions {
  /** The version that the save has built on. */
  readonly before: number
  /** The version that it has led to. */
  readonly after: number
}

/** For a class of aggregates, or a decider. An empty policy is for snapshots that are taken by hand. */
export interface SnapshotPolicy {
  /** After so many events, counted by version: at 100, 200, …; default never by itself. */
  readonly every?: number
  /** Whether a save takes one, of the version after it. */
  readonly when?: (versions: SavedVersions) => boolean
  /** How many of one originator to keep, the newest; default all. */
  readonly keep?: number
  /** Change it when events mean something else now: snapshots with another revision are passed over. */
  readonly revision?: number
  /** When the fields of the state have changed: functions that turn a state of version 1 into that of version 2, and so on. */
  readonly upcasts?: readonly Upcast[]
}

/** The versions at which a save takes snapshots, in order. @throws `TypeError` for an interval that is none */
export function snapshotsDue(policy: SnapshotPolicy, { before, after }: SavedVersions): number[] {
  const { every, when } = policy
  const due = new Set<number>()
  if (every !== undefined) {
    if (!Number.isSafeInteger(every) || every < 1) {
      throw new TypeError(`Cannot take a snapshot every ${every} events: give a whole number from 1`)
    }
    for (let version = before - (before % every) + every; version <= after; version += every) due.add(version)
  }
  if (after > before && when?.({ before, after }) === true) due.add(after)
  return [...due].sort((a, b) => a - b)
}
