/** NestJS: idempotency keys are claimed by an interceptor, which Nest runs after the guards of a route. */
import type { ServedRequest } from './http.js'
import { hasKey } from './request-transaction.js'

/** What an interceptor is told of its request; `ExecutionContext` of Nest is one. */
export interface InterceptedContext {
  /** `http` for requests. */
  getType(): string
  /** The request and the response of the framework below Nest. */
  switchToHttp(): {
    /** The request. */
    getRequest(): unknown
    /** The response, or the reply. */
    getResponse(): unknown
  }
}

/** What comes after an interceptor; `CallHandler` of Nest is one. */
export interface InterceptedHandler<Result> {
  /** Runs the handler when somebody subscribes to what it gives. */
  handle(): Result
}

/** As `claimAll`, for an interceptor. */
export async function intercept<Request, Result>(
  served: ReadonlyArray<ServedRequest<Request>>,
  next: InterceptedHandler<Result>,
): Promise<Result> {
  return await claimAll(served, () => next.handle())
}

/**
 * Claims the keys of a request, and goes on with it where it has not been served before.
 *
 * @returns never settles where the request has been answered as it was before: nothing is left to send, and Nest would send
 * whatever an interceptor gives
 */
export async function claimAll<Request, Result>(
  served: ReadonlyArray<ServedRequest<Request>>,
  goOn: () => Result,
): Promise<Result> {
  for (const transaction of served.filter(hasKey)) {
    if (!(await transaction.claim())) return await new Promise<never>(() => {})
  }
  return goOn()
}
