/** Compares how something ended on the database with how it ended in the model. */
import { expect } from 'vitest'
import { ConcurrencyError, IntegrityError, RollbackOnlyError } from '../../src/index.js'
import { type Reason, Refusal } from './model.js'

/** Awaits the end of something, good or bad. */
export async function settled<T>(work: () => Promise<T>): Promise<PromiseSettledResult<T>> {
  try {
    return { status: 'fulfilled', value: await work() }
  } catch (reason) {
    return { status: 'rejected', reason }
  }
}

/** The same for the model. */
export function settledInModel<T>(work: () => T): PromiseSettledResult<T> {
  try {
    return { status: 'fulfilled', value: work() }
  } catch (reason) {
    if (reason instanceof Refusal) return { status: 'rejected', reason }
    throw reason
  }
}

/** Both went well, or both were refused for the same reason. */
export function expectSameEnd(
  attempted: string,
  real: PromiseSettledResult<unknown>,
  model: PromiseSettledResult<unknown>,
): void {
  const expected: Reason | undefined =
    model.status === 'rejected' && model.reason instanceof Refusal ? model.reason.reason : undefined
  if (expected === undefined) {
    if (real.status === 'rejected') {
      throw new Error(`${attempted}: the model expects no error. ${String(real.reason)}`, { cause: real.reason })
    }
    return
  }
  expect(real.status, `${attempted}: ${expected}`).toBe('rejected')
  if (real.status === 'rejected') expectRefusal(attempted, real.reason, expected)
}

function expectRefusal(attempted: string, error: unknown, expected: Reason): void {
  switch (expected) {
    case 'conflict':
      expect(error, attempted).toBeInstanceOf(ConcurrencyError)
      return
    case 'inconsistent':
      expect(error, attempted).toBeInstanceOf(IntegrityError)
      return
    case 'processed':
      expect(error, attempted).toBeInstanceOf(IntegrityError)
      expect(error, attempted).not.toBeInstanceOf(ConcurrencyError)
      return
    case 'notUnique':
      expect(error, attempted).toMatchObject({ code: 'P2002' })
      return
    case 'rollbackOnly':
      expect(error, attempted).toBeInstanceOf(RollbackOnlyError)
  }
}
