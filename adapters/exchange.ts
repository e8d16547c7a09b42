/** What a transaction knows of its request, in any framework. */
import type { ServerResponse } from 'node:http'
import type { RecordedResponse } from '../src/index.js'
import type { ServedRequest } from './deferred-request.js'

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
