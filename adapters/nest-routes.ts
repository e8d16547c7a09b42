/**
 * The routes of NestJS: functions that run guards, interceptors, pipes and the handler, so that a key has to be claimed inside of them,
 * by an interceptor.
 */
import type { ServedRequest } from './http.js'
import type { MissingClaim } from './idempotency.js'
import { hasKey } from './request-transaction.js'

interface Metadata {
  readonly getMetadataKeys?: (target: object) => readonly unknown[]
}

/**
 * Whether a function of a route is one of Nest's. They have the metadata of the controller's method; Nest's adapter for Fastify
 * puts another function around those of paths with parameters, which is known by its text.
 */
export function isHandlerOfNest(handler: (...args: never[]) => unknown): boolean {
  if (around.has(handler)) return true
  // Of the package reflect-metadata, which Nest loads.
  const { getMetadataKeys } = Reflect as Metadata
  if (getMetadataKeys === undefined) return false
  const keys = getMetadataKeys(handler)
  if (keys.includes('path') && keys.includes('method')) return true
  const text = String(handler)
  return text.includes('callNotFound()') && text.includes('.call(this')
}

/** Functions of ours around one of Nest's. */
const around = new WeakSet<object>()

/** Lets a function count as one of Nest's if the one is that it calls. */
export function sameAs<Handler extends (...args: never[]) => unknown>(wrapper: Handler, handler: Handler): Handler {
  if (isHandlerOfNest(handler)) around.add(wrapper)
  return wrapper
}

/** What is said where nothing has claimed the key of a request in Nest. */
export const missingInterceptor: MissingClaim = {
  isAfterHandler: true,
  why:
    'Could not serve the request once: it has an idempotency key, and in Nest that is looked up after the guards, by an interceptor. ' +
    'Use TransactionsModule, or add app.useGlobalInterceptors(new IdempotencyInterceptor()) before the other interceptors.',
}

interface MetadataOf extends Metadata {
  readonly getOwnMetadata: (key: unknown, target: object) => unknown
  readonly defineMetadata: (key: unknown, value: unknown, target: object) => void
}

/** Gives a function what decorators have put on the one that it calls: its route, its guards. */
export function copyMetadata(from: object, to: object): void {
  // Of the package reflect-metadata, which Nest loads.
  const { getMetadataKeys, getOwnMetadata, defineMetadata } = Reflect as Partial<MetadataOf> as MetadataOf
  for (const key of getMetadataKeys?.(from) ?? []) defineMetadata(key, getOwnMetadata(key, from), to)
}

/** What an interceptor knows of its request; `ExecutionContext` of Nest is one. */
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
