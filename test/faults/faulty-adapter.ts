/** A driver adapter on which one statement, the n-th, goes wrong: before it is sent, or after it has run. */
import { setTimeout as delay } from 'node:timers/promises'
import {
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlDriverTransaction,
  type SqlQuery,
  statement,
} from '../../src/prisma/driver.js'

/** What happens at the n-th point. */
export type Fault =
  /** The driver fails, and nothing was sent: by an error of its own, as for a lost connection, or by any other. */
  | 'lost before'
  | 'failed before'
  /** It was sent and carried out, and the answer did not come. */
  | 'lost after'
  /** The server ends the connection. */
  | 'cut before'
  | 'cut after'
  | 'delayed'

/** What is known of the points that were passed. */
export interface Passed {
  /** What was sent at each point. */
  readonly points: readonly string[]
  /** The point at which the fault happened. */
  readonly struck: string | undefined
}

/** Ends a connection from outside of it. */
export type CutConnection = (connectionId: number) => Promise<void>

const delayMs = 400

/** Wraps a factory. Nothing is counted, and nothing goes wrong, until it is armed. */
export class FaultyFactory implements SqlDriverAdapterFactory {
  readonly provider: SqlDriverAdapterFactory['provider']
  readonly adapterName: string
  readonly #inner: SqlDriverAdapterFactory
  readonly #cut: CutConnection | undefined
  #armed: { readonly fault: Fault | undefined; readonly at: number } | undefined
  #points: string[] = []
  #struck: string | undefined

  /** @param cut - undefined where there is no server that could end a connection */
  constructor(inner: SqlDriverAdapterFactory, cut: CutConnection | undefined) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#cut = cut
  }

  /** From now on points are counted from 0, and the fault happens at one of them. */
  arm(fault: Fault | undefined, at: number): void {
    this.#points = []
    this.#struck = undefined
    this.#armed = { fault, at }
  }

  disarm(): Passed {
    this.#armed = undefined
    return { points: this.#points, struck: this.#struck }
  }

  async connect(): Promise<SqlDriverAdapter> {
    const adapter = await this.#inner.connect()
    return {
      provider: adapter.provider,
      adapterName: adapter.adapterName,
      queryRaw: (query) => this.#point(query.sql, undefined, () => adapter.queryRaw(query)),
      executeRaw: (query) => this.#point(query.sql, undefined, () => adapter.executeRaw(query)),
      executeScript: (script) => this.#point(script, undefined, () => adapter.executeScript(script)),
      startTransaction: async (isolationLevel) => {
        let begun: SqlDriverTransaction | undefined
        const begin = async (): Promise<SqlDriverTransaction> => {
          begun = await adapter.startTransaction(isolationLevel)
          return begun
        }
        const transaction = await this.#point('BEGIN', undefined, begin).catch(async (error: unknown) => {
          // A connection that is lost takes its transaction with it.
          if (begun?.options.usePhantomQuery === false) await begun.executeRaw(statement('ROLLBACK'))
          await begun?.rollback()
          throw error
        })
        return this.#wrapped(transaction, await this.#connectionIdOf(transaction))
      },
      getConnectionInfo: () => adapter.getConnectionInfo?.() ?? { supportsRelationJoins: false },
      underlyingDriver: () => adapter.underlyingDriver?.(),
      dispose: () => adapter.dispose(),
    }
  }

  #wrapped(inner: SqlDriverTransaction, connectionId: number | undefined): SqlDriverTransaction {
    const point = <T>(what: string, run: () => Promise<T>): Promise<T> => this.#point(what, connectionId, run)
    // Such an adapter gives its connection back also when the statement fails: one that was not sent does so here.
    const ending = async (what: string, run: () => Promise<void>): Promise<void> => {
      let isSent = false
      const send = async (): Promise<void> => {
        isSent = true
        await run()
      }
      try {
        await point(what, send)
      } finally {
        if (!isSent) await inner.rollback()
      }
    }
    return {
      provider: inner.provider,
      adapterName: inner.adapterName,
      options: inner.options,
      queryRaw: (query: SqlQuery) => point(query.sql, () => inner.queryRaw(query)),
      executeRaw: (query: SqlQuery) => point(query.sql, () => inner.executeRaw(query)),
      // Where these only give the connection back, nothing is sent that could go wrong.
      commit: () => (inner.options.usePhantomQuery ? ending('COMMIT', () => inner.commit()) : inner.commit()),
      rollback: () => (inner.options.usePhantomQuery ? ending('ROLLBACK', () => inner.rollback()) : inner.rollback()),
      // All adapters of Prisma have these.
      createSavepoint: (name) => point('SAVEPOINT', async () => await inner.createSavepoint?.(name)),
      rollbackToSavepoint: (name) => point('ROLLBACK TO', async () => await inner.rollbackToSavepoint?.(name)),
      releaseSavepoint: (name) => point('RELEASE', async () => await inner.releaseSavepoint?.(name)),
    }
  }

  async #connectionIdOf(transaction: SqlDriverTransaction): Promise<number | undefined> {
    if (this.#cut === undefined) return undefined
    const sql = this.provider === 'postgres' ? 'SELECT pg_backend_pid()' : 'SELECT CONNECTION_ID()'
    const { rows } = await transaction.queryRaw(statement(sql))
    return Number(rows[0]?.[0])
  }

  async #point<T>(what: string, connectionId: number | undefined, run: () => Promise<T>): Promise<T> {
    const armed = this.#armed
    if (armed === undefined) return await run()
    this.#points.push(what)
    if (this.#points.length - 1 !== armed.at || armed.fault === undefined) return await run()
    return await this.#strike(armed.fault, { what, connectionId, run })
  }

  async #strike<T>(
    fault: Fault,
    { what, connectionId, run }: { what: string; connectionId: number | undefined; run: () => Promise<T> },
  ): Promise<T> {
    const cut = async (): Promise<boolean> => {
      if (connectionId === undefined || this.#cut === undefined) return false
      await this.#cut(connectionId)
      return true
    }
    switch (fault) {
      case 'lost before':
        this.#struck = what
        throw new Error('Connection terminated unexpectedly')
      case 'failed before':
        this.#struck = what
        throw new RangeError('The driver has failed.')
      case 'lost after':
        await run()
        this.#struck = what
        throw new Error('Connection terminated unexpectedly')
      case 'cut before':
        if (await cut()) this.#struck = what
        return await run()
      case 'cut after': {
        const result = await run()
        if (!(await cut())) return result
        this.#struck = what
        throw new Error('Connection terminated unexpectedly')
      }
      case 'delayed':
        this.#struck = what
        await delay(delayMs)
        return await run()
    }
  }
}
