/** When snapshots of an originator are taken, and which of them are good. */
import { inspect } from 'node:util'
import { anything, checkOptions, type OptionTypesOf } from '../checked-options.js'
import { assertPlainFunction } from './event-definition.js'
import type { Upcast } from './event-shapes.js'

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

/** Their types are checked one by one, as they are of more than a type. */
const optionTypes: OptionTypesOf<SnapshotPolicy> = {
  every: anything,
  when: anything,
  keep: anything,
  revision: { says: 'a number', fits: (value) => typeof value === 'number' },
  upcasts: anything,
}

/**
 * Checks a policy where it is first used.
 *
 * @param label - what it is, such as `Dog.snapshots`
 * @throws `TypeError` for what is no policy, `ProgrammingError` for members that a policy does not have
 */
export function checkSnapshotPolicy(policy: unknown, label: string): void {
  if (policy === undefined) return
  if (typeof policy !== 'object' || policy === null) throw new TypeError(`${label} must be an object`)
  checkOptions(`use ${label}`, policy, optionTypes)
  const { every, keep, when, upcasts }: Readonly<Record<string, unknown>> = { ...policy }
  for (const [name, count] of Object.entries({ every, keep })) {
    if (count === undefined || (typeof count === 'number' && Number.isSafeInteger(count) && count >= 1)) continue
    throw new TypeError(`${label}.${name} must be a whole number from 1, not ${inspect(count)}`)
  }
  if (when !== undefined) assertPlainFunction(when, `${label}.when`)
  if (upcasts === undefined) return
  if (!Array.isArray(upcasts)) throw new TypeError(`${label}.upcasts must be a list of functions`)
  for (const [index, step] of upcasts.entries()) assertPlainFunction(step, `${label}.upcasts[${index}]`)
}

/** The versions at which a save takes snapshots, in order. */
export function snapshotsDue({ every, when }: SnapshotPolicy, { before, after }: SavedVersions): number[] {
  const due = new Set<number>()
  if (every !== undefined)
    for (let version = before - (before % every) + every; version <= after; version += every) due.add(version)
  if (after > before && when?.({ before, after }) === true) due.add(after)
  return [...due].sort((a, b) => a - b)
}
