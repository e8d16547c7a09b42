/** Transcodings: how a value of one type is written to, and read from, an event's state. */
import { Erased } from '../domain/erased.js'
import { isoFormat, isStorable, Timestamp } from '../domain/timestamp.js'
import { makeShapeKnown, makeTypeKnown, type ValueType } from '../domain/value-types.js'
import { DataError, MapperError } from '../errors.js'
import { DecimalText, Uuid } from './exact-values.js'

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
