/** Opens the tables of the projections of one application, for the commands. */
import { EnvironmentError, isEventSourcingError } from '../errors.js'
import type { ProjectionRow } from '../persistence/projection-recorder.js'
import { ProjectionTables } from '../persistence/projection-tables.js'
import { adapterFromUrl } from '../prisma/adapter-from-url.js'
import { PrismaApplicationRecorder } from '../prisma/application-recorder.js'
import { PrismaDatastore } from '../prisma/datastore.js'
import { PrismaProjectionRecorder } from '../prisma/projection-recorder.js'
import { tableNames } from '../prisma/table-names.js'
import { isTransient } from '../transaction/options.js'

/** Whose tables. */
export interface ProjectionTablesOptions {
  /** The database, as `adapterFromUrl` takes it. */
  readonly url: string
  /** The application; an empty name has tables without a prefix. */
  readonly application: string
  /** The PostgreSQL schema of the tables. */
  readonly schema?: string
}

/** Opens them for some work. */
export async function withProjectionTables<T>(
  { url, application, schema }: ProjectionTablesOptions,
  work: (tables: ProjectionTables) => Promise<T>,
): Promise<T> {
  const datastore = new PrismaDatastore({ adapter: await adapterFromUrl(url) })
  const names = tableNames(application)
  const place = schema === undefined ? {} : { schema }
  try {
    const recorder = new HelpfulRecorder(datastore, { names, ...place })
    const log = new PrismaApplicationRecorder(datastore, { eventsTable: names.events, ...place })
    return await work(new ProjectionTables({ recorder, log, application }))
  } finally {
    await datastore.close()
  }
}

/** Says which option names other tables, where these are not there. */
class HelpfulRecorder extends PrismaProjectionRecorder {
  readonly #table: string

  constructor(...[datastore, options]: ConstructorParameters<typeof PrismaProjectionRecorder>) {
    super(datastore, options)
    this.#table = options.names.projections
  }

  override async rows(): Promise<ProjectionRow[]> {
    try {
      return await super.rows()
    } catch (error) {
      if (!isEventSourcingError(error) || isTransient(error)) throw error
      throw new EnvironmentError(
        `${error.message.replace(/[^.]$/, '$&.')} Is there a table ${this.#table}? Name the application with --app; npx eventsourcing-prisma init ` +
          'writes the models of its tables.',
        { cause: error },
      )
    }
  }
}
