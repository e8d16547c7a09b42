/** The adapter of a client whose tables are in a shadow: it says so to Prisma, and lets nothing pass by that is sent elsewhere. */
import { NotSupportedError } from '../errors.js'
import { DelegatedTransaction } from './delegated-transaction.js'
import type {
  SqlConnectionInfo,
  SqlDriverAdapter,
  SqlDriverAdapterFactory,
  SqlDriverTransaction,
  SqlIsolationLevel,
  SqlQuery,
  SqlResultSet,
} from './driver.js'
import { isWrite } from './statement-kind.js'

/** What a shadow's adapter is made from. */
export interface ShadowAdapterOptions {
  /** The schema or database, as Prisma is told it. */
  readonly schema: string
  /** The same as Prisma's statements have it. */
  readonly quoted: string
}

/** Gives a client the connections of another adapter, and other tables. */
export class ShadowAdapterFactory implements SqlDriverAdapterFactory {
  readonly provider: SqlDriverAdapterFactory['provider']
  readonly adapterName: string
  readonly #inner: SqlDriverAdapterFactory
  readonly #options: ShadowAdapterOptions
  /** While it is there, statements are not sent: it is told them. */
  #spy: ((sql: string) => void) | undefined

  constructor(inner: SqlDriverAdapterFactory, options: ShadowAdapterOptions) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#options = options
  }

  async connect(): Promise<SqlDriverAdapter> {
    const inner = await this.#inner.connect()
    return new ShadowAdapter(inner, this.#options, () => this.#spy)
  }

  /** Tells what statements some reads would send, outside of any transaction; they find nothing. */
  async statementsOf(reads: () => Promise<unknown>): Promise<string[]> {
    const seen: string[] = []
    this.#spy = (sql) => void seen.push(sql)
    try {
      await reads()
    } finally {
      this.#spy = undefined
    }
    return seen
  }
}

class ShadowAdapter implements SqlDriverAdapter {
  readonly provider: SqlDriverAdapter['provider']
  readonly adapterName: string
  readonly #inner: SqlDriverAdapter
  readonly #options: ShadowAdapterOptions
  readonly #spy: () => ((sql: string) => void) | undefined

  constructor(inner: SqlDriverAdapter, options: ShadowAdapterOptions, spy: () => ((sql: string) => void) | undefined) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#options = options
    this.#spy = spy
  }

  getConnectionInfo(): SqlConnectionInfo {
    const info = this.#inner.getConnectionInfo?.() ?? { supportsRelationJoins: false }
    return { ...info, schemaName: this.#options.schema }
  }

  async queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    const spy = this.#spy()
    spy?.(query.sql)
    if (spy !== undefined) return { columnNames: [], columnTypes: [], rows: [] }
    check(query.sql, this.#options)
    return await this.#inner.queryRaw(query)
  }

  async executeRaw(query: SqlQuery): Promise<number> {
    check(query.sql, this.#options)
    return await this.#inner.executeRaw(query)
  }

  async executeScript(script: string): Promise<void> {
    check(script, this.#options)
    await this.#inner.executeScript(script)
  }

  async startTransaction(isolationLevel?: SqlIsolationLevel): Promise<SqlDriverTransaction> {
    return new DelegatedTransaction(await this.#inner.startTransaction(isolationLevel), (query) => {
      check(query.sql, this.#options)
      return query
    })
  }

  /** The connections are those of the datastore. */
  async dispose(): Promise<void> {}
}

/** @throws `NotSupportedError` for a statement that Prisma has not made for the shadow: it would read or change rows in use */
function check(sql: string, { quoted }: ShadowAdapterOptions): void {
  const place = `${quoted}.`
  const words = /^\s*(?:INSERT(?: IGNORE)? INTO|REPLACE INTO|UPDATE|DELETE FROM)\s+/i.exec(sql)?.[0]
  const isThere = isWrite(sql) ? words !== undefined && sql.startsWith(place, words.length) : sql.includes(place)
  if (isThere || /^\s*(?:BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SELECT 1\s*$)/i.test(sql)) return
  throw new NotSupportedError(
    `Could not run SQL of your own in a shadow rebuild, since that reads or changes the rows in use: ${sql.slice(0, 200)}. ` +
      "Use the models of the client, or rebuild with way: 'atomic'.",
  )
}
