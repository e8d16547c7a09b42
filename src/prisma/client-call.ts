/** What was called on a PrismaClient, and where. */
import type { Call } from '../transaction/calls.js'

/** Any method of a client. */
export type AnyMethod = (...args: unknown[]) => unknown

/** Names a call, for messages. */
export class ClientCall implements Call {
  readonly name: string
  readonly #by: string
  /** Holds the stack, which is made into text when somebody asks for it. */
  readonly #site: { readonly stack?: string } | undefined

  /**
   * @param name - such as `owner.create`
   * @param method - which was called: what called that is the place of the call; undefined not to remember it
   * @param by - completes the name in messages: " of an extension"
   */
  constructor(name: string, method: AnyMethod | undefined, by: string = '') {
    this.name = name
    this.#by = by
    if (method !== undefined) this.#site = callerOf(method)
  }

  /** The name, with the line of the caller where it is known. */
  toString(): string {
    const caller = this.#site?.stack?.split('\n')[1]?.trim()
    return caller === undefined ? `${this.name}${this.#by}` : `${this.name}${this.#by} (${caller})`
  }
}

/** One frame is all that a message shows, and each one more makes every call slower. */
function callerOf(method: AnyMethod): { readonly stack?: string } {
  const { stackTraceLimit } = Error
  const site = {}
  Error.stackTraceLimit = 1
  Error.captureStackTrace(site, method)
  Error.stackTraceLimit = stackTraceLimit
  return site
}
