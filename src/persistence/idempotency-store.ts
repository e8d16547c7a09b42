/** The port of what keeps the answers to requests that may be sent again. */

/** What a client calls its request by. */
export interface IdempotencyKey {
  /** Whose key it is, such as a user's id: up to 255 characters. Keys of one name in two scopes never meet. */
  readonly scope: string
  /** The client's key: 1 to 255 characters. Both are compared exactly, with case, accents and spaces at the end. */
  readonly key: string
}

/** What a claim says of its request. */
export interface IdempotencyClaim extends IdempotencyKey {
  /** Tells requests apart that have the same key: up to 64 bytes, such as a SHA-256. */
  readonly fingerprint: Uint8Array
  /** Milliseconds for which the answer is kept, from now. */
  readonly ttlMs: number
}

/** An answer as it is kept. */
export interface RecordedResponse {
  /** The status, from 100 to 999. */
  readonly status: number
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** The bytes of the body; none for a response without one. */
  readonly body: Uint8Array
  /** The person whose data it has, as events name them; undefined where nobody has said so. It is for `forget`, and not given back. */
  readonly subject?: string
}

/**
 * Keeps one answer for each key, in the transaction of the work that it answers: both are stored, or neither. So a claim has
 * to be completed before its transaction commits, and whoever fails may repeat the request with its key.
 */
export interface IdempotencyStore {
  /**
   * Takes a key for the current transaction, until that ends.
   *
   * @returns undefined where the work is to be done now; the answer where it was done before. One that has expired is as if
   * it were not there
   * @throws `IdempotencyKeyInUseError` while another transaction has the key, `IdempotencyKeyReusedError` when it was used
   * with another fingerprint, `NoTransactionError` outside of a transaction
   */
  claim(claim: IdempotencyClaim): Promise<RecordedResponse | undefined>

  /**
   * Stores the answer to the work that the current transaction has claimed.
   *
   * @throws `ProgrammingError` for a key that this transaction has not claimed, `NoTransactionError` outside of a transaction
   */
  complete(key: IdempotencyKey, response: RecordedResponse): Promise<void>

  /**
   * Deletes the answers that have expired, in parts that are stored each by itself. To be called from time to time, by a job.
   *
   * @returns how many there were
   */
  deleteExpired(): Promise<number>
}
