/** Keeps the keys of personal data in a table of the Prisma schema. */
import type { SubjectKey, SubjectKeyRecorder } from '../persistence/recorder.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import type { SubjectKeysTable } from './dialect.js'
import { answerTablesOf, createTables, type Engine, engineOf, runIn } from './engine.js'
import type { Transaction } from './transaction.js'

/** Which table of keys a recorder uses. */
export interface SubjectKeyOptions {
  /** The table's name; default `subject_keys`. */
  readonly keysTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/**
 * A `SubjectKeyRecorder` on a datastore. Inside a transaction it works in that; outside, each call is stored by itself.
 *
 * Of several writers that insert a key for one person at the same time, all get the key of the first.
 */
export class PrismaSubjectKeyRecorder<Client extends object = object> implements SubjectKeyRecorder {
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  readonly #engine: Engine
  readonly #table: SubjectKeysTable

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, options: SubjectKeyOptions = {}) {
    const { keysTable = 'subject_keys', schema } = options
    this.datastore = datastore
    this.#engine = engineOf(datastore)
    this.#table = this.#engine.dialect.subjectKeysTable({ name: keysTable, schema: schema ?? this.#engine.schema })
  }

  async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return await runIn(this.#engine, 'read', 'read the keys of persons', (runner) =>
      this.#table.select(runner, [...new Set(subjects)]),
    )
  }

  async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    if (keys.length === 0) return []
    const firstOfEach = [...new Map(keys.toReversed().map((key) => [key.subject, key])).values()]
    return await runIn(this.#engine, 'together', 'store the keys of persons', (runner) =>
      this.#table.insert(runner, firstOfEach),
    )
  }

  async deleteKey(subject: string): Promise<boolean> {
    if (this.#engine.currentScope === undefined) this.#engine.checkOutside(`the erasure of ${subject}`)
    return await runIn(this.#engine, 'write', 'delete the key of a person', async (runner) => {
      // Before the key: who repeats this after a failure deletes what is left.
      for (const answers of answerTablesOf(this.#engine)) await answers.deleteOf(runner, subject)
      return await this.#table.delete(runner, subject)
    })
  }

  /** Runs work in a transaction: the same as `datastore.transaction`. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options?: TransactionOptions): Promise<T> {
    return await this.datastore.transaction(work, options)
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#table.createStatements)
  }
}
