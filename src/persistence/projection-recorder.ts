/** The port of what keeps how far projections have come, who runs them, and which events they have put aside. */
import { BeyondLogEndError, LeaseLostError, ProgrammingError } from '../errors.js'

/** One part of one version of a projection: what one runner at a time works on. */
export interface ProjectionKey {
  /** The projection's. */
  readonly name: string
  /** From 1; 0 for a reaction. */
  readonly version: number
  /** The application whose log is read. */
  readonly upstream: string
  /** From 0. */
  readonly partition: number
}

/** The version of every reaction: it is never built anew, so that it has no other. */
export const reactionVersion = 0

/** What the right to work on a part comes with. */
export interface ProjectionLease {
  /** The position that was processed last; 0 for none. */
  readonly position: bigint
  /** Greater each time that somebody takes the lease: who has an older one can change nothing. */
  readonly epoch: bigint
}

/** What somebody wants of a projection. */
export type ProjectionWanted = 'running' | 'paused'

/** What a projection is doing: `building` until it has come to the end of the log for the first time. */
export type ProjectionStatus = 'building' | 'live' | 'paused' | 'blocked' | 'superseded'

/** A part of a projection, with the state of the whole. */
export interface ProjectionRow extends ProjectionKey {
  /** How many parts there are. */
  readonly partitions: number
  /** The last position that was processed; 0 for none. */
  readonly position: bigint
  /** Who has the lease, or had it last. */
  readonly owner: string | undefined
  /** Whether the lease is in force, by the database's clock. */
  readonly isLeased: boolean
  /** When the lease ends or has ended, by the database's clock; undefined where nobody has it. */
  readonly leasedUntil: Date | undefined
  /** What somebody wants of it. */
  readonly wanted: ProjectionWanted
  /** What it is doing. */
  readonly status: ProjectionStatus
  /** The position that a rebuild has to reach. */
  readonly target: bigint | undefined
  /** Why it is in this status. */
  readonly reason: string | undefined
  /** The event that blocks it; undefined also for one that is blocked by no event, which a runner that starts does not try again. */
  readonly failedPosition: bigint | undefined
}

/** A part, as far as it is compared with the end of its log. */
type LoggedPart = Pick<ProjectionRow, 'name' | 'version' | 'upstream' | 'position'>

/** Whether the log does not have a part's position. @param end - the last position that the log has given out */
export function isBeyondEnd({ position, status }: Pick<ProjectionRow, 'position' | 'status'>, end: bigint): boolean {
  return status !== 'superseded' && position > end
}

/** What is wrong with such a part. */
export function beyondEndText({ upstream, position }: LoggedPart, end: bigint): string {
  return (
    `it is at position ${position}, and the log of ${upstream || 'the application'} ends at ${end}: that was restored, emptied or replaced, ` +
    `and new events up to ${position} would be passed over`
  )
}

/** What to do about such a part. */
export function beyondEndCure({ name, version }: LoggedPart, end: bigint): string {
  const again =
    version === reactionVersion
      ? `set it back to the last event that both logs have, such as npx eventsourcing-prisma projections rewind ${name} ${end}`
      : `build its rows anew: npx eventsourcing-prisma projections rebuild <module> ${name}`
  return `Restore all tables from one backup, and retry; or ${again}.`
}

/** The error of such a part. */
export function beyondLogEnd(part: LoggedPart, end: bigint): BeyondLogEndError {
  const what = part.version === reactionVersion ? 'reaction' : 'projection'
  return new BeyondLogEndError(
    `Could not go on with ${what} ${part.name}: ${beyondEndText(part, end)}. ${beyondEndCure(part, end)}`,
    { position: part.position, end },
  )
}

/** What is to change in the state of a projection; null empties a column. */
export interface ProjectionStateChange {
  /** Whether it is to run; unchanged by default, as are the others. */
  readonly wanted?: ProjectionWanted
  /** What it is doing. */
  readonly status?: ProjectionStatus
  /** The position up to which it is being built; null once it is. */
  readonly target?: bigint | null
  /** Why it is blocked, in words; null where it is not. */
  readonly reason?: string | null
  /** The position of the event that blocks it; null where none does. */
  readonly failedPosition?: bigint | null
}

/** How a position is to move on. */
export interface ProjectionMove {
  /** Of the lease, as it was when that was taken: another one means that somebody else has taken it. */
  readonly epoch: bigint
  /** Where it is. */
  readonly from: bigint
  /** Where it is to be. */
  readonly to: bigint
  /** For so long the lease is in force from now on. */
  readonly leaseMs: number
  /** Milliseconds until the batch is rolled back. */
  readonly deadlineMs: number
}

/** Rows of one model that exist, and are to be changed in the same fields. */
export interface ProjectedRowChanges {
  /** How many fields change. */
  readonly fields: number
  /** Changes the first of the rows, by its unique field. */
  readonly updateFirst: () => PromiseLike<unknown>
  /** Inserts all rows. */
  readonly insertAll: () => PromiseLike<unknown>
}

/** Changes rows by as few statements as there can be. @returns false where it has changed nothing, and they are to be changed one by one */
export type ChangeRows = (changes: ProjectedRowChanges) => Promise<boolean>

/** What the work of a batch is given. */
export interface ProjectionBatch<Client = unknown> {
  /** The database's client inside the batch's transaction. */
  readonly client: Client
  /** Lets the position stop before `to`, where the batch is to end early. */
  stopAt(position: bigint): Promise<void>
  /** Not there where rows are changed one by one. */
  readonly changeRows?: ChangeRows
}

/** An event that was put aside. */
export interface ParkedEvent {
  /** Its position in the log. */
  readonly notificationId: bigint
  /** Events with the same key wait behind it. */
  readonly key: string
  /** How often it was tried. */
  readonly attempts: number
  /** Why it failed the last time. */
  readonly error: string
  /** By the database's clock. */
  readonly parkedAt: Date
}

/** What a runner does by itself. */
export interface RunnerWork {
  /** Runs a part of it. */
  run<T>(fn: () => T): T
  /** Call it at the end of the work. */
  ended(): void
}

/** Keeps the positions, leases and states of the projections of one application. */
export interface ProjectionRecorder<Client = unknown> {
  /** Makes the tables; harmless where they exist. */
  createTable(): Promise<void>
  /**
   * Begins the work of a runner. Optional: without it a datastore that closes does not wait for runners.
   *
   * @param stop - ends that work; is called when the datastore is closed
   */
  beginWork?(stop: () => Promise<void>): RunnerWork | undefined
  /** All parts of all projections, with their states. Outside of the current transaction. */
  rows(): Promise<ProjectionRow[]>
  /** What somebody wants of a projection now; undefined where it has no state yet. Outside of the current transaction. */
  wanted(name: string, version: number): Promise<ProjectionWanted | undefined>
  /** Makes the rows of a part that has none. @param position - where it begins; default 0, the beginning of the log */
  add(key: ProjectionKey, partitions: number, position?: bigint): Promise<void>
  /**
   * Divides a projection into another number of parts, where it is paused and all its parts are at one position: whoever works on one of them
   * finds that out.
   *
   * @returns whether it is so divided now
   */
  repartition(projection: Omit<ProjectionKey, 'partition'>, partitions: number): Promise<boolean>
  /**
   * Takes the lease of a part where it is free or has run out, and no greater version is there.
   *
   * @param owner - tells this runner from all others
   * @returns undefined where somebody else has it
   */
  claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined>
  /** Takes the lease of a part from whoever has it; undefined where there is no such part, or a greater version. */
  seize(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined>
  /** Whether one transaction at a time can write. */
  readonly singleWriter: boolean
  /**
   * Keeps the leases of an owner on these projections in force.
   *
   * @param wanted - leaves those alone of which something else is wanted
   * @returns how many they are
   */
  renew(owner: string, names: readonly string[], leaseMs: number, wanted?: ProjectionWanted): Promise<number>
  /** Gives a lease up: anybody may take it at once. */
  release(key: ProjectionKey, epoch: bigint): Promise<void>
  /** Takes the leases of all lower versions of a projection away for good. */
  supersede(name: string, version: number): Promise<void>
  /**
   * Moves the position on, as the first statement of a transaction, and runs work in that: both are stored, or nothing.
   *
   * @throws `LeaseLostError` where somebody else has taken the lease; what `work` throws
   */
  batch(
    key: ProjectionKey,
    move: ProjectionMove,
    work: (batch: ProjectionBatch<Client>) => Promise<void>,
  ): Promise<void>
  /** Runs work in one transaction of its own. */
  together(deadlineMs: number, work: (client: Client) => Promise<void>): Promise<void>
  /** Runs work in a transaction beside which no batch of these parts runs. */
  beside(keys: readonly ProjectionKey[], work: () => Promise<void>): Promise<void>
  /**
   * Changes the state of a projection; in the current transaction where there is one. The status of one that is to rest stays `paused`, unless what
   * is wanted changes too, or it is blocked or superseded.
   */
  change(name: string, version: number, change: ProjectionStateChange): Promise<void>
  /** Sets a position back, or on, for a rebuild; in the current transaction where there is one. @returns false where the epoch is another */
  reposition(key: ProjectionKey, epoch: bigint, position: bigint): Promise<boolean>
  /** Puts an event aside, or counts a further attempt; in the current transaction where there is one. */
  park(name: string, version: number, event: Omit<ParkedEvent, 'parkedAt'>): Promise<void>
  /** The events that were put aside, in the order of the log. */
  parked(name: string, version: number): Promise<ParkedEvent[]>
  /**
   * Takes events back that were put aside; all of them without an id. In the current transaction where there is one.
   *
   * @returns how many they were
   */
  unpark(name: string, version: number, notificationId?: bigint): Promise<number>
  /**
   * Prepares tables beside those in use, for a rebuild; not there where rows are kept in one place alone. Nothing is made yet.
   *
   * @param models - of the projection, by their Prisma names, parents first
   * @throws `NotSupportedError` where this database, or the datastore, cannot have them; `ProgrammingError` for a model that there is not
   */
  shadow?(projection: string, models: readonly string[]): Promise<ProjectionShadow>
  /**
   * Runs work outside of any transaction, and waits for the calls of the database in it that nobody has awaited; without it nobody waits.
   *
   * @param title - what the work is called in messages
   * @throws what the work throws; where they are refused, for calls that were not awaited
   */
  attended?(title: string, work: () => Promise<void>): Promise<void>
  /** Whether the work that has failed so may succeed when it is repeated. */
  mayPass(error: unknown): boolean
}

/** How a shadow is opened. */
export interface OpenShadowOptions {
  /** Tells this runner from all others. */
  readonly owner: string
  readonly leaseMs: number
  /** Whether to go on with what a rebuild has left that was cancelled or has crashed. */
  readonly resumes: boolean
}

/** Tables like those of one projection, with positions and leases of their own. */
export interface ProjectionShadow {
  /** The schema or database that they are in. */
  readonly name: string
  /** Keeps how far the rows in it have come. */
  readonly recorder: ProjectionRecorder
  /**
   * Makes the tables anew, or takes those over that are there.
   *
   * @throws `LeaseLostError` where another rebuild works in it; `NotSupportedError` where the models cannot have a shadow
   */
  open(key: ProjectionKey, options: OpenShadowOptions): Promise<ProjectionLease>
  /** Runs work whose calls of the user's client go to these tables. */
  within<T>(work: () => Promise<T>): Promise<T>
  /** Puts its rows in the place of those in use, in the current transaction. */
  replaceRows(): Promise<void>
  /** Removes the tables; harmless where there are none. */
  drop(): Promise<void>
  /** Ends the client; the tables stay. */
  close(): Promise<void>
}

/**
 * @param parts - the rows of one version
 * @param end - the end of the log: what it has to reach where it was being built
 */
export async function pauseProjection(
  recorder: ProjectionRecorder,
  [first]: readonly ProjectionRow[],
  end: bigint,
): Promise<void> {
  if (first === undefined) return
  const { name, version, status, target } = first
  // The target of a reaction says that it was set back, and how far it had come.
  const isUnfinished = status === 'building' && target === undefined && version !== reactionVersion
  const unfinished = isUnfinished ? { target: end } : {}
  await recorder.change(name, version, { wanted: 'paused', status: 'paused', ...unfinished })
}

/** @param parts - the rows of one version */
export async function resumeProjection(recorder: ProjectionRecorder, [first]: readonly ProjectionRow[]): Promise<void> {
  if (first === undefined || first.wanted === 'running') return
  const { name, version, reason, failedPosition, target } = first
  const isBlocked = failedPosition !== undefined || reason !== undefined
  const status = isBlocked ? 'blocked' : target === undefined ? 'live' : 'building'
  await recorder.change(name, version, { wanted: 'running', status })
}

/** So long whoever sets a position back has the lease. */
const rewindLeaseMs = 15_000

/**
 * Sets a reaction back: whoever runs it handles the events behind the position again. It takes the lease from that one, who begins anew
 * from there.
 *
 * @param parts - the rows of the reaction
 * @param position - where it is to go on behind; not beyond where it is
 * @returns how far it had come
 * @throws `ProgrammingError` for a projection, and for a position beyond; `LeaseLostError` where the row has gone
 */
export async function rewindReaction(
  recorder: ProjectionRecorder,
  parts: readonly ProjectionRow[],
  { position, owner }: { readonly position: bigint; readonly owner: string },
): Promise<bigint> {
  const [first] = parts
  if (first === undefined || first.version !== reactionVersion) {
    const name = first?.name ?? ''
    throw new ProgrammingError(
      `Could not rewind ${name}: it is a projection, not a relay or reaction. Build its rows anew: npx eventsourcing-prisma projections rebuild.`,
    )
  }
  const { name, version, target } = first
  let furthest = target ?? 0n
  for (const part of parts) {
    const lease = await recorder.seize(part, owner, rewindLeaseMs)
    if (lease === undefined) throw new LeaseLostError(`Could not rewind ${name}: its row is gone.`)
    try {
      if (position < 0n || position > lease.position) {
        throw new ProgrammingError(
          `Could not rewind ${name} to ${position}: it is at ${lease.position}. Give a position from 0 to that.`,
        )
      }
      await recorder.reposition(part, lease.epoch, position)
      if (lease.position > furthest) furthest = lease.position
    } finally {
      await recorder.release(part, lease.epoch)
    }
  }
  const isPaused = first.wanted === 'paused'
  await recorder.change(name, version, {
    target: furthest,
    reason: null,
    failedPosition: null,
    ...(isPaused ? {} : { status: 'building' }),
  })
  return furthest
}
