/** One attempt at a request: its transaction, from the claim of an idempotency key to the commit. */
import type { ServerResponse } from 'node:http'
import { isEventSourcingError, type ManagedTransaction, ProgrammingError, type RecordedResponse } from '../src/index.js'
import type { ClaimPlace, IdempotentRequest } from './idempotency.js'
import type { ResponseToRecord } from './whole-response.js'

/** What there is to do before a commit. */
export interface CommitOptions {
  /** What is stored under the idempotency key, if there is one. */
  readonly answer: Omit<ResponseToRecord, 'response'>
  /** Whether a transaction that was used must not commit: its answer is a stream, and its options refuse one. */
  readonly refusesUse: boolean
}

/** The transaction of one attempt. */
export class Attempt<Request> {
  readonly managed: ManagedTransaction
  readonly #idempotent: IdempotentRequest<Request> | undefined
  /** How often the database has been used to claim the idempotency key. */
  #usesOfClaim = 0

  constructor(managed: ManagedTransaction, idempotent: IdempotentRequest<Request> | undefined) {
    this.managed = managed
    this.#idempotent = idempotent
  }

  /**
   * Claims the idempotency key of the request, if it has one.
   *
   * @param place - where the request is; default: just before its handler
   * @returns the answer that was stored under it
   */
  async claim(place?: ClaimPlace): Promise<RecordedResponse | undefined> {
    const before = this.managed.useCount
    const known = await this.#idempotent?.claim(this.managed, place)
    this.#usesOfClaim += this.managed.useCount - before
    return known
  }

  /** Whether something was done in the transaction, beside the claim. */
  get isUsed(): boolean {
    return this.managed.useCount > this.#usesOfClaim || this.managed.hasPending
  }

  /**
   * Commits; when that fails, it has rolled back.
   *
   * @returns whether it was used
   */
  async commit({ answer, refusesUse }: CommitOptions): Promise<boolean> {
    const { isUsed } = this
    try {
      if (refusesUse) this.refuseUse()
      await this.#idempotent?.record(this.managed, answer, isUsed)
    } catch (error) {
      await this.managed.rollback()
      throw error
    }
    await this.managed.commit()
    return isUsed
  }

  /** @throws `ProgrammingError` when it was used, since its answer is a stream */
  refuseUse(): void {
    if (this.isUsed) throw refusedStream()
  }
}

/** What a datastore has thrown that gives a request no transaction. */
export function refusedBy(error: Error, response: ServerResponse): Error {
  // This process is about to end: the client shall ask another one, on another connection.
  if (isEventSourcingError(error) && error.code === 'ES_DATASTORE_CLOSED') response.shouldKeepAlive = false
  return error
}

function refusedStream(): ProgrammingError {
  return new ProgrammingError(
    'The body of this response is a stream, which the options of the transaction refuse: send it whole, or use `transaction: false`.',
  )
}
