/** The placeholder of personal data that cannot be read any more. */

/**
 * Stands where an event had the data of persons: one of them was forgotten, or the reader does not have the keys.
 *
 * As text, and in JSON, it is `[erased]`.
 */
export class Erased {
  /** The persons, as events name them, in order: the data were about all of them. */
  readonly subjects: readonly string[]

  constructor(...subjects: readonly string[]) {
    this.subjects = Object.freeze([...subjects])
    Object.freeze(this)
  }

  /** `[erased]`. */
  toString(): string {
    return '[erased]'
  }

  /** `[erased]`. */
  toJSON(): string {
    return '[erased]'
  }
}

/** Whether a value is the placeholder of erased personal data. */
export function isErased(value: unknown): value is Erased {
  return value instanceof Erased
}
