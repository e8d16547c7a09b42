/** What the browser of events shows of projections, and what it lets its users do with them. */
import type { Application } from '../application/application.js'
import { EnvironmentError, LeaseLostError, NotSupportedError, ProgrammingError } from '../errors.js'
import type { InfrastructureSource } from '../persistence/environment.js'
import { type ProjectionReport, ProjectionTables } from '../persistence/projection-tables.js'
import type { ProjectionRunner } from '../projection/projection-runner.js'

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
