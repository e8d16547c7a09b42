/** What a caller was told about a piece of work: that it is done, that it is not, or that nobody knows. */
import { isEventSourcingError } from '../errors.js'
import { type FaultKind, isCommit } from './fault.js'
import type { StruckStatement } from './faulty-adapter.js'

/** What a caller was told: all of it is stored, nothing of it is, or nobody knows which. */
export type Verdict = 'success' | 'failure' | 'unknown'

/** The end of a run. */
export type RunEnd = { readonly result: unknown } | { readonly error: unknown }

/** What a run has told its caller. */
export interface Told {
  readonly verdict: Verdict
  /** For messages. */
  readonly text: string
  readonly error?: unknown
}

/** What went wrong, as far as it bears on what can be known. */
export interface MetFault {
  readonly kind: FaultKind
  readonly struck: StruckStatement | undefined
}

/** Reads it from what the run has returned, or thrown. */
export function toldBy(end: RunEnd, fault: MetFault | undefined): Told {
  if ('error' in end) {
    const verdict = saysUnknown(end.error) ? 'unknown' : 'failure'
    return { verdict, text: `${verdict}, by ${textOf(end.error)}`, error: end.error }
  }
  const { result } = end
  if (result === 'success' || result === 'failure' || result === 'unknown') return { verdict: result, text: result }
  const status = statusOf(result)
  if (status === undefined) return { verdict: 'success', text: 'success' }
  const verdict = verdictOf(status, fault)
  return { verdict, text: `${verdict}, by HTTP ${status}` }
}

/** A server cannot know what came of a commit, or of a statement by itself, whose connection was lost; then 500 says so. */
function verdictOf(status: number, fault: MetFault | undefined): Verdict {
  if (status < 400) return 'success'
  // 503 asks the client to send the request again.
  return status >= 500 && status !== 503 && hidesOutcome(fault) ? 'unknown' : 'failure'
}

function hidesOutcome(fault: MetFault | undefined): boolean {
  if (fault?.struck === undefined || (fault.kind !== 'disconnected' && fault.kind !== 'unanswered')) return false
  return isCommit(fault.struck.sql) || !fault.struck.inTransaction
}

/** Whether the error, or a cause of it, is a `CommitUnknownError` of any copy of the package. */
function saysUnknown(error: unknown): boolean {
  const seen = new Set<unknown>()
  for (let current = error; current instanceof Error && !seen.has(current); current = current.cause) {
    if (isEventSourcingError(current) && current.code === 'ES_COMMIT_UNKNOWN') return true
    seen.add(current)
  }
  return false
}

/** The status of a response: that of `fetch`, of `inject`, of supertest. */
function statusOf(result: unknown): number | undefined {
  if (typeof result !== 'object' || result === null) return undefined
  const status = 'status' in result ? result.status : 'statusCode' in result ? result.statusCode : undefined
  return typeof status === 'number' ? status : undefined
}

function textOf(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}
