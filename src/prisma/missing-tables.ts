/** What to do about a table that is not there: the same words on every database. */
import type { DriverErrorFacts } from './driver-error.js'
import type { TableNames } from './table-names.js'

/** The applications of this process, by the names of their tables. */
const applications = new Map<string, string>()

/** Lets messages about these tables tell whose they are. */
export function noteTables(application: string, names: TableNames): void {
  for (const table of Object.values(names)) applications.set(table, application)
}

/**
 * Completes "Could not append 1 event:" for a table that is not there.
 *
 * @returns undefined for any other error
 */
export function missingTable({ message }: DriverErrorFacts): string | undefined {
  // As SQLite, PostgreSQL and MariaDB say it, with and without a schema. Not all adapters tell by the kind of the error.
  const [, ofSqlite, ofOthers] =
    /no such table: (?:\w+\.)?(\w+)|(?:relation "|Table ')(?:[^'".]+\.)?(\w+)['"] (?:does not|doesn't) exist/.exec(
      message,
    ) ?? []
  const table = ofSqlite ?? ofOthers
  return table === undefined ? undefined : withoutTable(table)
}

/** The same for a table by its name. */
export function withoutTable(table: string): string {
  const application = applications.get(table)
  const init = application ? `npx eventsourcing-prisma init --app ${application}` : 'npx eventsourcing-prisma init'
  const whose =
    application === undefined
      ? ''
      : application === ''
        ? ' for the application, which has no name'
        : ` for application ${application}`
  const inTests = application === undefined ? "the recorder's createTable()" : 'application.recorder.createTable()'
  return `there is no table ${table}${whose}: run ${init}, then npx prisma migrate dev; in tests await ${inTests}`
}
