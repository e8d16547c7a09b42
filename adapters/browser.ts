/** A page to look at what is stored: a plugin for Fastify, and a handler for Express and anything else that has Node's requests. */
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import {
  type BrowserAnswer,
  EventBrowser,
  type EventBrowserOptions,
  eventBrowserOptionTypes,
} from '../src/browser/event-browser.js'
import { abortSignal, anything, checkOptions } from '../src/checked-options.js'
import { CapturedContext } from '../src/index.js'
import { withStatus } from './error-status.js'

export type { BrowsedDatastore, BrowsedDecider, BrowsedKind } from '../src/browser/event-browser.js'

/** A request of Fastify, by shape. */
export interface FastifyBrowserRequest {
  /** Such as `GET`. */
  readonly method: string
  /** The path with its query. */
  readonly url: string
  /** As Node gives them. */
  readonly headers: IncomingHttpHeaders
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal
}

/** Options of the plugin. */
export interface FastifyBrowserOptions extends Omit<EventBrowserOptions, 'authorize'> {
  /**
   * Who may see the page, and all that it asks for; any answer but true is 403. It is asked for every request, and again every ten minutes by a page that follows
   * the log.
   */
  authorize(request: FastifyBrowserRequest): boolean | Promise<boolean>
  /** Where the page is, such as `/events`. */
  readonly prefix?: string
}

/** A reply of Fastify, by shape. */
interface FastifyReplyLike {
  code(status: number): unknown
  headers(values: Record<string, string>): unknown
  send(body: unknown): unknown
}

/** What the plugin needs of Fastify. */
export interface FastifyLike {
  /** Adds a route. */
  route(options: {
    method: string[]
    url: string
    config: { transaction: false }
    handler(request: FastifyBrowserRequest, reply: FastifyReplyLike): unknown
  }): unknown
  /** Adds a hook. */
  addHook(name: 'preClose', hook: (done: () => void) => void): unknown
}

/** With those that Fastify itself takes when a plugin is registered. */
const pluginOptionTypes = { ...eventBrowserOptionTypes, prefix: anything, logLevel: anything, logSerializers: anything }

/**
 * A plugin for Fastify that serves a page to look at what is stored: streams and their events, states at any version, and the log as it grows. Its requests have no
 * transaction, and hold no connection while they wait; they end when the server closes.
 *
 * The server does not start, with a `ProgrammingError`, without an application or `authorize`, and for options that there are not.
 *
 * @example
 * await fastify.register(browser, { prefix: '/events', application: school, kinds: { Dog }, authorize: (request) => isAdmin(request) })
 */
export function browser(fastify: FastifyLike, options: FastifyBrowserOptions, done: (error?: Error) => void): void {
  const attempted = 'register the plugin `browser`'
  let core: EventBrowser
  try {
    checkOptions(attempted, options, pluginOptionTypes)
    core = new EventBrowser(attempted, options)
  } catch (error) {
    // What a plugin throws at once ends the process, whoever awaits the server.
    return done(error as Error)
  }
  const outside = new CapturedContext()
  fastify.addHook('preClose', (next) => {
    core.close()
    next()
  })
  const serve = (pathOf: (request: FastifyBrowserRequest) => string) => {
    return async (request: FastifyBrowserRequest, reply: FastifyReplyLike): Promise<unknown> => {
      const { method, headers, signal } = request
      const asked = { method, headers, signal, path: pathOf(request), query: queryOf(request.url) }
      try {
        const answer = await outside.run(async () => {
          return await core.answer({ ...asked, authorize: () => options.authorize(request) })
        })
        reply.code(answer.status)
        reply.headers({ ...answer.headers })
        reply.send(typeof answer.body === 'string' ? answer.body : Readable.from(answer.body))
        return reply
      } catch (error) {
        throw withStatus(error)
      }
    }
  }
  const route = { method: ['GET', 'POST'], config: { transaction: false } } as const
  fastify.route({ ...route, method: [...route.method], url: '/', handler: serve(() => '/') })
  const nameIn = (request: FastifyBrowserRequest): string => pathOf(request.url).replace(/^.*\//, '')
  const handler = serve((request) => `/api/${nameIn(request)}`)
  fastify.route({ ...route, method: [...route.method], url: '/api/:name', handler })
  done()
}

/** Options of the handler. */
export interface ExpressBrowserOptions<Request> extends Omit<EventBrowserOptions, 'authorize'> {
  /**
   * Who may see the page, and all that it asks for; any answer but true is 403. It is asked for every request, and again every ten minutes by a page that follows
   * the log.
   */
  authorize(request: Request): boolean | Promise<boolean>
  /** Ends what pages follow: for the end of the process. */
  readonly signal?: AbortSignal
}

/** A handler of Express 5 and 4, or of anything else that has Node's requests and responses. */
export type BrowserHandler<Request> = (
  request: Request,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => Promise<void>

/**
 * A handler for Express that serves a page to look at what is stored: streams and their events, states at any version, and the log as it grows. Its requests read outside
 * of the transaction of the request, and hold no connection while they wait.
 *
 * @throws `ProgrammingError` without an application or `authorize`, and for options that there are not
 *
 * @example
 * app.use('/events', eventBrowser({ application: school, kinds: { Dog }, authorize: (request: Request) => isAdmin(request) }))
 */
export function eventBrowser<Request extends IncomingMessage = IncomingMessage>(
  options: ExpressBrowserOptions<Request>,
): BrowserHandler<Request> {
  const attempted = 'make the handler `eventBrowser`'
  checkOptions(attempted, options, { ...eventBrowserOptionTypes, signal: abortSignal })
  const core = new EventBrowser(attempted, options)
  if (options.signal?.aborted === true) core.close()
  options.signal?.addEventListener('abort', () => core.close(), { once: true })
  // Handlers are made outside of any transaction: what they read has nothing to do with that of a request.
  const outside = new CapturedContext()
  const serve = async (request: Request, response: ServerResponse): Promise<void> => {
    const gone = new AbortController()
    const leave = (): void => gone.abort()
    response.once('close', leave)
    try {
      const { method = 'GET', headers, url = '/' } = request
      const asked = { method, headers, signal: gone.signal, path: pathOf(url), query: queryOf(url) }
      await outside.run(async () => {
        await send(await core.answer({ ...asked, authorize: () => options.authorize(request) }), response, gone.signal)
      })
    } finally {
      response.off('close', leave)
    }
  }
  // Express 4 does not wait for promises.
  return async (request, response, next) => {
    try {
      await serve(request, response)
    } catch (error) {
      // Whoever has gone away needs no answer.
      if (!response.headersSent) next(withStatus(error))
      else response.destroy()
    }
  }
}

/** @param gone - aborts when the client has gone away */
async function send(
  { status, headers, body }: BrowserAnswer,
  response: ServerResponse,
  gone: AbortSignal,
): Promise<void> {
  response.statusCode = status
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
  if (typeof body === 'string') {
    response.end(body)
    if (!response.writableFinished) await once(response, 'close')
    return
  }
  // Without a pipeline, whose seven listeners would be too many, with those of other middlewares: Node warns from eleven on.
  for await (const text of body) if (!response.write(text)) await once(response, 'drain', { signal: gone })
  response.end()
}

function pathOf(url: string): string {
  return url.replace(/[?#].*$/s, '') || '/'
}

function queryOf(url: string): URLSearchParams {
  const mark = url.indexOf('?')
  return new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1))
}
