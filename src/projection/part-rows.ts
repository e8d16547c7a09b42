/** What the rows say of a part: whether it may run, and whether its name and number of parts are its own. */
import { ProgrammingError } from '../errors.js'
import {
  type ProjectionKey,
  type ProjectionRecorder,
  type ProjectionRow,
  reactionVersion,
} from '../persistence/projection-recorder.js'
import type { Projection } from './projection.js'

/** What a part is doing in this process: `waiting` where another process has the lease. */
export type PartState = 'stopped' | 'running' | 'waiting' | 'paused' | 'blocked' | 'superseded'

/** What a part knows of itself when it looks at the rows. */
export interface RowsOfPart {
  readonly key: ProjectionKey
  readonly row: ProjectionRow | undefined
  /** The rows of all versions. */
  readonly versions: readonly ProjectionRow[]
  /** Whether rows of former versions are to be deleted first. */
  readonly emptiesFirst: boolean
  /** Whether it is to be tried although it is blocked. */
  readonly isTriedAgain: boolean
}

/** Why it may not run now. */
export function hindranceOf({ key, row, versions, emptiesFirst, isTriedAgain }: RowsOfPart): PartState | undefined {
  if (row?.wanted === 'paused') return 'paused'
  // The rows of former versions are deleted by one part, before the others begin.
  const isFirstEmptied = versions.some((each) => isFirst(each, key) && each.position > 0n)
  if (emptiesFirst && key.partition > 0 && !isFirstEmptied) return 'waiting'
  if (row?.status === 'blocked' && !isTriedAgain) return 'blocked'
  return row?.isLeased === true ? 'waiting' : undefined
}

/** Whose parts are looked at. */
export interface DividedHost {
  readonly key: ProjectionKey
  readonly recorder: ProjectionRecorder
  readonly projection: Projection
}

/**
 * Sees to the number of parts.
 *
 * @throws `ProgrammingError` where positions are kept for another number of parts, and the projection is not paused and level
 */
export async function isDividedAnew(
  { key, recorder, projection }: DividedHost,
  versions: readonly ProjectionRow[],
): Promise<boolean> {
  const isOther = (row: ProjectionRow): boolean =>
    row.version === key.version && row.upstream === key.upstream && row.partitions !== projection.partitions
  const other = versions.find(isOther)
  if (other === undefined) return false
  if (await recorder.repartition(key, projection.partitions)) return true
  throw otherPartitions(other, projection.partitions)
}

/** @throws `ProgrammingError` where the name is that of a projection and of a reaction */
export function assertOneKind(rows: readonly ProjectionRow[], { name, version }: ProjectionKey): void {
  const isOfOtherKind = (row: ProjectionRow): boolean =>
    (row.version === reactionVersion) !== (version === reactionVersion)
  if (!rows.some(isOfOtherKind)) return
  const [own, other] = version === reactionVersion ? ['reaction', 'projection'] : ['projection', 'reaction']
  throw new ProgrammingError(
    `Could not run the ${own} '${name}': positions are kept under that name for a ${other}. Give it another name.`,
  )
}

/** Whether a row is that of a part. */
export function isSame(row: ProjectionRow, key: ProjectionKey): boolean {
  return row.version === key.version && row.upstream === key.upstream && row.partition === key.partition
}

function isFirst(row: ProjectionRow, key: ProjectionKey): boolean {
  return row.version === key.version && row.upstream === key.upstream && row.partition === 0
}

function otherPartitions(row: ProjectionRow, partitions: number): ProgrammingError {
  return new ProgrammingError(
    `Could not run projection ${row.name} in ${partitions} partitions: its positions are kept in ${row.partitions}. ` +
      'Let it come to the end of the log, pause it, and begin again; or give it a greater version, so that it is built anew.',
  )
}
