/** The calls that a scope watches, and where they come from: those on a PrismaClient, and those of applications. */
import { TransactionClosedError } from '../errors.js'
import type { WatchedCall } from '../persistence/recorder.js'
import type { Call } from '../transaction/calls.js'
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'

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

/** Runs a call at once, in a scope that has not ended. */
export function watchCall<T>(
  scope: Scope<DriverConnection>,
  { name, owner, undone }: WatchedCall<T>,
  work: () => Promise<T>,
): Promise<T> {
  const { areLocated } = scope.session.options.escapes
  const call = new ClientCall(name, areLocated ? methodOf(owner, name) : undefined)
  return scope.calls.run(call, undone === undefined ? work : () => unlessUndone(scope, work, undone))
}

async function unlessUndone<T>(scope: Scope<DriverConnection>, work: () => Promise<T>, undone: () => T): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // Whoever has ended it from outside, such as the deadline, says so to who waits.
    const isUndone = scope.isOver && scope.state !== 'committed' && scope.session.life.stopped === undefined
    if (isUndone && error instanceof TransactionClosedError) return undone()
    throw error
  }
}

function methodOf(owner: object, name: string): AnyMethod | undefined {
  // Only asked for the name of its caller, never called.
  return Reflect.get(owner, name.slice(name.lastIndexOf('.') + 1)) as AnyMethod | undefined
}
