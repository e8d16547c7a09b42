/** What a transaction knows of its request, in any framework. */
import type { ServerResponse } from 'node:http'
import type { RecordedResponse } from '../src/index.js'
import type { RouteTransactionOptions, TransactionalDatastore } from './http.js'

/** What a framework keeps of a request: its transaction, or what gives it one at the first use. */
export interface ServedRequest<Request> {
  readonly datastore: TransactionalDatastore
  readonly options: RouteTransactionOptions<Request>
  /** Whether the request was answered with an error, in place of a response that was dropped. */
  readonly isAnswered: boolean
  /** Whether another one has taken its place. */
  readonly hasGivenWay: boolean
  /** Runs `fn`, and all that it calls, in the transaction. */
  run<T>(fn: () => T): T
  /** Runs `fn`, and all that it calls, as if there were no transaction. */
  outside<T>(fn: () => T): T
  /** Lets the transaction be there from now on. */
  open(): void
  /** Rolls back, because the request has failed. Never rejects. */
  rollBack(): Promise<void>
  /** Ends what is unused, so that another one can take its place. @throws `ProgrammingError` when something was done in it */
  giveWay(): Promise<void>
  /** To be called for a body that is a stream. @throws `ProgrammingError` when the options refuse one, and it has been used */
  checkStream(): void
}

/** One request in the framework that serves it. */
export interface Exchange<Request> {
  readonly request: Request
  /** The response of Node below the framework's. */
  readonly response: ServerResponse
  /** What messages call its transactions. */
  readonly label: string
  /** The transactions that the request has so far, of all datastores, without those that another one has taken the place of. */
  readonly served: ReadonlyArray<ServedRequest<Request>>
  /** Gives the request another one. */
  addServed(served: ServedRequest<Request>): void
  /** Whether a body that is written part by part is a stream in the sense of the option `stream`; else the framework looks at it. */
  readonly streamsByWriting: boolean
  /**
   * Hands an error to the framework's error handlers, which answer in place of a response that was dropped.
   *
   * @returns false when the framework cannot answer this request any more
   */
  fail(error: Error): boolean
  /** Answers, in the way of the framework, as the request was answered before. */
  replay(response: RecordedResponse): void
}
