/** How commands reach a log: the tables of a database, or the application of a project. */
import type { SnapshotKind } from '../domain/snapshot.js'
import { EnvironmentError, isEventSourcingError } from '../errors.js'
import { resolveTopic } from '../persistence/configured.js'
import type { EventStore } from '../persistence/event-store.js'
import type { AggregateRecorder, ApplicationRecorder } from '../persistence/recorder.js'
import { adapterFromUrl } from '../prisma/adapter-from-url.js'
import { PrismaAggregateRecorder } from '../prisma/aggregate-recorder.js'
import { PrismaApplicationRecorder } from '../prisma/application-recorder.js'
import { PrismaDatastore } from '../prisma/datastore.js'
import type { OriginatorIdType } from '../prisma/dialect.js'
import { tableNames } from '../prisma/table-names.js'
import { isTransient } from '../transaction/options.js'
import { readProject, urlOf } from './project.js'
import { type Show, showBy, showStored } from './shown-events.js'

/** Which tables. */
export interface PlaceFlags {
  readonly url?: string
  readonly app: string
  readonly postgresSchema?: string
  readonly originatorIdType?: OriginatorIdType
  readonly json?: boolean
}

/** Which tables, or the application that reads them. */
export interface ReadFlags extends PlaceFlags {
  readonly application?: string
}

/** What commands look at. */
export interface OpenLog {
  readonly datastore: PrismaDatastore
  readonly recorder: PrismaApplicationRecorder
  readonly snapshots: PrismaAggregateRecorder
}

/** An application as far as commands use it, by its shape: a project may load the package a second time. */
export interface LoadedApplication {
  readonly recorder: ApplicationRecorder
  readonly repository: { get(kind: SnapshotKind, id: string, options?: { readonly version?: number }): Promise<object> }
  eventStore(): Promise<EventStore>
}

/** Opens the tables for some work. @throws `EnvironmentError` where they cannot be read, with the name of the table */
export async function withLog<T>(flags: PlaceFlags, attempted: string, work: (log: OpenLog) => Promise<T>): Promise<T> {
  const url = urlOf(await readProject({ url: flags.url, migrations: '' }), attempted)
  const datastore = new PrismaDatastore({ adapter: await adapterFromUrl(url) })
  const names = tableNames(flags.app)
  const place = {
    ...(flags.postgresSchema === undefined ? {} : { schema: flags.postgresSchema }),
    ...(flags.originatorIdType === undefined ? {} : { originatorIdType: flags.originatorIdType }),
  }
  try {
    return await work({
      datastore,
      recorder: new PrismaApplicationRecorder(datastore, { eventsTable: names.events, ...place }),
      snapshots: new PrismaAggregateRecorder(datastore, { eventsTable: names.snapshots, kind: 'snapshots', ...place }),
    })
  } catch (error) {
    if (error instanceof EnvironmentError || !isEventSourcingError(error) || isTransient(error)) throw error
    throw new EnvironmentError(
      `${error.message.replace(/[^.]$/, '$&.')} The command looks at the table ${names.events}: name another application with --app.`,
      { cause: error },
    )
  } finally {
    await datastore.close()
  }
}

/** Reads with the application that is named, or else what the tables have. */
export async function withReader(
  flags: ReadFlags,
  attempted: string,
  work: (
    log: { readonly recorder: ApplicationRecorder; readonly snapshots?: AggregateRecorder },
    show: Show,
  ) => Promise<void>,
): Promise<void> {
  if (flags.application === undefined)
    return await withLog(flags, attempted, async (log) => await work(log, showStored))
  const application = await loadedApplication(flags.application)
  await work(application, showBy(await application.eventStore()))
}

/** @throws `EnvironmentError` for what is no application */
export async function loadedApplication(topic: string): Promise<LoadedApplication> {
  const loaded = await resolveTopic(topic)
  if (isApplication(loaded)) return loaded
  throw new EnvironmentError(`Could not read with ${topic}: it is no application.`)
}

function isApplication(value: unknown): value is LoadedApplication {
  return typeof value === 'object' && value !== null && 'eventStore' in value && 'repository' in value
}
