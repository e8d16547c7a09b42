/** A call of an application that a scope watches. */
import { TransactionClosedError } from '../errors.js'
import type { WatchedCall } from '../persistence/recorder.js'
import type { Scope } from '../transaction/scope.js'
import { type AnyMethod, ClientCall } from './client-call.js'
import type { DriverConnection } from './connections.js'

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
