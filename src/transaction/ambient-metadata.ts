/** Metadata that follows the flow of async calls: who, why and from where, for every event that is saved there. */
import { AsyncContext } from './context.js'

/** The facts around the code that runs. */
export const ambientMetadata: AsyncContext<Readonly<Record<string, unknown>>> = new AsyncContext(true)

/**
 * Runs `fn` with facts that every event saved in it is stored with, awaited or not. Inside another call of this kind they are
 * added to those around, and take the place of those with the same name.
 *
 * @param metadata - an object of values that JSON can hold
 * @throws `TypeError` for anything else than an object
 *
 * @example
 * await withMetadata({ user: 'ann', correlationId: request.id }, () => school.register('Fido'))
 */
export function withMetadata<T>(metadata: Readonly<Record<string, unknown>>, fn: () => T): T {
  if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) {
    throw new TypeError('withMetadata takes an object with the facts by name, and the function to run')
  }
  return ambientMetadata.run({ ...ambientMetadata.get(), ...metadata }, fn)
}

/** The facts around this code, undefined where there are none. */
export function currentMetadata(): Readonly<Record<string, unknown>> | undefined {
  return ambientMetadata.get()
}
