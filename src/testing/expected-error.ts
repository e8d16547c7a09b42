/** Errors that a case expects: of which class they are, without more of a test framework than `toEqual`. */
import type { Subject } from './test-framework.js'

/** A class of errors. */
export type ErrorClass<E extends Error> = new (...args: never[]) => E

/**
 * Waits for a promise to reject with an error of a class.
 *
 * @returns the error
 */
export async function expectError<E extends Error>(
  { expect }: Pick<Subject<unknown>, 'expect'>,
  promise: Promise<unknown>,
  errorClass: ErrorClass<E>,
): Promise<E> {
  const error: unknown = await promise.then(
    () => 'no error',
    (reason: unknown) => reason,
  )
  if (error instanceof errorClass) return error
  expect(String(error)).toEqual(`an error of class ${errorClass.name}`)
  throw new Error(`Expected an error of class ${errorClass.name}`, { cause: error })
}

/**
 * Waits for promises of which exactly one is to succeed.
 *
 * @returns the index of the one that did
 */
export async function expectOneSuccess<E extends Error>(
  subject: Pick<Subject<unknown>, 'expect'>,
  promises: ReadonlyArray<Promise<unknown>>,
  errorClass: ErrorClass<E>,
): Promise<number> {
  const results = await Promise.allSettled(promises)
  const winners = results.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []))
  subject.expect({ successes: winners.length }).toEqual({ successes: 1 })
  for (const result of results) {
    if (result.status === 'rejected') await expectError(subject, Promise.reject(result.reason as Error), errorClass)
  }
  return winners[0] ?? 0
}
