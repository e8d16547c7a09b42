/** What runs beside the log: the projections, and what the transactions have come to in the last minutes. */
import type { Application } from '../application/application.js'
import { EnvironmentError, LeaseLostError, NotSupportedError, ProgrammingError } from '../errors.js'
import type { InfrastructureSource } from '../persistence/environment.js'
import { type ProjectionReport, ProjectionTables } from '../persistence/projection-tables.js'
import type { ProjectionRunner } from '../projection/projection-runner.js'
import type { DatastoreStats } from '../transaction/telemetry.js'

/** Whose projections. */
export interface BrowsedProjectionsOptions {
  readonly application: Application
  /** Where their positions are. */
  readonly datastore: InfrastructureSource
  /** What runs them in this process, if anything does. */
  readonly runner: ProjectionRunner | undefined
}

/** What can be done with a projection. */
export const projectionActions = ['pause', 'resume', 'retry', 'skip'] as const

/** One of them. */
export type ProjectionAction = (typeof projectionActions)[number]

/** So many of the events that were put aside are shown. */
const mostParked = 50

/** Reads the tables of projections, and acts by the runner of this process where that has the projection. */
export class BrowsedProjections {
  readonly #options: BrowsedProjectionsOptions

  constructor(options: BrowsedProjectionsOptions) {
    this.#options = options
  }

  /** How all of them are doing, or why nobody can say. */
  async status(): Promise<object> {
    try {
      const tables = await this.#tables()
      const projections = []
      for (const report of await tables.status([], { measures: false })) {
        const aside = report.parked > 0 && report.status !== 'superseded' ? await tables.parked(report.name) : []
        projections.push({ ...report, isHere: this.#isHere(report), aside: aside.slice(0, mostParked) })
      }
      return { projections }
    } catch (error) {
      // There are no tables, say.
      if (error instanceof ProgrammingError || error instanceof NotSupportedError) return { problem: error.message }
      throw error
    }
  }

  /**
   * Does something with a projection.
   *
   * @param position - of an event that was put aside, or that blocks it
   * @returns why it could not be done; undefined where it is
   */
  async act(name: string, action: ProjectionAction, position: bigint | undefined): Promise<string | undefined> {
    const tables = await this.#tables()
    const { runner } = this.#options
    const own = runner?.projections.some((projection) => projection.name === name) === true ? runner : undefined
    try {
      if (action === 'skip') await tables.skip(name, position)
      else if (action === 'retry' && own !== undefined) await own.retry(name, position)
      else if (action === 'retry' && position !== undefined) return needsRunner(name)
      else if (action === 'retry') await tables.retry(name)
      else await (own ?? tables)[action](name)
    } catch (error) {
      if (error instanceof EnvironmentError || error instanceof LeaseLostError) return error.message
      throw error
    }
    return undefined
  }

  #isHere({ name, version }: ProjectionReport): boolean {
    const { runner } = this.#options
    return runner?.projections.some((each) => each.name === name && each.version === version) === true
  }

  async #tables(): Promise<ProjectionTables> {
    const { application, datastore } = this.#options
    await application.ready()
    const recorder = datastore.infrastructureFactory(application.environment).projectionRecorder?.()
    if (recorder === undefined) throw new NotSupportedError('The datastore keeps no positions of projections.')
    return new ProjectionTables({ recorder, log: application.recorder, application: application.name })
  }
}

function needsRunner(name: string): string {
  return (
    `An event of projection ${name} that was put aside is tried again by its code, which is not here: give the page the option ` +
    '`runner`, or run npx eventsourcing-prisma projections retry.'
  )
}

/** The counts at one moment. */
export interface ActivitySample {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly stats: DatastoreStats
}

const everyMs = 5_000
const keptMs = 300_000

/** Notes the counts, which costs nothing; it keeps no process alive. */
export class Activity {
  readonly #datastore: { readonly stats: DatastoreStats }
  readonly #samples: ActivitySample[] = []
  readonly #timer: NodeJS.Timeout

  constructor(datastore: { readonly stats: DatastoreStats }) {
    this.#datastore = datastore
    this.#timer = setInterval(() => this.#note(), everyMs).unref()
    this.#note()
  }

  /** Of the last five minutes, the oldest first, with one of now. */
  get samples(): readonly ActivitySample[] {
    return [...this.#samples, this.#sample]
  }

  /** Ends it. */
  close(): void {
    clearInterval(this.#timer)
  }

  get #sample(): ActivitySample {
    return { at: Date.now(), stats: this.#datastore.stats }
  }

  #note(): void {
    this.#samples.push(this.#sample)
    if (this.#samples.length > keptMs / everyMs) this.#samples.shift()
  }
}
