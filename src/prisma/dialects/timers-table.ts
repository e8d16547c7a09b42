/** The statements over a table of timers, alike on all databases but for a few words. */
import type {
  DueTimer,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
} from '../../persistence/side-recorders.js'
import type { StatementRunner } from '../connections.js'
import type { TimersTable, TimersTableOptions } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import { dueIndexName, primaryKeyName } from '../table-names.js'
import { toBigInt, toBytes, toDate, toText } from './event-rows.js'
import { checked as mariadbChecked, longestName as mariadbLongest, tableCharacters } from './mariadb-tables.js'
import { channelName, longestName, qualified, schemaStatements } from './postgresql-tables.js'
import { checked as sqliteChecked, timeText } from './sqlite-tables.js'

type Value = 'text' | 'time' | 'bytes' | 'integer' | 'bigint' | 'ms'

/** What differs between the databases. */
interface TimerWords {
  readonly createStatements: readonly string[]
  /** The table, quoted; and as a select names it that reads in the order of the index. */
  readonly table: string
  readonly byTime: string
  /** How a parameter is written, from 1. */
  readonly parameter: (position: number, type: Value) => string
  /** A time as a parameter. */
  readonly time: (time: Date) => string
  /** The time by the database's clock, and the same some milliseconds later. */
  readonly now: string
  readonly later: (ms: string) => string
  /** Milliseconds from now to a time. */
  readonly until: (time: string) => string
  readonly wide: (column: string) => string
  /** Lets an insert change the row that is there. */
  readonly onConflict: string
  /** Takes the rows for this transaction, without those that another one has. */
  readonly taking: string
  /** What else the statement that sets a timer does. */
  readonly notifying: string
  readonly channel: string
  readonly isolationLevel?: 'ReadCommitted'
}

class TimerStatements implements TimersTable {
  readonly createStatements: readonly string[]
  readonly channel: string
  readonly isolationLevel: 'ReadCommitted' | undefined
  readonly #words: TimerWords

  constructor(words: TimerWords) {
    this.createStatements = words.createStatements
    this.channel = words.channel
    this.isolationLevel = words.isolationLevel
    this.#words = words
  }

  async set(runner: StatementRunner, { id, topic, dueAt, state }: StoredTimer): Promise<void> {
    const { table, onConflict, notifying, time } = this.#words
    const { args, put } = this.#parameters()
    const at = time(dueAt)
    const values = [put(id, 'text'), put(topic, 'text'), put(at, 'time'), put(at, 'time'), put(state, 'bytes')]
    const sql =
      `INSERT INTO ${table} (id, topic, due_at, next_at, state, attempts, epoch) VALUES (${values.join(', ')}, 0, 0) ` +
      `${onConflict}${notifying}`
    if (notifying === '') await runner.execute(statement(sql, args))
    else await runner.query(statement(sql, args))
  }

  async clear(runner: StatementRunner, id: string): Promise<boolean> {
    const { args, put } = this.#parameters()
    const sql = `DELETE FROM ${this.#words.table} WHERE id = ${put(id, 'text')}`
    return (await runner.execute(statement(sql, args))) > 0
  }

  async take(runner: StatementRunner, topics: readonly string[], limit: number): Promise<DueTimer[]> {
    const { byTime, now, taking, wide } = this.#words
    const { args, put } = this.#parameters()
    const isDue = `next_at <= ${now} AND topic IN (${topics.map((topic) => put(topic, 'text')).join(', ')})`
    const sql =
      `SELECT id, topic, due_at, state, attempts, ${wide('epoch')} FROM ${byTime} ` +
      `WHERE ${isDue} ORDER BY next_at LIMIT ${put(limit, 'integer')}${taking}`
    const { rows } = await runner.query(statement(sql, args))
    return rows.map(([id, topic, dueAt, state, attempts, epoch]) => ({
      id: toText(id),
      topic: toText(topic),
      dueAt: toDate(dueAt),
      state: toBytes(state),
      attempts: Number(attempts),
      epoch: toBigInt(epoch),
    }))
  }

  async remove(runner: StatementRunner, ids: readonly string[]): Promise<void> {
    const { args, put } = this.#parameters()
    const sql = `DELETE FROM ${this.#words.table} WHERE id IN (${ids.map((id) => put(id, 'text')).join(', ')})`
    await runner.execute(statement(sql, args))
  }

  async reserve(runner: StatementRunner, id: string, forMs: number): Promise<void> {
    const { args, put } = this.#parameters()
    const set = `next_at = ${this.#words.later(put(forMs, 'ms'))}, epoch = epoch + 1`
    await runner.execute(statement(`UPDATE ${this.#words.table} SET ${set} WHERE id = ${put(id, 'text')}`, args))
  }

  async extend(runner: StatementRunner, timer: Pick<DueTimer, 'id' | 'epoch'>, forMs: number): Promise<boolean> {
    const { args, put } = this.#parameters()
    const sql = `UPDATE ${this.#words.table} SET next_at = ${this.#words.later(put(forMs, 'ms'))} WHERE ${isSame(timer, put)}`
    return (await runner.execute(statement(sql, args))) > 0
  }

  async finish(runner: StatementRunner, timer: Pick<DueTimer, 'id' | 'epoch'>): Promise<void> {
    const { args, put } = this.#parameters()
    await runner.execute(statement(`DELETE FROM ${this.#words.table} WHERE ${isSame(timer, put)}`, args))
  }

  async fail(
    runner: StatementRunner,
    timer: Pick<DueTimer, 'id' | 'epoch'>,
    { attempts, delayMs, error }: TimerFailure,
  ): Promise<void> {
    const { table, later } = this.#words
    const { args, put } = this.#parameters()
    const nextAt = delayMs === undefined ? 'NULL' : later(put(delayMs, 'ms'))
    const set = `next_at = ${nextAt}, attempts = ${put(attempts, 'integer')}, error = ${put(error, 'text')}`
    await runner.execute(statement(`UPDATE ${table} SET ${set} WHERE ${isSame(timer, put)}`, args))
  }

  async nextInMs(runner: StatementRunner, topics: readonly string[]): Promise<number | undefined> {
    const { table, until } = this.#words
    const { args, put } = this.#parameters()
    const isOurs = `next_at IS NOT NULL AND topic IN (${topics.map((topic) => put(topic, 'text')).join(', ')})`
    const sql = `SELECT ${until('next_at')} FROM ${table} WHERE ${isOurs} ORDER BY next_at LIMIT 1`
    const [row] = (await runner.query(statement(sql, args))).rows
    return row === undefined ? undefined : Number(row[0])
  }

  async select(
    runner: StatementRunner,
    { topics, limit = 100, parked = false }: SelectTimersOptions,
  ): Promise<PendingTimer[]> {
    const { args, put } = this.#parameters()
    const conditions = [
      ...(parked ? ['next_at IS NULL'] : []),
      ...(topics === undefined ? [] : [`topic IN (${topics.map((topic) => put(topic, 'text')).join(', ')})`]),
    ]
    const where = conditions.length === 0 ? '' : `WHERE ${conditions.join(' AND ')} `
    const sql =
      `SELECT id, topic, due_at, next_at, attempts, error FROM ${this.#words.table} ${where}` +
      `ORDER BY due_at, id LIMIT ${put(limit, 'integer')}`
    const { rows } = await runner.query(statement(sql, args))
    return rows.map(([id, topic, dueAt, nextAt, attempts, error]) => ({
      id: toText(id),
      topic: toText(topic),
      dueAt: toDate(dueAt),
      nextAt: nextAt === null || nextAt === undefined ? undefined : toDate(nextAt),
      attempts: Number(attempts),
      error: error === null || error === undefined ? undefined : toText(error),
    }))
  }

  async late(
    runner: StatementRunner,
    forMs: number,
  ): Promise<Array<{ readonly topic: string; readonly count: number }>> {
    const { args, put } = this.#parameters()
    const { table, later } = this.#words
    const sql =
      `SELECT topic, COUNT(*) FROM ${table} WHERE next_at IS NOT NULL AND due_at <= ${later(put(-forMs, 'ms'))} ` +
      'GROUP BY topic ORDER BY topic'
    const { rows } = await runner.query(statement(sql, args))
    return rows.map(([topic, count]) => ({ topic: toText(topic), count: Number(count) }))
  }

  async retry(
    runner: StatementRunner,
    { id, topics }: { readonly id?: string; readonly topics?: readonly string[] },
  ): Promise<number> {
    const { args, put } = this.#parameters()
    const { table, now, notifying } = this.#words
    const only = [
      ...(id === undefined ? [] : [` AND id = ${put(id, 'text')}`]),
      ...(topics === undefined ? [] : [` AND topic IN (${topics.map((topic) => put(topic, 'text')).join(', ')})`]),
    ]
    const sql = `UPDATE ${table} SET next_at = ${now}, attempts = 0 WHERE next_at IS NULL${only.join('')}${notifying}`
    const query: SqlQuery = statement(sql, args)
    return notifying === '' ? await runner.execute(query) : (await runner.query(query)).rows.length
  }

  #parameters(): { readonly args: unknown[]; readonly put: (value: unknown, type: Value) => string } {
    const args: unknown[] = []
    return { args, put: (value, type) => this.#words.parameter(args.push(value), type) }
  }
}

function isSame({ id, epoch }: Pick<DueTimer, 'id' | 'epoch'>, put: (value: unknown, type: Value) => string): string {
  return `id = ${put(id, 'text')} AND epoch = ${put(epoch, 'bigint')}`
}

interface ColumnTypes {
  readonly quote: string
  readonly text: string
  readonly long: string
  readonly time: string
  readonly bytes: string
  /** What a column says that may be empty. */
  readonly empty: string
}

/** As Prisma writes them. @param key - what the column of the id says beside its type */
function columnsOf({ quote, text, long, time, bytes, empty }: ColumnTypes, key: string = ''): string {
  const columns = [
    ['id', `${text} NOT NULL${key}`],
    ['topic', `${text} NOT NULL`],
    ['due_at', `${time} NOT NULL`],
    ['next_at', `${time}${empty}`],
    ['attempts', 'INTEGER NOT NULL'],
    ['epoch', 'BIGINT NOT NULL'],
    ['error', `${long}${empty}`],
    ['state', `${bytes} NOT NULL`],
  ]
  return columns.map(([name, type]) => `    ${quote}${name}${quote} ${type}`).join(',\n')
}

const postgresqlTypes: Readonly<Record<Value, string>> = {
  text: 'text',
  time: 'timestamptz',
  bytes: 'bytea',
  integer: 'integer',
  bigint: 'bigint',
  ms: 'double precision',
}

/** @see https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE */
export function postgresqlTimersTable({ name, schema, notifies }: TimersTableOptions): TimersTable {
  const table = qualified(name, { schema })
  const channel = channelName(name, schema)
  const types = { quote: '"', text: 'TEXT', long: 'TEXT', time: 'TIMESTAMPTZ(6)', bytes: 'BYTEA', empty: '' }
  const key = `CONSTRAINT "${primaryKeyName(name, longestName).name}" PRIMARY KEY ("id")`
  return new TimerStatements({
    createStatements: [
      ...schemaStatements({ schema }),
      `CREATE TABLE IF NOT EXISTS ${table} (\n${columnsOf(types)},\n\n    ${key}\n)`,
      `CREATE INDEX IF NOT EXISTS "${dueIndexName(name, longestName).name}" ON ${table}("next_at")`,
    ],
    table,
    byTime: table,
    parameter: (position, type) => `$${position}::${postgresqlTypes[type]}`,
    time: (time) => time.toISOString(),
    now: 'clock_timestamp()',
    later: (ms) => `clock_timestamp() + ${ms} * interval '1 millisecond'`,
    until: (time) => `EXTRACT(EPOCH FROM ${time} - clock_timestamp()) * 1000`,
    wide: (column) => column,
    onConflict:
      'ON CONFLICT (id) DO UPDATE SET topic = excluded.topic, due_at = excluded.due_at, next_at = excluded.next_at, ' +
      `state = excluded.state, attempts = 0, error = NULL, epoch = "${name}".epoch + 1`,
    taking: ' FOR UPDATE SKIP LOCKED',
    notifying: notifies ? ` RETURNING pg_notify('${channel}', '')::text` : '',
    channel,
  })
}

/**
 * At READ COMMITTED no gaps are locked, so that others can set timers meanwhile. The index keeps the server from locking what it only sorts.
 *
 * @see https://mariadb.com/kb/en/select/#skip-locked
 */
export function mariadbTimersTable({ name }: TimersTableOptions): TimersTable {
  const table = mariadbChecked(name)
  const index = dueIndexName(name, mariadbLongest).name
  const types = {
    quote: '`',
    text: 'VARBINARY(1020)',
    long: 'TEXT',
    time: 'DATETIME(3)',
    bytes: 'LONGBLOB',
    empty: ' NULL',
  }
  return new TimerStatements({
    createStatements: [
      `CREATE TABLE IF NOT EXISTS ${table} (\n${columnsOf(types)},\n\n` +
        `    INDEX \`${index}\`(\`next_at\`),\n    PRIMARY KEY (\`id\`)\n) ${tableCharacters}`,
    ],
    table,
    byTime: `${table} FORCE INDEX (\`${index}\`)`,
    parameter: () => '?',
    time: (time) => time.toISOString().replace('T', ' ').replace('Z', ''),
    now: 'UTC_TIMESTAMP(3)',
    later: (ms) => `UTC_TIMESTAMP(3) + INTERVAL ${ms} * 1000 MICROSECOND`,
    until: (time) => `TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), ${time}) / 1000`,
    wide: (column) => column,
    onConflict:
      'ON DUPLICATE KEY UPDATE topic = VALUES(topic), due_at = VALUES(due_at), next_at = VALUES(next_at), state = VALUES(state), ' +
      'attempts = 0, error = NULL, epoch = epoch + 1',
    taking: ' FOR UPDATE SKIP LOCKED',
    notifying: '',
    channel: `es_${name}`,
    isolationLevel: 'ReadCommitted',
  })
}

/** As Prisma writes times; by the clock of SQLite, which is that of the machine. */
const sqliteTime = (...changes: readonly string[]): string =>
  `strftime(${["'%Y-%m-%dT%H:%M:%f+00:00'", "'now'", ...changes].join(', ')})`

/** One transaction writes at a time, so that nobody has what another one takes. */
export function sqliteTimersTable({ name }: TimersTableOptions): TimersTable {
  const table = sqliteChecked(name)
  const types = { quote: '"', text: 'TEXT', long: 'TEXT', time: 'DATETIME', bytes: 'BLOB', empty: '' }
  return new TimerStatements({
    createStatements: [
      `CREATE TABLE IF NOT EXISTS ${table} (\n${columnsOf(types, ' PRIMARY KEY')}\n)`,
      `CREATE INDEX IF NOT EXISTS "${dueIndexName(name, 10_000).name}" ON ${table}("next_at")`,
    ],
    table,
    byTime: table,
    parameter: () => '?',
    time: (time) => timeText(time.getTime()),
    now: sqliteTime(),
    later: (ms) => sqliteTime(`(${ms} / 1000.0) || ' seconds'`),
    until: (time) => `(julianday(${time}) - julianday('now')) * 86400000.0`,
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    wide: (column) => `CAST(${column} AS TEXT)`,
    onConflict:
      'ON CONFLICT (id) DO UPDATE SET topic = excluded.topic, due_at = excluded.due_at, next_at = excluded.next_at, ' +
      'state = excluded.state, attempts = 0, error = NULL, epoch = epoch + 1',
    taking: '',
    notifying: '',
    channel: `es_${name}`,
  })
}
