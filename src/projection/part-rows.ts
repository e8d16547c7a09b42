/** What the rows say of a part: whether it may run, and whether its name and number of parts are its own. */
import { IntegrityError, ProgrammingError } from '../errors.js'
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
  // Only an event is tried again by whoever starts: what else blocks it needs somebody who looks at it.
  if (row?.status === 'blocked' && (!isTriedAgain || row.failedPosition === undefined)) return 'blocked'
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

/** @throws `ProgrammingError` where a greater version would write once more beside what those before it have written */
export function assertEmptiable(
  { projection, key }: Pick<DividedHost, 'projection' | 'key'>,
  former: readonly ProjectionRow[],
  row: ProjectionRow | undefined,
): void {
  const isNew = former.length > 0 && (row?.position ?? 0n) === 0n
  if (!isNew || projection.empty !== undefined || projection.reaction !== undefined) return
  throw new ProgrammingError(
    `Could not begin version ${key.version} of projection '${key.name}': what version ${former[0]?.version} has written is there, and would be ` +
      'written again. Name the models that it writes, in `models`: they are emptied first. `models: []` says that there is nothing to empty.',
  )
}

/** Tells that a version does nothing any more, since a greater one is there. */
export function warnOfGreater({ name, version }: ProjectionKey, greater: number): void {
  process.emitWarning(
    `Version ${version} of projection ${name} does nothing any more: version ${greater} has taken over, and the rows are its. End this process; ` +
      `or, to go back to the code of version ${version}, give that a version greater than ${greater}.`,
    { code: 'ES_PROJECTION_SUPERSEDED' },
  )
}

/** The error of a part whose row somebody has deleted while it ran. @param position - where it was, as far as this process knows */
export function deletedRow({ name, reaction }: Projection, position: bigint | undefined): IntegrityError {
  const command = 'npx eventsourcing-prisma projections'
  const where = position === undefined ? '' : `, such as ${position}`
  return reaction === undefined
    ? new IntegrityError(
        `Could not go on with projection ${name}: the row with its position was deleted while it ran, and its events would be handled once more ` +
          `beside the rows that are there. Build them anew: ${command} rebuild <module> ${name}; or delete them, and: ${command} retry ${name}.`,
      )
    : new IntegrityError(
        `Could not go on with reaction ${name}: the row with its position was deleted while it ran. A new one is at the place where a new reaction ` +
          `begins: set it to where it was${where}, by SQL, and: ${command} retry ${name}.`,
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
