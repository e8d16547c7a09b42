/** What a commit finds that should be done by then: work that still runs, and operations that nobody has awaited. */
import { EscapeError } from '../errors.js'
import type { Calls } from './calls.js'
import type { Escapes } from './escapes.js'
import type { Call, Operations } from './operations.js'
import type { Observed, Telemetry } from './telemetry.js'

/** A scope that is about to commit. */
interface Ending {
  readonly calls: Calls
  /** Which one, for messages. */
  readonly title: string
  readonly operations: Operations
  readonly session: Observed & {
    readonly life: { readonly endSignal: AbortSignal }
    readonly options: { readonly escapes: Escapes; readonly telemetry: Telemetry }
  }
}

/** How many calls a message names. */
const mostNamed = 5

/**
 * Says what still runs in a scope in which something does.
 *
 * @param hasPart - whether a nested scope is open
 */
export function runningWork({ calls, operations }: Ending, hasPart: boolean): string {
  const names = named([...calls.running, ...operations.started])
  if (hasPart) names.push('a nested transaction')
  return names.length === 0 ? 'a read or write of a recorder' : names.join(', ')
}

/**
 * Waits for the calls that are not awaited, of which some run, and for what goes on after them.
 *
 * @returns what ran
 */
export async function untilQuiet(ending: Ending, hasPart: boolean): Promise<string> {
  const running = runningWork(ending, hasPart)
  await ending.calls.quiet(ending.session.life.endSignal)
  return running
}

/**
 * Reports what was found: of work that runs, what is not started may only be waiting for it.
 *
 * @param running - what still ran when the commit was asked for, undefined for nothing
 * @throws `EscapeError` where escapes are refused, and for a call that has failed unseen: what it was to store is missing
 */
export function reportUnfinished(ending: Ending, running: string | undefined): void {
  const { calls, operations, session } = ending
  const failed = calls.unnoticed
  if (failed !== undefined) {
    throw new EscapeError(
      `A call in ${ending.title} has failed, and nobody has awaited it: ${String(failed.call)}. Await every call; why it failed is the cause.`,
      { cause: failed.error },
    )
  }
  if (running !== undefined) {
    report(
      session,
      `Work was still running in ${ending.title} when it was to commit: ${running}. Await everything before the end, with ` +
        'Promise.all for what runs side by side; what is to go on longer needs a transaction of its own (propagation "requiresNew").',
    )
    return
  }
  const { neverStarted } = operations
  if (neverStarted.length === 0) return
  report(
    session,
    `An operation was made in ${ending.title} and not awaited before its commit, so it did not run: ${named(neverStarted).join(', ')}. ` +
      'Await it, or give it to $transaction([…]): Prisma sends nothing before that.',
  )
}

function report(session: Ending['session'], message: string): void {
  const { escapes, telemetry } = session.options
  telemetry.escaped(session, message)
  escapes.report(message)
}

function named(calls: readonly Call[]): string[] {
  const names = calls.slice(0, mostNamed).map((call) => String(call))
  return calls.length > mostNamed ? [...names, `${calls.length - mostNamed} more`] : names
}
