/** What passes by a transaction, outlives it or happens outside of any: how it is found, and told to who has to mend it. */
import { subscribe } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'
import { EscapeError, NoTransactionError } from '../errors.js'
import { isUnderTest } from '../surroundings.js'

/** Prisma has some twenty calls between the one of its user and the statement. */
const stackDepth = 60

const packageFolder = fileURLToPath(new URL('..', import.meta.url))

/** The first line of somebody else's code on the stack, as long as only awaiting lies between; undefined where there is none. */
export function callSite(): string | undefined {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = stackDepth
  const { stack } = new Error('here')
  Error.stackTraceLimit = stackTraceLimit
  return stack === undefined ? undefined : foreignSite(stack)
}

/** The first line of a stack that is neither of this package nor of Prisma, Node or the engine. */
export function foreignSite(stack: string): string | undefined {
  return stack.split('\n').slice(1).find(isForeign)?.trim()
}

function isForeign(frame: string): boolean {
  const isOurs = frame.includes(packageFolder)
  // A function without a name is `<anonymous> (app.ts:1:2)` where source maps are on; what has no place is `(<anonymous>)`.
  const isBelow = /@prisma[\\/]client|\(node:|at (?:async )?node:|\(<anonymous>\)|\(index \d+\)|\(native\)/.test(frame)
  return !isOurs && !isBelow
}

/** `throw`: it is refused, and a commit that it is found at fails; `warn`: it goes on, with a process warning; `off`: it just goes on. */
export type OnEscape = 'warn' | 'throw' | 'off'

/** `throw` in tests, where it is found; `warn` elsewhere, where it must not break what worked. */
export function defaultOnEscape(): OnEscape {
  return isUnderTest() ? 'throw' : 'warn'
}

/** The same warning is shown once in this time, and no more than so many different ones, so that logs are not flooded. */
const quietMs = 60_000
const mostWarnings = 20

/** Tells the escapes of one datastore. */
export class Escapes {
  /** Whether calls are to be watched. */
  readonly areWatched: boolean
  /** Whether calls are to remember where they were made, which costs more than watching them. */
  readonly areLocated: boolean
  readonly #onEscape: OnEscape
  readonly #now: () => number
  readonly #shown = new Set<string>()
  #quietUntil = Number.NEGATIVE_INFINITY
  #hidden = 0

  /** @param now - milliseconds on a clock that does not go back */
  constructor(onEscape: OnEscape, now: () => number = () => performance.now()) {
    this.areWatched = onEscape !== 'off'
    this.areLocated = onEscape === 'throw'
    this.#onEscape = onEscape
    this.#now = now
  }

  /**
   * @throws `EscapeError` where escapes are refused
   */
  report(message: string): void {
    if (this.#onEscape === 'throw') throw new EscapeError(message)
    if (this.#onEscape === 'warn') this.#warn(message)
  }

  #warn(message: string): void {
    const now = this.#now()
    const isNewTime = now >= this.#quietUntil
    const before = isNewTime ? this.#hidden : 0
    if (isNewTime) {
      this.#shown.clear()
      this.#hidden = 0
      this.#quietUntil = now + quietMs
    }
    if (this.#shown.has(message) || this.#shown.size >= mostWarnings) {
      this.#hidden += 1
      return
    }
    this.#shown.add(message)
    const note = before === 0 ? '' : ` (${before} more warnings of this kind were not shown.)`
    process.emitWarning(`${message}${note}`, { code: 'ES_ESCAPE' })
  }
}

let served = 0
let isWatching = false

/** Begins to count, for good: called where somebody wants to know. */
function watchServedRequests(): void {
  if (isWatching) return
  isWatching = true
  subscribe('http.server.request.start', started)
}

/** Whether a request has come, since they are counted, that is not answered. */
function areRequestsServed(): boolean {
  return served > 0
}

/** @see https://nodejs.org/api/diagnostics_channel.html#http */
function started(message: unknown): void {
  const { response } = message as { readonly response: EventEmitter }
  served += 1
  // Comes after every response, whether it was sent or not.
  response.once('close', ended)
}

function ended(): void {
  served -= 1
}

/** `allow`: they are stored; `warn`: they are, with a process warning for each place; `refuse`: they fail. */
export type Outside = 'allow' | 'warn' | 'refuse'

/** What is asked about the code that writes. */
interface Surroundings {
  /** Whether it is in a transaction, or has stepped out of one on purpose. */
  readonly context: { readonly isSet: boolean }
  /** Whether a transaction may still be begun, such as that of a request. */
  readonly scopes: { readonly isExpecting: boolean }
}

/** More places than this are not told of. */
const mostPlaces = 500

/** Those of one datastore. */
export class OutsideWrites {
  readonly #name: string
  readonly #surroundings: Surroundings
  readonly #outside: Outside
  /** Whether they are told of only while requests are served: nobody has set the option. */
  readonly #isByDefault: boolean
  readonly #told = new Set<string>()

  /**
   * @param name - what the datastore is called in messages
   * @param outside - undefined for `warn` while this process serves requests, but in production
   */
  constructor(name: string, surroundings: Surroundings, outside: Outside | undefined) {
    this.#name = name
    this.#surroundings = surroundings
    this.#isByDefault = outside === undefined
    this.#outside = outside ?? (process.env['NODE_ENV'] === 'production' ? 'allow' : 'warn')
    if (this.#isByDefault && this.#outside === 'warn') watchServedRequests()
  }

  /** Whether anything would come of a `check`. */
  get areWatched(): boolean {
    return this.#outside !== 'allow'
  }

  /**
   * To be called for each write that no transaction of the datastore contains.
   *
   * @param attempted - what is written
   * @throws `NoTransactionError` where they are refused
   */
  check(attempted: string): void {
    if (!this.areWatched || this.#surroundings.context.isSet) return
    const isQuiet = this.#isByDefault && !areRequestsServed() && !this.#surroundings.scopes.isExpecting
    if (!isQuiet) this.#report(attempted.length > 120 ? `${attempted.slice(0, 117)}...` : attempted)
  }

  #report(attempted: string): void {
    const site = callSite()
    const what = `${attempted}${site === undefined ? '' : ` (${site})`}`
    const name = this.#name
    if (this.#outside === 'refuse') {
      throw new NoTransactionError(`Could not write outside of any transaction of ${name}: ${what}. ${whatToDo}`)
    }
    const place = site ?? attempted
    if (this.#told.has(place) || this.#told.size >= mostPlaces) return
    this.#told.add(place)
    process.emitWarning(
      `Written outside of any transaction of ${name}, so that it is stored at once, whatever comes of the rest: ${what}. ${whatToDo}`,
      { code: 'ES_OUTSIDE' },
    )
  }
}

const whatToDo =
  'In a request: use the middleware of the transactions above the route, for this datastore too; what calls back from a shared ' +
  'queue or connection has lost the transaction, so await it, or bind the callback (AsyncResource.bind). ' +
  'Elsewhere: begin one with datastore.transaction(), or say that it is meant with datastore.outside().'
