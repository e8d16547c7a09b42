/** Prints the statements that make the tables: a migration without Prisma's engine. */
import type { Dialect, OriginatorIdType } from '../prisma/dialect.js'
import { tableNames } from '../prisma/table-names.js'

/** Which tables. */
export interface SqlOptions {
  readonly dialect: Dialect
  /** The names of the applications; an empty one has tables without a prefix. */
  readonly applications: readonly string[]
  readonly originatorIdType: OriginatorIdType
  /** The PostgreSQL schema of the tables; default: the connection's. */
  readonly schema: string | undefined
}

/** The statements that make a view of each table of events and snapshots, in which states are JSON. */
export function viewsSql({ dialect, applications, schema }: Omit<SqlOptions, 'originatorIdType'>): string {
  const statements = applications.flatMap((application) => {
    const { events, snapshots } = tableNames(application)
    return [
      ...dialect.readableView({ name: events, schema, withLog: true }),
      ...dialect.readableView({ name: snapshots, schema, withLog: false }),
    ]
  })
  return `-- Written by: npx eventsourcing-prisma\n\n${[...new Set(statements)].join(';\n\n')};\n`
}

/** The statements, each with its end, as the file of a migration has them. All are harmless where the tables exist. */
export function tablesSql({ dialect, applications, originatorIdType, schema }: SqlOptions): string {
  const statements = applications.flatMap((application) => {
    const names = tableNames(application)
    const events = { schema, originatorIdType, notifies: false }
    return [
      dialect.eventsTable({ ...events, name: names.events, tags: names.eventTags, withLog: true }),
      dialect.eventsTable({ ...events, name: names.snapshots, withLog: false }),
      dialect.trackingTable({ name: names.tracking, schema }),
      dialect.subjectKeysTable({ name: names.subjectKeys, schema }),
      dialect.projectionTables({ names, schema }),
      dialect.inboxTable({ name: names.inbox, schema }),
    ].flatMap(({ createStatements }) => createStatements)
  })
  const shared = dialect.idempotencyKeysTable({ name: 'idempotency_keys', schema }).createStatements
  const all = [...new Set([...statements, ...shared])].map((sql) => sql.trim().replace(/;$/, ''))
  return `-- Written by: npx eventsourcing-prisma sql\n\n${all.join(';\n\n')};\n`
}
