/** The placeholder of personal data that cannot be read any more. */

/**
 * Stands where an event had a person's data: the person was forgotten, or the reader does not have the keys.
 *
 * As text, and in JSON, it is `[erased]`.
 */
export class Erased {
  /** The person, as events name them. */
  readonly subject: string

  constructor(subject: string) {
    this.subject = subject
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
