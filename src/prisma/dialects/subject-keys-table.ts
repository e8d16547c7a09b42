/** The statements over one table of subject keys, alike on all databases but for a few words. */
import type { SubjectKey } from '../../persistence/subject-key-recorder.js'
import type { StatementRunner } from '../connections.js'
import type { SubjectKeysTable } from '../dialect.js'
import { statement } from '../driver.js'
import { partsOf } from './chunks.js'
import { toBytes, toText } from './event-rows.js'

/** What differs between the databases. */
export interface SubjectKeysStatements {
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
