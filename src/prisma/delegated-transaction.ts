/** A transaction of an adapter whose statements somebody looks at, or changes, before they are sent. */
import type { SqlDriverTransaction, SqlQuery, SqlResultSet } from './driver.js'

/** Passes everything on. */
export class DelegatedTransaction implements SqlDriverTransaction {
  readonly provider: SqlDriverTransaction['provider']
  readonly adapterName: string
  readonly #inner: SqlDriverTransaction
  readonly #prepared: (query: SqlQuery) => SqlQuery

  /** @param prepared - gives what is sent in place of a statement */
  constructor(inner: SqlDriverTransaction, prepared: (query: SqlQuery) => SqlQuery) {
    this.provider = inner.provider
    this.adapterName = inner.adapterName
    this.#inner = inner
    this.#prepared = prepared
  }

  get options(): SqlDriverTransaction['options'] {
    return this.#inner.options
  }

  async queryRaw(query: SqlQuery): Promise<SqlResultSet> {
    return await this.#inner.queryRaw(this.#prepared(query))
  }

  async executeRaw(query: SqlQuery): Promise<number> {
    return await this.#inner.executeRaw(this.#prepared(query))
  }

  async commit(): Promise<void> {
    await this.#inner.commit()
  }

  async rollback(): Promise<void> {
    await this.#inner.rollback()
  }

  async createSavepoint(name: string): Promise<void> {
    await this.#inner.createSavepoint?.(name)
  }

  async rollbackToSavepoint(name: string): Promise<void> {
    await this.#inner.rollbackToSavepoint?.(name)
  }

  async releaseSavepoint(name: string): Promise<void> {
    await this.#inner.releaseSavepoint?.(name)
  }
}
