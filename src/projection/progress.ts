/** How far projections have come in this process, and what has been done for that. */
import type { PartState } from './part-rows.js'
import type { Projection } from './projection.js'
import type { ProjectionPart } from './projection-part.js'

/** How far one projection has come. */
export interface ProjectionProgress {
  /** The version that this process runs. */
  readonly version: number
  /** What it is doing in this process; `waiting` where another one has it. */
  readonly state: PartState
  /** The last position that was processed, as far as this process knows: the least of its parts. */
  readonly position: bigint | undefined
  /** How many batches this process has committed since the runner was made. */
  readonly batches: number
  /** How many events were in them. */
  readonly events: number
  /** How often it has tried something again. */
  readonly retries: number
  /** How many events it has put aside. */
  readonly parked: number
  /** How many timers it has handled, and put aside; not there for what handles none. */
  readonly timers?: {
    /** Those that are handled. */
    readonly fired: number
    /** Those that are put aside. */
    readonly parked: number
  }
}

/** What a runner has done, by projection. */
export type ProjectionRunnerStats = Readonly<Record<string, ProjectionProgress>>

/** A projection that runs, with its parts. */
export interface RunningProjection {
  readonly projection: Projection
  readonly parts: readonly ProjectionPart[]
}

/** Adds the parts up. */
export function progressOf({ projection, parts }: RunningProjection): ProjectionProgress {
  const sum = (count: 'batches' | 'events' | 'retries' | 'parked'): number =>
    parts.reduce((total, part) => total + part.counts[count], 0)
  const positions = parts.map(({ position }) => position)
  const known = positions.filter((position) => position !== undefined)
  return {
    version: projection.version,
    state: parts.find(({ state }) => state !== 'running')?.state ?? 'running',
    position: known.length < parts.length ? undefined : known.reduce((least, each) => (each < least ? each : least)),
    batches: sum('batches'),
    events: sum('events'),
    retries: sum('retries'),
    parked: sum('parked'),
  }
}
