/** A second client like the user's, on the same connections and in the same transactions, whose tables are elsewhere. */
import { NotSupportedError, ProgrammingError } from '../errors.js'
import { type AdapterHost, JoiningAdapterFactory } from './adapter.js'
import { JoiningClients } from './ambient-client.js'
import type { PrismaDatastoreOptions } from './datastore-options.js'
import {
  DelegatedTransaction,
  isPrismaClient,
  isWrite,
  type PrismaClientLike,
  type SqlConnectionInfo,
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlDriverTransaction,
  type SqlIsolationLevel,
  type SqlQuery,
  type SqlResultSet,
} from './driver.js'

/** What a shadow's client needs of its datastore. */
interface ShadowClientHost extends AdapterHost {
  readonly clients: JoiningClients
  /** The user's client. */
  bound(): PrismaClientLike | undefined
}

type Options<Client extends object> = Pick<
  PrismaDatastoreOptions<Client>,
  'adapter' | 'client' | 'deadlineMs' | 'maxWaitMs'
>

/** What makes such clients; undefined where the datastore was not told how to make one. */
export function newShadowClient<Client extends object>(
  options: Options<Client>,
  host: ShadowClientHost,
): ((shadow: string, quoted: string) => ShadowClient) | undefined {
  const { client: newClient } = options
  if (newClient === undefined) return undefined
  return (shadow, quoted) => {
    const joining = new JoiningClients(host.transactions, options)
    const inner = new JoiningAdapterFactory(options.adapter, { ...host, guestOpening: joining.opening })
    const adapter = new ShadowAdapterFactory(inner, { schema: shadow, quoted })
    return new ShadowClient({ host, joining, adapter, client: newClient(adapter) })
  }
}

interface ShadowParts {
  readonly host: ShadowClientHost
  readonly joining: JoiningClients
  readonly adapter: ShadowAdapterFactory
  readonly client: object
}

interface ModelDelegate {
  findFirst(): PromiseLike<unknown>
}

/** The client of one shadow. */
export class ShadowClient {
  readonly #parts: ShadowParts
  readonly #ambient: object

  constructor(parts: ShadowParts) {
    this.#parts = parts
    const { client, joining } = parts
    if (!isPrismaClient(client)) throw new ProgrammingError('The option `client` of the datastore has made no client.')
    this.#ambient = joining.join(client)
  }

  /** Runs work whose calls of the user's client are made on this one. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    const { host } = this.#parts
    const base = host.bound()
    if (base === undefined) throw new ProgrammingError('The datastore has no client.')
    return await host.clients.redirect({ base, client: this.#ambient }, work)
  }

  /**
   * The statement by which Prisma reads a model: it tells the table.
   *
   * @throws `ProgrammingError` where the client has no such model
   */
  async statementOf(model: string): Promise<string> {
    const { client, adapter } = this.#parts
    const delegate: unknown = Reflect.get(client, `${model.charAt(0).toLowerCase()}${model.slice(1)}`)
    if (!isDelegate(delegate)) {
      throw new ProgrammingError(`Could not make a shadow of the model '${model}': the client has none of that name.`)
    }
    const [sql = ''] = await adapter.statementsOf(async () => await delegate.findFirst())
    return sql
  }

  /** Ends it; the connections stay. */
  async close(): Promise<void> {
    const { joining, client } = this.#parts
    await joining.close()
    const disconnect: unknown = Reflect.get(client, '$disconnect')
    if (typeof disconnect === 'function') await Reflect.apply(disconnect, client, [])
  }
}

function isDelegate(value: unknown): value is ModelDelegate {
  return typeof value === 'object' && value !== null && 'findFirst' in value && typeof value.findFirst === 'function'
}

/** What a shadow's adapter is made from. */
interface ShadowAdapterOptions {
  /** The schema or database, as Prisma is told it. */
  readonly schema: string
  /** The same as Prisma's statements have it. */
  readonly quoted: string
}

/** Gives a client the connections of another adapter, and other tables. */
class ShadowAdapterFactory implements SqlDriverAdapterFactory {
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
