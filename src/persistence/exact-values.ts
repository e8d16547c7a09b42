/** Values that stored events hold exactly and JavaScript has no type for: UUIDs and decimal numbers, kept as their text. */
import { DataError } from '../errors.js'

const uuidText = /^([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i
const decimalText = /^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|s?nan\d*)$/i

/**
 * A UUID as a value of its own, stored as `uuid_hex`.
 *
 * In Node a UUID is usually a string, and strings are stored as strings. This type is for events that a Python service
 * reads or writes too, where a UUID is not a string: such a value is read as a `Uuid` and written back as it was.
 */
export class Uuid {
  /** The canonical text: lower case, with hyphens. */
  readonly text: string

  /**
   * @param text - 32 hexadecimal digits, with or without the hyphens
   * @throws `DataError` for any other text
   */
  constructor(text: string) {
    const parts = uuidText.exec(text)
    if (parts === null)
      throw new DataError(`Cannot make a Uuid of '${text}': give 32 hexadecimal digits, with or without hyphens`)
    this.text = parts.slice(1).join('-').toLowerCase()
    Object.freeze(this)
  }

  /** The 32 hexadecimal digits without hyphens. */
  get hex(): string {
    return this.text.replaceAll('-', '')
  }

  /** The canonical text. */
  toString(): string {
    return this.text
  }

  /** The canonical text. */
  toJSON(): string {
    return this.text
  }
}

/**
 * A decimal number as its exact text, stored as `decimal_str`: `10.00` keeps its two places.
 *
 * It does not calculate. An application that does registers its own decimal type over the name `decimal_str`.
 *
 * @see Transcoding
 */
export class DecimalText {
  /** The number as it was given. */
  readonly text: string

  /**
   * @param text - what Python's `Decimal` reads, such as `10.00`, `-1.5E+3` or `NaN`
   * @throws `DataError` for any other text
   */
  constructor(text: string) {
    if (!decimalText.test(text))
      throw new DataError(`Cannot make a DecimalText of '${text}': it is not a decimal number`)
    this.text = text
    Object.freeze(this)
  }

  /** The exact text. */
  toString(): string {
    return this.text
  }

  /** The exact text. */
  toJSON(): string {
    return this.text
  }
}
