/** Keeps the answers to requests in a table of the Prisma schema. */
import { checkSubject } from '../domain/personal-data.js'
import { NoTransactionError, ProgrammingError } from '../errors.js'
import type { IdempotencyClaim, IdempotencyKey, IdempotencyStore, RecordedResponse } from '../persistence/recorder.js'
import { IdempotencyKeyInUseError, IdempotencyKeyReusedError } from '../request-errors.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'
import type { IdempotencyKeysTable } from './dialect.js'
import { addAnswerTable, createTables, type Engine, engineOf, runIn } from './engine.js'

/** Which table of keys a store uses. */
export interface IdempotencyStoreOptions {
  /** The table's name; default `idempotency_keys`. */
  readonly keysTable?: string
  /** The schema that the table is in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** How many keys are deleted by one transaction. */
const partSize = 200

/** After so many answers a store deletes what has expired, up to twice as many. */
const answersPerCleanUp = 100

/**
 * An `IdempotencyStore` on a datastore: what adapters use where the option `idempotency` is set.
 *
 * While a key is in use, a second claim fails at once: on PostgreSQL and MariaDB wherever it comes from, on SQLite and
 * MySQL in the same process. There another process waits for the end of the first transaction, and then gets its answer.
 * Now and then, after a commit, it deletes some of what has expired. `application.forget` and `deleteKey` of the recorder of
 * subject keys delete the answers about a person from the tables of all stores that were made in this process on the datastore.
 */
export class PrismaIdempotencyStore implements IdempotencyStore {
  readonly #engine: Engine
  readonly #table: IdempotencyKeysTable
  readonly #name: string
  #answers = 0

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the table's name is no identifier, or too long for one
   */
  constructor(datastore: object, options: IdempotencyStoreOptions = {}) {
    const { keysTable = 'idempotency_keys', schema } = options
    this.#engine = engineOf(datastore)
    const place = { name: keysTable, schema: schema ?? this.#engine.schema }
    this.#name = `${place.schema ?? ''}.${keysTable}`
    this.#table = this.#engine.dialect.idempotencyKeysTable(place)
    addAnswerTable(this.#engine, this.#name, this.#table)
  }

  async claim(claim: IdempotencyClaim): Promise<RecordedResponse | undefined> {
    assertFits(claim)
    const transaction = this.#transaction('claim an idempotency key')
    transaction.assertUsable()
    const release = takeKey(this.#engine, this.#name, claim)
    if (release === undefined) throw inUse(claim)
    transaction.listeners.onEnded(release)
    const outcome = await runIn(this.#engine, 'write', 'claim an idempotency key', (runner) =>
      this.#table.claim(runner, claim),
    )
    if (outcome === 'claimed') return undefined
    if (outcome === 'in use') throw inUse(claim)
    if (Buffer.compare(outcome.fingerprint, claim.fingerprint) === 0) return outcome.response
    throw new IdempotencyKeyReusedError(
      `Could not use idempotency key ${claim.key}: another request was sent with it before. Use a new key for a new request.`,
    )
  }

  async complete(key: IdempotencyKey, response: RecordedResponse): Promise<void> {
    const transaction = this.#transaction('store an answer')
    const { subject } = response
    const answer = subject === undefined ? response : { ...response, subject: checkSubject(subject) }
    const isStored = await runIn(this.#engine, 'write', 'store an answer', (runner) =>
      this.#table.complete(runner, key, answer),
    )
    if (!isStored) {
      throw new ProgrammingError(`Could not store an answer under idempotency key ${key.key}: claim the key first.`)
    }
    this.#answers += 1
    if (this.#answers % answersPerCleanUp === 0) transaction.hooks.afterCommit(() => this.#deletePart())
  }

  async deleteExpired(): Promise<number> {
    let count = 0
    for (;;) {
      const deleted = await this.#deletePart()
      count += deleted
      if (deleted < partSize) return count
    }
  }

  /**
   * Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. In production the
   * table comes from `prisma migrate`.
   */
  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#table.createStatements)
  }

  async #deletePart(): Promise<number> {
    return await runIn(this.#engine, 'together', 'delete idempotency keys that have expired', (runner) =>
      this.#table.deleteExpired(runner, partSize),
    )
  }

  #transaction(attempted: string): Scope<DriverConnection> {
    const { currentScope } = this.#engine
    if (currentScope !== undefined) return currentScope
    throw new NoTransactionError(
      `Could not ${attempted}: there is no current transaction, and an answer is stored together with its work or not at all.`,
    )
  }
}

function assertFits({ scope, key, ttlMs }: IdempotencyClaim): void {
  if (key.length >= 1 && key.length <= longest && scope.length <= longest && ttlMs > 0 && ttlMs <= longestTtlMs) return
  throw new ProgrammingError(
    `Could not claim an idempotency key: a key has 1 to ${longest} characters, a scope at most ${longest}, and it is kept for more than 0 ms and at most ${longestTtlMs}.`,
  )
}

const longest = 255
const longestTtlMs = 10 * 366 * 24 * 60 * 60 * 1000

function inUse({ key }: IdempotencyKey): IdempotencyKeyInUseError {
  return new IdempotencyKeyInUseError(
    `Could not use idempotency key ${key}: a request with it is still being answered. Wait, and send it again.`,
  )
}

/** For each database, by an object of it that lives as long: the keys that are in use. */
const running = new WeakMap<object, Set<string>>()

/**
 * Takes a key.
 *
 * @param database - keys of several never meet
 * @returns gives it back; undefined where it is in use
 */
function takeKey(database: object, table: string, { scope, key }: IdempotencyKey): (() => void) | undefined {
  const keys = running.get(database) ?? new Set()
  running.set(database, keys)
  const name = JSON.stringify([table, scope, key])
  if (keys.has(name)) return undefined
  keys.add(name)
  return () => keys.delete(name)
}
