/** A datastore inside a transaction that somebody else manages: it never begins, commits or rolls back. */
import { EnvironmentError, InterfaceError, NoTransactionError, NotSupportedError } from '../errors.js'
import type { LogOrder } from '../persistence/recorder.js'
import type { TransactionOptions } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import type { StatementRunner } from './connections.js'
import { dialectOf } from './dialects/by-provider.js'
import { providersByName, type SqlQuery, type SqlResultSet } from './driver.js'
import { setEngine } from './engine.js'
import { LogWatches } from './log-watch.js'
import type { TransactionClient } from './prisma-client.js'
import { NoTransaction, type Transaction } from './transaction.js'

/** What is called on the transaction client of whoever manages transactions. */
export interface RawQueryClient {
  $queryRawUnsafe(sql: string, ...args: unknown[]): PromiseLike<unknown>
  $executeRawUnsafe(sql: string, ...args: unknown[]): PromiseLike<number>
}

/** What a scoped datastore is made from. */
export interface ScopedClientOptions<Client extends RawQueryClient> {
  /** Returns the transaction client that is current where it is called. */
  readonly currentClient: () => Client | undefined
  /** The database, by the name that driver adapters give it. */
  readonly provider: string
  /** The schema of the library's tables, where the database has schemas. */
  readonly schema?: string
  /** What keeps logs in order on PostgreSQL, for recorders that say nothing of it; default `floor-lock`. */
  readonly order?: LogOrder
}

/**
 * Lets recorders work through the client of an open Prisma transaction. Events are written when they are saved, since the
 * end of the transaction is not known here; whether they stay is decided by who manages it.
 */
export class ScopedClientDatastore<Client extends RawQueryClient = RawQueryClient>
  implements RecorderDatastore<Client>
{
  readonly #currentClient: () => Client | undefined
  #savepoints = 0

  constructor(options: ScopedClientOptions<Client>) {
    this.#currentClient = options.currentClient
    const runner = new ClientRunner(() => this.#client())
    setEngine(this, {
      dialect: dialectOf(options.provider),
      schema: options.schema,
      order: options.order,
      currentScope: undefined,
      signals: undefined,
      watches: new LogWatches(),
      telemetry: undefined,
      isProvisional: () => true,
      runner: () => runner,
      // It is somebody else's to know.
      checkOutside: () => undefined,
      atOnce: refuse,
      inPart: refuse,
      rehearse: refuse,
    })
  }

  /** Runs work in the transaction that is current, or in a part of it that can fail alone; its end is not this one's. */
  async transaction<T>(work: (tx: Transaction<Client>) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    if (options.propagation === 'requiresNew') {
      throw new NotSupportedError(
        'Could not open a transaction with propagation "requiresNew": transactions are managed by someone else here.',
      )
    }
    // A client that is passed around as a transaction client already is one.
    const run = (): Promise<T> => work(new NoTransaction<Client>(() => this.#client() as TransactionClient<Client>))
    return options.propagation === 'nested' ? await this.#inSavepoint(run) : await run()
  }

  async #inSavepoint<T>(run: () => Promise<T>): Promise<T> {
    const client = this.#client()
    const name = `es_part_${++this.#savepoints}`
    await client.$executeRawUnsafe(`SAVEPOINT ${name}`)
    let result: T
    try {
      result = await run()
    } catch (error) {
      await client.$executeRawUnsafe(`ROLLBACK TO SAVEPOINT ${name}`)
      throw error
    }
    await client.$executeRawUnsafe(`RELEASE SAVEPOINT ${name}`)
    return result
  }

  #client(): Client {
    const client = this.#currentClient()
    if (client !== undefined) return client
    throw new NoTransactionError(
      'There is no current transaction client: the function named by PRISMA_SCOPED_CLIENT_TOPIC returned undefined. Call the application inside a transaction.',
    )
  }
}

function refuse(): never {
  throw new InterfaceError('Could not begin a transaction: transactions are managed by someone else here.')
}

/** Runs statements through Prisma's raw queries. */
class ClientRunner implements StatementRunner {
  readonly inTransaction = true
  readonly givesInsertIds = false
  readonly #client: () => RawQueryClient

  constructor(client: () => RawQueryClient) {
    this.#client = client
  }

  async query({ sql, args }: SqlQuery): Promise<SqlResultSet> {
    const result = await this.#client().$queryRawUnsafe(sql, ...args)
    const records: readonly unknown[] = Array.isArray(result) ? result : []
    // A row is an object whose properties are in the order of the columns.
    return { columnTypes: [], columnNames: [], rows: records.map((record) => Object.values(Object(record))) }
  }

  async execute({ sql, args }: SqlQuery): Promise<number> {
    return await this.#client().$executeRawUnsafe(sql, ...args)
  }
}

/**
 * Finds out which database a client is for.
 *
 * @param url - asked first: the scheme tells
 */
export function providerOf(client: unknown, url: string | undefined): string {
  const scheme = url?.slice(0, url.indexOf(':'))
  const name = scheme ?? activeProvider(client)
  const provider = name === undefined ? undefined : providersByName[name]
  if (provider !== undefined) return provider
  throw new EnvironmentError(
    `Could not tell the database of the scoped client${name === undefined ? '' : ` from "${name}"`}: set PRISMA_URL to its URL.`,
  )
}

function activeProvider(client: unknown): string | undefined {
  if (typeof client !== 'object' || client === null || !('_activeProvider' in client)) return undefined
  return typeof client._activeProvider === 'string' ? client._activeProvider : undefined
}
