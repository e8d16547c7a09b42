/** Looks at the tables of applications in a database, and says what is wrong with them and what to do. */
import { isEventSourcingError } from '../errors.js'
import type { StatementRunner } from '../prisma/connections.js'
import type { Dialect, Finding, Query } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import { type SqlDriverAdapter, statement } from '../prisma/driver.js'
import { adapterFromUrl } from '../prisma/factory.js'
import { LogWatch } from '../prisma/log-signals.js'
import { checkIdentifier, type TableNames, tableNames } from '../prisma/table-names.js'
import { translateError } from '../prisma/translate-error.js'
import { examineMigrations } from './migrations.js'
import { connected } from './project.js'
import { type LogEnd, projectionFindings, timerFindings } from './projection-findings.js'

export type { Finding }

/** What to look at. */
export interface DoctorOptions {
  /** The database, as `adapterFromUrl` takes it. */
  readonly url: string
  /** The folder of migrations; one that is not there is passed over. */
  readonly migrations: string
  /** The names of the applications; an empty one has tables without a prefix. */
  readonly applications: readonly string[]
  /** The PostgreSQL schema of the tables. */
  readonly schema?: string
}

/** What a table has to have. */
interface ExpectedTable {
  readonly name: string
  readonly columns: readonly string[]
  readonly key: readonly string[]
  /** What does not work without it; undefined for one that nothing works without. */
  readonly neededFor?: string
}

const positionColumns = ['originator_id', 'originator_version']
const eventColumns = [...positionColumns, 'topic', 'state', 'metadata', 'recorded_at']

/**
 * Looks at everything, without changing anything.
 *
 * @returns all that was looked at, also what is in order
 * @throws `OperationalError` when the database cannot be reached; `EnvironmentError` for a URL that cannot be used
 */
export async function doctor(options: DoctorOptions): Promise<Finding[]> {
  const factory = await adapterFromUrl(options.url, { forMigrations: true })
  const dialect = dialectOf(factory.provider)
  const adapter = await connected(factory, options.url)
  try {
    return await new Examination(dialect, adapter, options).findings()
  } catch (error) {
    throw translateError(dialect, error, 'look at the database')
  } finally {
    await adapter.dispose()
  }
}

class Examination {
  readonly #dialect: Dialect
  readonly #adapter: SqlDriverAdapter
  readonly #options: DoctorOptions
  readonly #query: Query

  constructor(dialect: Dialect, adapter: SqlDriverAdapter, options: DoctorOptions) {
    this.#dialect = dialect
    this.#adapter = adapter
    this.#options = options
    this.#query = async (sql, args = []) => (await adapter.queryRaw(statement(sql, args))).rows
  }

  async findings(): Promise<Finding[]> {
    const findings: Finding[] = []
    const logs = new Map<string, LogEnd>()
    // All logs first: an application can have read that of another one.
    for (const application of this.#options.applications) {
      const names = tableNames(application)
      const events = await this.#table({ name: names.events, columns: ['id', ...eventColumns], key: positionColumns })
      findings.push(...events)
      if (events.every(({ status }) => status === 'ok')) {
        const { found, end } = await this.#log(names.events)
        findings.push(...found)
        logs.set(application.toLowerCase(), end)
      }
    }
    for (const application of this.#options.applications) {
      const names = tableNames(application)
      for (const table of otherTables(names)) findings.push(...(await this.#table(table)))
      findings.push(...(await this.#tracking(names.tracking, logs)), ...(await this.#projections(names, logs)))
      findings.push(...(await this.#timers(names.timers)))
    }
    findings.push(...(await this.#table(idempotencyKeys)))
    findings.push(...(await examineMigrations(this.#adapter, this.#options.migrations)))
    return findings
  }

  async #table({ name, columns, key, neededFor }: ExpectedTable): Promise<Finding[]> {
    checkIdentifier(name, `look at table '${name}'`)
    const { inspector } = this.#dialect
    const place = { table: name, schema: this.#options.schema }
    const found = await inspector.columns(this.#query, place)
    if (found.length === 0) {
      const status = neededFor === undefined ? 'error' : 'warning'
      const use = neededFor === undefined ? 'the application stores nothing without it' : `needed for ${neededFor}`
      return [
        {
          check: 'table',
          subject: name,
          status,
          message: `it does not exist; ${use}`,
          cure: 'npx eventsourcing-prisma init writes its model, prisma migrate makes it; name your applications with --app.',
        },
      ]
    }
    const missing = columns.filter((column) => !found.includes(column))
    if (missing.length > 0) return [missingColumns(name, missing, inspector.addedColumns)]
    const hasKey = (await inspector.uniqueKeys(this.#query, place)).some((unique) => unique.join() === key.join())
    if (!hasKey) {
      return [
        {
          check: 'index',
          subject: name,
          status: 'error',
          message: `it has no unique index on (${key.join(', ')}): two writers can store the same position`,
          cure: `Remove what is stored twice, then: CREATE UNIQUE INDEX ${name}_position_key ON ${name} (${key.join(', ')})`,
        },
      ]
    }
    return [{ check: 'table', subject: name, status: 'ok', message: 'its columns and its unique index are there' }]
  }

  /** The ids, what they are taken from, and who writes. */
  async #log(table: string): Promise<{ readonly found: readonly Finding[]; readonly end: LogEnd }> {
    const watch = new LogWatch(table)
    const { schema } = this.#options
    const options = { name: table, schema, originatorIdType: 'text', withLog: true, notifies: false } as const
    const { inspector } = this.#dialect
    const runner = this.#runner
    try {
      const fault = await this.#dialect.eventsTable(options).findFault(runner)
      if (fault !== undefined) return { found: [wrongIds(table, fault.message)], end: { final: 0n, given: 0n } }
      const events = this.#dialect.eventsTable({ ...options, watch })
      const final = (await events.lastLogPosition(runner)) ?? 0n
      const end = { final, given: await events.lastGivenPosition(runner) }
      const ids: Finding = {
        check: 'ids',
        subject: table,
        status: 'ok',
        message: `new ids are given above ${final}`,
      }
      const settled: Finding = {
        check: 'settled position',
        subject: table,
        status: 'ok',
        message: watch.unsettled === 0 ? 'all is final' : `${watch.unsettled} ids are not final yet`,
      }
      const writers = await inspector.writers(this.#query, { table, schema }, undefined)
      return { found: [ids, settled, ...writers], end }
    } catch (error) {
      if (!isEventSourcingError(error)) throw error
      return { found: [wrongIds(table, error.message)], end: { final: 0n, given: 0n } }
    }
  }

  /** How far others were processed. */
  async #tracking(table: string, logs: ReadonlyMap<string, LogEnd>): Promise<Finding[]> {
    const { inspector } = this.#dialect
    const columns = await inspector.columns(this.#query, { table, schema: this.#options.schema })
    if (columns.length === 0) return []
    const tracking = this.#dialect.trackingTable({ name: table, schema: this.#options.schema })
    const positions = await tracking.all(this.#runner)
    return positions.map(({ applicationName, notificationId }) => {
      const subject = `${table}, ${applicationName}`
      // A reader's positions are stored as `reader@application`, and no reader has an `@` in its name.
      const end = logs.get(applicationName.slice(applicationName.indexOf('@') + 1).toLowerCase())
      if (end === undefined || notificationId <= end.given) {
        return { check: 'tracking', subject, status: 'ok', message: `processed up to ${notificationId}` }
      }
      return {
        check: 'tracking',
        subject,
        status: 'error',
        message: `it says that ${notificationId} was processed, and the log ends at ${end.given}: it was restored, or emptied; new events are passed over`,
        cure: 'Restore both tables from one backup; or delete this row and build what was made from the log anew.',
      }
    })
  }

  /** How projections are doing, and who works on them. */
  async #projections(names: TableNames, logs: ReadonlyMap<string, LogEnd>): Promise<Finding[]> {
    const found = await Promise.all(projectionTables(names).map(async (table) => await this.#table(table)))
    if (found.flat().some(({ status }) => status !== 'ok')) return found.flat()
    const tables = this.#dialect.projectionTables({ names, schema: this.#options.schema })
    return [...found.flat(), ...(await projectionFindings({ table: names.projections, tables, logs }, this.#runner))]
  }

  /** What is late, and what was put aside. */
  async #timers(table: string): Promise<Finding[]> {
    const found = await this.#table({ name: table, columns: timerColumns, key: ['id'], neededFor: 'timers' })
    if (found.some(({ status }) => status !== 'ok')) return found
    const timers = this.#dialect.timersTable({ name: table, schema: this.#options.schema, notifies: false })
    return [...found, ...(await timerFindings(table, timers, this.#runner))]
  }

  get #runner(): StatementRunner {
    const adapter = this.#adapter
    return {
      inTransaction: false,
      givesInsertIds: true,
      query: (query) => adapter.queryRaw(query),
      execute: (query) => adapter.executeRaw(query),
    }
  }
}

function otherTables({ eventTags, snapshots, tracking, subjectKeys, inbox }: TableNames): ExpectedTable[] {
  return [
    {
      name: eventTags,
      columns: ['tag', 'notification_id'],
      key: ['tag', 'notification_id'],
      neededFor: 'events with tags, and decisions by them',
    },
    { name: snapshots, columns: eventColumns, key: positionColumns, neededFor: 'snapshots' },
    {
      name: tracking,
      columns: ['application_name', 'notification_id'],
      key: ['application_name'],
      neededFor: 'tracking what was processed',
    },
    { name: subjectKeys, columns: ['subject', 'key', 'created_at'], key: ['subject'], neededFor: 'personal data' },
    {
      name: inbox,
      columns: ['source', 'id', 'received_at'],
      key: ['source', 'id'],
      neededFor: 'an inbox of messages from brokers',
    },
  ]
}

function projectionTables({ projections, projectionStates, parkedEvents }: TableNames): ExpectedTable[] {
  const neededFor = 'projections'
  const leases = ['position', 'epoch', 'owner', 'leased_until']
  const position = ['name', 'version', 'upstream', 'partition']
  const state = ['wanted', 'status', 'target', 'reason', 'failed_position', 'updated_at']
  const event = ['name', 'version', 'notification_id']
  return [
    { name: projections, columns: [...position, 'partitions', ...leases], key: position, neededFor },
    { name: projectionStates, columns: ['name', 'version', ...state], key: ['name', 'version'], neededFor },
    { name: parkedEvents, columns: [...event, 'key', 'attempts', 'error', 'parked_at'], key: event, neededFor },
  ]
}

const timerColumns = ['id', 'topic', 'due_at', 'next_at', 'attempts', 'epoch', 'error', 'state']

const idempotencyKeys: ExpectedTable = {
  name: 'idempotency_keys',
  columns: ['scope', 'key', 'fingerprint', 'status', 'headers', 'body', 'created_at', 'expires_at'],
  key: ['scope', 'key'],
  neededFor: 'the option idempotency',
}

function missingColumns(
  table: string,
  missing: readonly string[],
  declared: Readonly<Record<string, string>>,
): Finding {
  const known = missing.flatMap((column) => {
    const declaration = declared[column]
    return declaration === undefined ? [] : [`ALTER TABLE ${table} ADD COLUMN ${column} ${declaration};`]
  })
  const isPythons = known.length === missing.length
  return {
    check: 'columns',
    subject: table,
    status: 'error',
    message: `it has no column ${missing.join(', ')}${isPythons ? ', as a table that Python made' : ''}: every statement fails`,
    cure: isPythons ? known.join(' ') : 'Compare it with the model that npx eventsourcing-prisma init writes.',
  }
}

function wrongIds(table: string, message: string): Finding {
  return { check: 'ids', subject: table, status: 'error', message }
}
