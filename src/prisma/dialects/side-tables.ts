/** The statements over the tables beside the events, alike on all databases but for a few words: idempotency keys, tracking positions, subject keys. */
import type { IdempotencyClaim, IdempotencyKey, RecordedResponse, SubjectKey } from '../../persistence/recorder.js'
import type { Tracking } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { IdempotencyKeysTable, RecordedAnswer, SubjectKeysTable, TrackingTable } from '../dialect.js'
import { statement } from '../driver.js'
import { partsOf, toBigInt, toBytes, toJSONObject, toText } from './event-rows.js'

/** What differs between the databases. */
interface IdempotencyKeysStatements {
  readonly createStatements: readonly string[]
  /** The table and its column for the key, quoted. */
  readonly table: string
  readonly key: string
  /** How parameters are written. */
  readonly parameter: (position: number, type: 'text' | 'bytes' | 'integer' | 'json') => string
  /** The text under a name in the headers, compared exactly. */
  readonly hasMember: (name: string, parameter: string) => string
  /** Ends a select so that it sees the row that a claim has met. */
  readonly seesLatest: string
  /** Inserts the row of a key, or takes one that has expired; `known` for a row that has not. */
  readonly claim: (runner: StatementRunner, claim: IdempotencyClaim) => Promise<'claimed' | 'in use' | 'known'>
  readonly deleteExpired: (runner: StatementRunner, limit: number) => Promise<number>
}

/** Beside the headers, and no name of one: the person whose data the answer has. There is no index, since few are forgotten and answers expire. */
const subjectMember = ':subject'

/** The status of a key that was claimed and has no answer yet. */
const unanswered = 0

/**
 * One table on any of the databases. A claim is a row, which nobody else sees before its transaction has committed, and by
 * then it has its answer.
 */
export class KeysOfRequestsTable implements IdempotencyKeysTable {
  readonly createStatements: readonly string[]
  readonly #words: IdempotencyKeysStatements

  constructor(words: IdempotencyKeysStatements) {
    this.createStatements = words.createStatements
    this.#words = words
  }

  async claim(runner: StatementRunner, claim: IdempotencyClaim): Promise<'claimed' | 'in use' | RecordedAnswer> {
    const outcome = await this.#words.claim(runner, claim)
    // What is known has no answer only in the transaction that has claimed it, and is gone only where somebody is deleting it.
    return outcome === 'known' ? ((await this.#select(runner, claim)) ?? 'in use') : outcome
  }

  async complete(
    runner: StatementRunner,
    { scope, key }: IdempotencyKey,
    response: RecordedResponse,
  ): Promise<boolean> {
    const { table, key: keyColumn, parameter } = this.#words
    const sql =
      `UPDATE ${table} SET status = ${parameter(1, 'integer')}, headers = ${parameter(2, 'json')}, body = ${parameter(3, 'bytes')} ` +
      `WHERE scope = ${parameter(4, 'text')} AND ${keyColumn} = ${parameter(5, 'text')}`
    const { status, headers, body, subject } = response
    const members = subject === undefined ? headers : { ...headers, [subjectMember]: subject }
    return (await runner.execute(statement(sql, [status, JSON.stringify(members), body, scope, key]))) > 0
  }

  /** One by one, by their keys: to delete by what is in them would lock keys of others on some databases. */
  async deleteOf(runner: StatementRunner, subject: string): Promise<number> {
    const { table, key, parameter, hasMember } = this.#words
    const isAbout = (position: number): string => hasMember(subjectMember, parameter(position, 'text'))
    const { rows } = await runner.query(statement(`SELECT scope, ${key} FROM ${table} WHERE ${isAbout(1)}`, [subject]))
    const sql = `DELETE FROM ${table} WHERE scope = ${parameter(1, 'text')} AND ${key} = ${parameter(2, 'text')} AND ${isAbout(3)}`
    for (const [scope, name] of rows) await runner.execute(statement(sql, [scope, name, subject]))
    return rows.length
  }

  async deleteExpired(runner: StatementRunner, limit: number): Promise<number> {
    return await this.#words.deleteExpired(runner, limit)
  }

  async #select(runner: StatementRunner, { scope, key }: IdempotencyKey): Promise<RecordedAnswer | undefined> {
    const { table, key: keyColumn, parameter, seesLatest } = this.#words
    const sql =
      `SELECT fingerprint, status, headers, body FROM ${table} ` +
      `WHERE scope = ${parameter(1, 'text')} AND ${keyColumn} = ${parameter(2, 'text')}${seesLatest}`
    const { rows } = await runner.query(statement(sql, [scope, key]))
    const row = rows[0]
    if (row === undefined || Number(row[1]) === unanswered) return undefined
    // Written by `complete` only, so the values of the object are those of headers.
    const { [subjectMember]: _subject, ...headers } = toJSONObject(row[2]) as RecordedResponse['headers']
    return { fingerprint: toBytes(row[0]), response: { status: Number(row[1]), headers, body: toBytes(row[3]) } }
  }
}

/** What differs between the databases. */
interface TrackingStatements {
  readonly createStatements: readonly string[]
  /** Takes a name and a position, and changes a row only where the position is greater than the one stored. */
  readonly advance: string
  /** Takes a name. */
  readonly select: string
  /** Gives names and positions. */
  readonly selectAll: string
}

/** For databases that count an upsert only when it has changed a row. */
export class UpsertTrackingTable implements TrackingTable {
  readonly createStatements: readonly string[]
  readonly #statements: TrackingStatements

  constructor(statements: TrackingStatements) {
    this.createStatements = statements.createStatements
    this.#statements = statements
  }

  async advance(runner: StatementRunner, { applicationName, notificationId }: Tracking): Promise<boolean> {
    return (await runner.execute(statement(this.#statements.advance, [applicationName, notificationId]))) > 0
  }

  async all(runner: StatementRunner): Promise<Tracking[]> {
    const { rows } = await runner.query(statement(this.#statements.selectAll))
    return rows.map(([name, id]) => ({ applicationName: String(name), notificationId: toBigInt(id) }))
  }

  async lastPosition(runner: StatementRunner, applicationName: string): Promise<bigint | null> {
    const { rows } = await runner.query(statement(this.#statements.select, [applicationName]))
    return rows[0] === undefined ? null : toBigInt(rows[0][0])
  }
}

/** What differs between the databases. */
interface SubjectKeysStatements {
  readonly createStatements: readonly string[]
  /** The table and its columns, quoted. */
  readonly table: string
  readonly subject: string
  readonly key: string
  /** How parameters are written: the subject, then the key. */
  readonly parameter: (position: number, column: 'subject' | 'key') => string
  /**
   * Ends an insert that leaves those keys alone that are there already. Until the end of the transaction nobody else may
   * delete them, and a select must see them.
   */
  readonly onConflict: string
}

/** How many persons one statement names. */
const partSize = 100

/** One table on any of the databases. */
export class KeysTable implements SubjectKeysTable {
  readonly createStatements: readonly string[]
  readonly #words: SubjectKeysStatements

  constructor(words: SubjectKeysStatements) {
    this.createStatements = words.createStatements
    this.#words = words
  }

  async select(runner: StatementRunner, subjects: readonly string[]): Promise<SubjectKey[]> {
    const { table, subject, key, parameter } = this.#words
    const keys: SubjectKey[] = []
    for (const part of partsOf(subjects, partSize)) {
      const places = part.map((_, index) => parameter(index + 1, 'subject')).join(', ')
      const sql = `SELECT ${subject}, ${key} FROM ${table} WHERE ${subject} IN (${places})`
      const { rows } = await runner.query(statement(sql, [...part]))
      for (const row of rows) keys.push({ subject: toText(row[0]), key: toBytes(row[1]) })
    }
    return keys
  }

  async insert(runner: StatementRunner, keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    const { table, subject, key, parameter, onConflict } = this.#words
    // In one order for all, so that two writers do not wait for each other.
    const sorted = [...keys].sort((a, b) => (a.subject < b.subject ? -1 : 1))
    for (const part of partsOf(sorted, partSize)) {
      const rows = part.map(
        (_, index) => `(${parameter(2 * index + 1, 'subject')}, ${parameter(2 * index + 2, 'key')})`,
      )
      const sql = `INSERT INTO ${table} (${subject}, ${key}) VALUES ${rows.join(', ')} ${onConflict}`
      const values = part.flatMap((each) => [each.subject, each.key])
      await runner.execute(statement(sql, values))
    }
    return await this.select(
      runner,
      sorted.map((each) => each.subject),
    )
  }

  async delete(runner: StatementRunner, name: string): Promise<boolean> {
    const { table, subject, parameter } = this.#words
    const sql = `DELETE FROM ${table} WHERE ${subject} = ${parameter(1, 'subject')}`
    return (await runner.execute(statement(sql, [name]))) > 0
  }
}
