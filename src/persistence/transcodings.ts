/** Transcodings: how a value of one type is written to, and read from, an event's state; with UUIDs and decimals, for which JavaScript has no type. */
import { makeShapeKnown, makeTypeKnown, type ValueType } from '../domain/kept-values.js'
import { Erased } from '../domain/personal-data.js'
import { isoFormat, isStorable, Timestamp } from '../domain/timestamp.js'
import { DataError, MapperError } from '../errors.js'

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

/** A type as transcodings know it: values whose prototype is this one are of the type, those of subclasses are not. */
export interface TranscodedType<Value = unknown> {
  /** The prototype of the values, as every class has it. */
  readonly prototype: Value
}

/**
 * The way of one type in and out of JSON: a value is stored as `{"_type_": name, "_data_": encode(value)}`.
 *
 * A transcoding that is registered later replaces an earlier one of the same name for reading, and one of the same type
 * for writing.
 *
 * @typeParam Value - the type
 * @typeParam Data - what it becomes: anything that can be stored itself, also values of other registered types
 *
 * @example
 * const money: Transcoding<Money, [string, string]> = {
 *   name: 'money',
 *   type: Money,
 *   encode: (value) => [value.amount, value.currency],
 *   decode: ([amount, currency]) => new Money(amount, currency),
 * }
 */
export interface Transcoding<Value = unknown, Data = unknown> {
  /** Stored with each value: it must stay readable for ever. */
  readonly name: string
  /** The class of the values. */
  readonly type: TranscodedType<Value>
  /** What to store for a value. */
  encode(value: Value): Data
  /** The value again. */
  decode(data: Data): Value
}

/** A UUID that is not a string, as 32 hexadecimal digits. @see Python's `UUIDAsHex` */
const uuidAsHex: Transcoding<Uuid, string> = {
  name: 'uuid_hex',
  type: Uuid,
  encode: (uuid) => uuid.hex,
  decode: (hex) => new Uuid(textOf(hex)),
}

/** A decimal number as its text. @see Python's `DecimalAsStr` */
const decimalAsText: Transcoding<DecimalText, string> = {
  name: 'decimal_str',
  type: DecimalText,
  encode: (decimal) => decimal.text,
  decode: (text) => new DecimalText(textOf(text)),
}

/** The name under which times are stored. */
export const timestampName = 'datetime_iso'

/** A point in time as ISO 8601 text, read back as a `Timestamp` with the text as it is stored. @see Python's `DatetimeAsISO` */
const timestampAsIso: Transcoding<Timestamp, string> = {
  name: timestampName,
  type: Timestamp,
  encode: (timestamp) => storable(timestamp).iso,
  decode: (iso) => Timestamp.fromISO(textOf(iso)),
}

/** A plain `Date` in the same form; it is read back as a `Timestamp`, which is a `Date` that cannot change. */
const dateAsIso: Transcoding<Date, string> = {
  name: timestampName,
  type: Date,
  encode: (date) => isoFormat(storable(date)),
  decode: (iso) => Timestamp.fromISO(textOf(iso)),
}

/** The name under which a `bigint` is stored. */
export const bigintName = 'bigint_str'

/** A `bigint` as its decimal text. */
const bigintAsText: Transcoding<bigint, string> = {
  name: bigintName,
  // The wrapper class types its prototype as the wrapper object, while its values are primitives.
  type: BigInt as unknown as TranscodedType<bigint>,
  encode: String,
  decode: bigintOf,
}

/** A map as the list of its entries, in order. */
const mapAsList: Transcoding<ReadonlyMap<unknown, unknown>, Array<[unknown, unknown]>> = {
  name: 'map_as_list',
  type: Map,
  encode: (map) => [...map],
  decode: (entries) => new Map(listOf(entries)),
}

/** A set as the list of its members, in order. */
const setAsList: Transcoding<ReadonlySet<unknown>, unknown[]> = {
  name: 'set_as_list',
  type: Set,
  encode: (set) => [...set],
  decode: (members) => new Set(listOf(members)),
}

/** The placeholder of erased personal data, which states in snapshots may have, as the persons' names. */
const erasedAsSubjects: Transcoding<Erased, readonly string[]> = {
  name: 'erased',
  type: Erased,
  encode: (erased) => erased.subjects,
  decode: (subjects) => new Erased(...listOf([...subjects]).map(textOf)),
}

/** Bytes in base64. The Python library has no such transcoding: docs/values.md has one for it. */
const bytesAsBase64: Transcoding<Uint8Array, string> = {
  name: 'bytes_base64',
  type: Uint8Array,
  encode: (bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64'),
  decode: (text) => new Uint8Array(bytesOf(text)),
}

/** The same for a `Buffer`, which is read as one. */
const bufferAsBase64: Transcoding<Buffer, string> = {
  name: 'buffer_base64',
  type: Buffer,
  encode: (buffer) => buffer.toString('base64'),
  decode: bytesOf,
}

/** What every transcoder knows from the start. */
export const builtInTranscodings: readonly Transcoding[] = [
  uuidAsHex,
  decimalAsText,
  timestampAsIso,
  dateAsIso,
  bigintAsText,
  mapAsList,
  setAsList,
  erasedAsSubjects,
  bytesAsBase64,
  bufferAsBase64,
]

for (const { type, ...transcoding } of [uuidAsHex, decimalAsText, erasedAsSubjects] as readonly Transcoding[]) {
  makeTypeKnown(type.prototype as object, { ...transcoding, isImmutable: true })
}
makeShapeKnown((value) => (isForeignDecimal(value) ? foreignDecimal : undefined))

/** Numbers of decimal.js, of which Prisma has a copy, are read as what is built in for decimals. */
const foreignDecimal: ValueType = { encode: String, decode: (text) => new DecimalText(textOf(text)) }

/** Whether a value is a number of decimal.js, whichever copy of that made it. @see `Decimal.isDecimal` of decimal.js */
export function isForeignDecimal(value: object): boolean {
  return 'toStringTag' in value && value.toStringTag === '[object Decimal]'
}

/**
 * Makes a transcoding known to aggregates and deciders: from then on events can be triggered with values of its type. An
 * application, and a `JSONTranscoder`, do the same with those that they are given; what is defined beside its type is known in
 * tests of aggregates, too, and before there is an application.
 *
 * @returns the transcoding, for the option `transcodings`
 *
 * @example
 * export const money = defineTranscoding({
 *   name: 'money',
 *   type: Money,
 *   encode: ({ amount, currency }: Money) => [amount, currency],
 *   decode: ([amount, currency]: [string, string]) => new Money(amount, currency),
 * })
 */
export function defineTranscoding<Value, Data>(transcoding: Transcoding<Value, Data>): Transcoding<Value, Data> {
  const { type, ...known } = transcoding as Transcoding // what it is for does not matter here
  makeTypeKnown(type.prototype as object, known)
  return transcoding
}

/** A class of decimal numbers, such as `Prisma.Decimal`. */
export interface DecimalClass<Value> extends TranscodedType<Value> {
  new (text: string): Value
}

/**
 * The transcoding for events whose decimals are to be read as numbers of a class that calculates. Without it those of Prisma
 * can be written, too, and are read as `DecimalText`.
 *
 * @param decimalClass - `Prisma.Decimal` of the generated client, or another of decimal.js
 *
 * @example
 * class Bank extends Application {
 *   static readonly transcodings = [decimalsAs(Prisma.Decimal)]
 * }
 */
export function decimalsAs<Value extends object>(decimalClass: DecimalClass<Value>): Transcoding<Value, string> {
  return defineTranscoding({
    name: decimalAsText.name,
    type: decimalClass,
    encode: String,
    decode: (text) => new decimalClass(textOf(text)),
  })
}

/** The data of the built-in types are texts; what else is stored under their names is damaged. */
function textOf(data: unknown): string {
  if (typeof data === 'string') return data
  throw new MapperError(`Cannot read a value of a built-in type: its data are not a text but ${typeof data}`)
}

function listOf<Item>(data: Item[]): Item[] {
  if (Array.isArray(data)) return data
  throw new MapperError(`Cannot read a value of a built-in type: its data are not a list but ${typeof data}`)
}

// `BigInt` itself takes more, such as an empty text for 0.
function bigintOf(data: unknown): bigint {
  const text = textOf(data)
  if (/^-?\d+$/.test(text)) return BigInt(text)
  throw new MapperError('Cannot read a bigint: its text is not a whole number')
}

function bytesOf(data: unknown): Buffer {
  const text = textOf(data)
  const bytes = Buffer.from(text, 'base64')
  // What is no base64 is passed over there, in silence.
  if (bytes.toString('base64') === text) return bytes
  throw new MapperError('Cannot read bytes: their text is not base64')
}

function storable<D extends Date>(date: D): D {
  if (isStorable(date)) return date
  if (Number.isNaN(date.getTime())) throw new DataError('Cannot write an invalid Date to an event: give it a time')
  throw new DataError(
    `Cannot write the date ${date.toISOString()} to an event: a time has to be in the years 1 to 9999`,
  )
}
