/** Express: idempotency keys are claimed just before the handler of a route, when whatever guards the route has let the request pass. */
import type { Request, RequestHandler, Response } from 'express'
import { servedBy } from './express-served.js'
import type { ClaimPlace, MissingClaim } from './idempotency.js'
import { isHandlerOfNest, missingInterceptor } from './nest-handlers.js'
import { hasKey, type KeyedTransaction, type RequestTransaction } from './request-transaction.js'

/** A function in a route, as the routers of Express 4 and 5 keep it. */
interface Layer {
  handle: RequestHandler
  /** Undefined where it is for all methods. */
  readonly method?: string
}

interface Route {
  readonly path: unknown
  readonly stack: readonly Layer[]
  readonly methods: Readonly<Record<string, boolean>>
}

/** Middlewares of ours: where one of them is the last of a route, it claims the key before the handler that it was given. */
const ours = new WeakSet<RequestHandler>()

/** The layers that claim. */
const prepared = new WeakSet<Layer>()

/** How many routes a request has come to. */
const counts = new WeakMap<Response, number>()

const noRoute: MissingClaim = {
  isAfterHandler: false,
  why:
    'Could not serve the request once: it has an idempotency key, and no route has taken it, so nothing says where its guards end ' +
    'and its handler begins. Make the handler a route, or give it to the middleware: app.use(path, transactions(datastore, options, handler)).',
}

const notLast: MissingClaim = {
  isAfterHandler: false,
  why:
    'Could not serve the request once: it has an idempotency key, which is claimed before the last function of a route, and another ' +
    'function of the route has done the work and answered. Let the handler be the last one, or give it to the middleware: ' +
    'app.post(path, transactions(datastore, options, handler)).',
}

/** Notes that a middleware claims keys by itself. */
export function claimsByItself(middleware: RequestHandler): RequestHandler {
  ours.add(middleware)
  return middleware
}

/** Lets the key of a request be claimed by the last function of its route, whichever route that will be. */
export function claimInRoute(request: Request, transaction: KeyedTransaction<Request>): void {
  // Typed as always there and of any type.
  let current = request.route as Route | undefined
  transaction.idempotent.unclaimed = current === undefined ? noRoute : notLast
  if (current !== undefined) prepare(current, request.method)
  Object.defineProperty(request, 'route', {
    get: () => current,
    set(route: Route | undefined) {
      if (route !== undefined && route !== current) {
        transaction.idempotent.unclaimed = notLast
        prepare(route, request.method)
      }
      current = route
    },
    configurable: true,
    enumerable: true,
  })
}

/** The last function of a route that is run for a method, as long as no error is passed on. */
function lastLayer({ stack, methods }: Route, method: string): Layer | undefined {
  const lowerCase = method.toLowerCase()
  const name = lowerCase === 'head' && methods['head'] !== true ? 'get' : lowerCase
  return stack.findLast((layer) => (layer.method === undefined || layer.method === name) && layer.handle.length <= 3)
}

function prepare(route: Route, method: string): void {
  const layer = lastLayer(route, method)
  if (layer === undefined || prepared.has(layer) || ours.has(layer.handle)) return
  const handler = layer.handle
  prepared.add(layer)
  // Typed as a promise or nothing; Express takes what it gets.
  layer.handle = (request, response, next) => {
    const keyed = servedBy(response).filter(hasKey)
    const isLast = lastLayer(request.route as Route, request.method) === layer
    if (keyed.length === 0 || !isLast) return handler(request, response, next)
    if (isHandlerOfNest(handler)) {
      for (const transaction of keyed) transaction.idempotent.unclaimed = missingInterceptor
      return handler(request, response, next)
    }
    return afterClaim(keyed, placeOf(request, response, handler), (error, isToBeServed) => {
      if (error !== undefined) return next(error)
      if (!isToBeServed) return undefined
      try {
        return handler(request, response, next)
      } catch (thrown) {
        // Express 4 does not look at promises.
        return next(thrown)
      }
    })
  }
}

/** A function that takes no `next` cannot pass the request on to another route. */
function placeOf(request: Request, response: Response, handler: RequestHandler): ClaimPlace {
  const count = (counts.get(response) ?? 0) + 1
  counts.set(response, count)
  const { path } = request.route as Route
  return { name: `${request.method} ${request.baseUrl}${String(path)} ${count}`, isHandler: handler.length < 3 }
}

async function afterClaim(
  keyed: ReadonlyArray<RequestTransaction<Request>>,
  place: ClaimPlace,
  goOn: (error: unknown, isToBeServed: boolean) => unknown,
): Promise<void> {
  let isToBeServed = true
  try {
    for (const transaction of keyed) isToBeServed &&= await transaction.claim(place)
  } catch (error) {
    goOn(error, false)
    return
  }
  await goOn(undefined, isToBeServed)
}
