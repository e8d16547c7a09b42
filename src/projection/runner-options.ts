/** How a projection runner is set up, and how far it has come. */
import type { TimerStore } from '../application/timers.js'
import { checkOptions, having, listOf, milliseconds, type OptionTypesOf, optionsOf } from '../checked-options.js'
import { NotSupportedError, ProgrammingError } from '../errors.js'
import type { Environment } from '../persistence/environment.js'
import { InMemoryProjectionRecorder } from '../persistence/in-memory-projections.js'
import { InMemoryApplicationRecorder } from '../persistence/in-memory-recorders.js'
import type { ProjectionRecorder } from '../persistence/projection-recorder.js'
import type { BatchLimits } from './batch-work.js'
import type { PartState } from './part-rows.js'
import type { Projection } from './projection.js'
import type { ProjectionPart } from './projection-part.js'
import {
  applicationSource,
  type ProjectedApplication,
  type ProjectedLog,
  type ProjectionSource,
  remoteSource,
} from './source.js'
import { TimerWork } from './timer-work.js'

/** A database that keeps the positions of projections; a `PrismaDatastore` is one. */
export interface ProjectionDatastore {
  /** Makes the factory of the application whose environment this is. */
  infrastructureFactory(environment: Environment): ProjectionFactory
}

/** What makes the recorder of positions. */
export interface ProjectionFactory {
  /** Makes it; undefined where positions cannot be kept. */
  projectionRecorder?(): ProjectionRecorder | undefined
}

/** How a runner is set up. */
export interface ProjectionRunnerOptions {
  /** The application after which the tables are named; without a `source` its log is read. */
  readonly application: ProjectedApplication
  /**
   * The database with the rows and the positions; it has to be the one that the handlers write to. Default, for an application in
   * memory: positions in memory.
   */
  readonly datastore?: ProjectionDatastore
  /**
   * The log that is read, where that is not the one of `application`: another application, on whatever database, or a log elsewhere, such as a
   * `RemoteNotificationLog`, whose events the mapper of `application` reads. The leases and positions stand in `datastore`. Who waits gives positions in this log.
   */
  readonly source?: ProjectedApplication | ProjectedLog
  /** What to run: projections and reactions. */
  readonly projections: readonly Projection[]
  /** How long a runner that does not answer keeps others from its projections; from 1,000, default 15,000. */
  readonly leaseMs?: number
  /** How often an event is tried that fails alone, and after how many milliseconds: at first, then twice as long, up to a limit. */
  readonly poison?: {
    /** Default 5. */
    readonly attempts?: number
    /** Default 1,000. */
    readonly minMs?: number
    /** Default 60,000. */
    readonly maxMs?: number
  }
  /** How many events a batch has at most, and after how many milliseconds of handlers it ends. */
  readonly batch?: {
    /** Default 500. */
    readonly maxEvents?: number
    /** Default 250, where the database has one writer 50. */
    readonly maxMs?: number
  }
}

const number = { says: 'a number', fits: milliseconds.fits }

const optionTypes: OptionTypesOf<ProjectionRunnerOptions> = {
  application: having('subscribe', 'the application whose log is read'),
  datastore: having('infrastructureFactory', 'the PrismaDatastore that the handlers write to'),
  source: {
    says: 'another application, or a notification log',
    fits: (value) => typeof value === 'object' && value !== null && ('eventStore' in value || 'select' in value),
  },
  projections: listOf(having('apply', 'a projection'), 'a list of projections, as defineProjection gives them'),
  leaseMs: milliseconds,
  poison: optionsOf<NonNullable<ProjectionRunnerOptions['poison']>>({ attempts: number, minMs: number, maxMs: number }),
  batch: optionsOf<NonNullable<ProjectionRunnerOptions['batch']>>({ maxEvents: number, maxMs: number }),
}

/** @throws `ProgrammingError` for options that a runner does not have, and without an application or projections */
export function checkRunnerOptions(options: ProjectionRunnerOptions): void {
  checkOptions('make a projection runner', options, optionTypes)
  for (const name of ['application', 'projections'] as const) {
    if (options[name] !== undefined) continue
    throw new ProgrammingError(
      `Could not make a projection runner without ${name}: new ProjectionRunner({ application, datastore, projections: [owners] }).`,
    )
  }
}

/**
 * What keeps the positions.
 *
 * @throws `NotSupportedError` where the datastore does not; `ProgrammingError` where there is none for an application with a database
 */
export function recorderOf({ application, datastore }: ProjectionRunnerOptions): ProjectionRecorder {
  const recorder = datastore?.infrastructureFactory(application.environment).projectionRecorder?.()
  if (recorder !== undefined) return recorder
  if (datastore !== undefined) {
    throw new NotSupportedError('Could not make a projection runner: its datastore keeps no positions of projections.')
  }
  if (application.recorder instanceof InMemoryApplicationRecorder) return new InMemoryProjectionRecorder()
  throw new ProgrammingError(
    'Could not make a projection runner without a datastore: give it the one that its handlers write to, so that rows and ' +
      'positions are stored together.',
  )
}

/** Where the runner reads. */
export function sourceOf({ application, source = application }: ProjectionRunnerOptions): ProjectionSource {
  return 'eventStore' in source ? applicationSource(source) : remoteSource(source, application)
}

/**
 * What handles the timers of its reactions.
 *
 * @throws `ProgrammingError` where two reactions take the timers of one topic; `NotSupportedError` where the application has no timers
 */
export function timerWorkOf(
  { application, projections }: ProjectionRunnerOptions,
  { recorder, limits }: { readonly recorder: ProjectionRecorder; readonly limits: BatchLimits },
): TimerWork {
  const reactions = projections.filter(({ reaction }) => reaction !== undefined && reaction.timers.length > 0)
  const topics = reactions.flatMap(({ reaction }) => reaction?.timers.map(({ topic }) => topic) ?? [])
  const twice = topics.find((topic, index) => topics.indexOf(topic) !== index)
  if (twice !== undefined) {
    throw new ProgrammingError(
      `Could not make a projection runner: two of its reactions take the timers of '${twice}'. Give each timer one handler.`,
    )
  }
  const { name, timers } = application
  const store = async (): Promise<TimerStore> => {
    if (timers !== undefined) return await timers.store()
    throw new NotSupportedError(`Could not look for timers: the application ${name} has none.`)
  }
  if (reactions.length > 0 && timers === undefined) {
    throw new NotSupportedError(
      `Could not make a projection runner with timers: the application ${name} has none. Give it an Application.`,
    )
  }
  return new TimerWork({ reactions, application: name, store, recorder, limits })
}

/** @throws `ProgrammingError` for a limit that cannot be */
export function checkedLimits(options: ProjectionRunnerOptions, recorder: ProjectionRecorder): BatchLimits {
  const limits = limitsOf(options, recorder)
  for (const [name, value] of Object.entries(limits)) {
    const least = name === 'leaseMs' ? 1_000 : name === 'minMs' || name === 'longestMs' ? 0 : 1
    if (Number.isFinite(value) && value >= least) continue
    throw new ProgrammingError(
      `Could not make a projection runner with ${name} ${value}: it is a number from ${least}.`,
    )
  }
  return limits
}

function limitsOf(
  { leaseMs = 15_000, poison = {}, batch = {} }: ProjectionRunnerOptions,
  { singleWriter }: ProjectionRecorder,
): BatchLimits {
  const { attempts = 5, minMs = 1_000, maxMs: longestMs = 60_000 } = poison
  // Where there is one writer, others get their turn between two batches.
  const { maxEvents = 500, maxMs = singleWriter ? 50 : 250 } = batch
  return { leaseMs, maxEvents, maxMs, attempts, minMs, longestMs }
}

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
