/** Personal data as they are stored: encrypted, in the place of the value. */
import { Erased } from '../domain/erased.js'
import { MapperError } from '../errors.js'

/** An encrypted value. */
export interface SealedData {
  /** The persons whose keys it takes, in order. */
  readonly subjects: readonly string[]
  /** Tells these keys from others that the same persons had before or after. */
  readonly keyId: string
  /** The encrypted bytes, in base64. */
  readonly text: string
}

/** The name under which a stored state says how its personal fields are encrypted. */
export const sealsName = '_personal_'

const contents = new WeakMap<Erased, SealedData>()

/** The placeholder of an encrypted value, which knows it. */
export function placeholderOf(sealed: SealedData): Erased {
  const placeholder = new Erased(...sealed.subjects)
  contents.set(placeholder, sealed)
  return placeholder
}

/** What a placeholder stands for, undefined for other values and for what is erased. */
export function sealedIn(value: unknown): SealedData | undefined {
  return value instanceof Erased ? contents.get(value) : undefined
}

/** Whether something in the data is a placeholder that knows what it stands for. */
export function hasSeals(data: Readonly<Record<string, unknown>>): boolean {
  for (const field in data) if (sealedIn(data[field]) !== undefined) return true
  return false
}

/** Puts the encrypted texts in the place of the placeholders, and notes how they are encrypted. */
export function writtenSeals(data: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const seals: Record<string, { readonly subjects: readonly string[]; readonly key: string }> = {}
  const texts: Record<string, string> = {}
  for (const [field, value] of Object.entries(data)) {
    const sealed = sealedIn(value)
    if (sealed === undefined) continue
    seals[field] = { subjects: sealed.subjects, key: sealed.keyId }
    texts[field] = sealed.text
  }
  return { ...data, ...texts, [sealsName]: seals }
}

/** Puts the placeholders back. @throws `MapperError` for what `writtenSeals` does not write */
export function readSeals(data: Record<string, unknown>, seals: unknown): void {
  if (typeof seals !== 'object' || seals === null) throw new MapperError(`${sealsName} is not an object`)
  for (const [field, seal] of Object.entries(seals as Record<string, unknown>)) {
    const text = data[field]
    if (typeof text !== 'string' || !isSeal(seal)) throw new MapperError(`the personal field '${field}' is damaged`)
    data[field] = placeholderOf({ subjects: seal.subjects, keyId: seal.key, text })
  }
}

function isSeal(seal: unknown): seal is { readonly subjects: readonly string[]; readonly key: string } {
  if (typeof seal !== 'object' || seal === null || !('subjects' in seal) || !('key' in seal)) return false
  const { subjects, key } = seal
  return typeof key === 'string' && Array.isArray(subjects) && subjects.every((subject) => typeof subject === 'string')
}
