/** What was called on a PrismaClient, and where. */
import type { Call } from '../transaction/operations.js'

/** Any method of a client. */
export type AnyMethod = (...args: unknown[]) => unknown

/** Property by property, what was called: `db.owner.findUnique({…}).toys()` is three steps. */
export interface Step {
  readonly property: string
  /** Undefined for a property that was only read. */
  readonly args?: readonly unknown[]
}

/** A call that can be made on another client than it was made on. */
export class ClientCall implements Call {
  readonly steps: readonly Step[]
  /** Holds the stack, which is made into text when somebody asks for it. */
  readonly #site: { readonly stack?: string } | undefined

  /** @param method - which was called: what called that is the place of the call; undefined not to remember it */
  constructor(steps: readonly Step[], method: AnyMethod | undefined) {
    this.steps = steps
    if (method !== undefined) this.#site = callerOf(method)
  }

  /** Makes the call on a client. */
  on(client: object): unknown {
    let value: unknown = client
    for (const { property, args } of this.steps) {
      // Prisma's clients are proxies: what they have shows only when it is asked for.
      const owner = value as Record<string, unknown>
      const member = owner[property]
      value = args === undefined ? member : (member as AnyMethod).apply(owner, [...args])
    }
    return value
  }

  /** Such as `owner.create`, with the line of the caller where it is known. */
  toString(): string {
    const name = this.steps.map(({ property }) => property).join('.')
    const caller = this.#site?.stack?.split('\n')[1]?.trim()
    return caller === undefined ? name : `${name} (${caller})`
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
