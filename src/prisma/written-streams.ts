/** Which streams the open transactions have written to: what is read of those is nowhere once they are undone. */
import type { Scope } from '../transaction/scope.js'
import type { DriverConnection } from './connections.js'

type OpenScope = Scope<DriverConnection>

/** By session; a stream has the scopes that have written to it. */
const writers = new WeakMap<OpenScope['session'], Map<string, Set<OpenScope>>>()

/** Events of these originators are stored in a scope, or wait for its flush. */
export function noteWritten(scope: OpenScope, originatorIds: Iterable<string>): void {
  const streams = writers.get(scope.session) ?? new Map<string, Set<OpenScope>>()
  writers.set(scope.session, streams)
  for (const id of originatorIds) {
    const scopes = streams.get(id) ?? new Set()
    streams.set(id, scopes.add(scope))
  }
}

/** Runs `fn` when something is undone that the transaction around has written to a stream so far. */
export function onUndone(scope: OpenScope, originatorId: string, fn: () => void): void {
  const scopes = writers.get(scope.session)?.get(originatorId) ?? []
  for (const writer of new Set([...scopes].map(stillOpen))) writer.hooks.afterRollback(fn)
}

/** What a part has written that has ended well is what is around it. */
function stillOpen(scope: OpenScope): OpenScope {
  return scope.ended && scope.parent !== undefined ? stillOpen(scope.parent) : scope
}
