/** Ids of originators: reproducible from a name, or random. */
import { randomUUID } from 'node:crypto'
import { v5 } from 'uuid'
import { ProgrammingError } from '../errors.js'

/** The namespace for names that are domain names. @see RFC 9562, section 6.6 */
export const NAMESPACE_DNS: string = '6ba7b810-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are URLs or paths. @see RFC 9562, section 6.6 */
export const NAMESPACE_URL: string = '6ba7b811-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are ISO object identifiers. @see RFC 9562, section 6.6 */
export const NAMESPACE_OID: string = '6ba7b812-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are X.500 distinguished names. @see RFC 9562, section 6.6 */
export const NAMESPACE_X500: string = '6ba7b814-9dad-11d1-80b4-00c04fd430c8'

/**
 * Makes the same id for the same name in the same namespace, everywhere and in every language.
 *
 * @param namespace - a UUID: one of the `NAMESPACE_` constants or one of your own
 * @param name - any text
 * @returns the UUID in lower case
 * @throws `TypeError` when the namespace is not a UUID
 * @see RFC 9562, section 5.5; Python's `uuid.uuid5`
 */
export function uuid5(namespace: string, name: string): string {
  return v5(name, namespace)
}

let replacedSource: (() => string) | undefined

/**
 * Replaces the source of random ids, for tests.
 *
 * @returns puts it back
 * @throws `ProgrammingError` when it is replaced already
 */
export function setIdSource(source: () => string): () => void {
  if (replacedSource !== undefined) throw new ProgrammingError('Random ids are replaced already: restore them first.')
  replacedSource = source
  return () => {
    if (replacedSource === source) replacedSource = undefined
  }
}

/** Makes a random id. @see RFC 9562, section 5.4 */
export function randomId(): string {
  return replacedSource === undefined ? randomUUID() : replacedSource()
}
