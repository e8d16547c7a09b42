/** Transcoders: between the values of an event and its bytes, here as JSON in the form that the Python library writes. */
import { isUtf8 } from 'node:buffer'
import { deepestState, isPlainObject } from '../domain/kept-values.js'
import { Timestamp } from '../domain/timestamp.js'
import { DataError, MapperError, TranscodingNotRegisteredError } from '../errors.js'
import {
  bigintName,
  builtInTranscodings,
  DecimalText,
  defineTranscoding,
  isForeignDecimal,
  type Transcoding,
  timestampName,
} from './transcodings.js'

/** Turns a value into bytes and back. */
export interface Transcoder {
  /** @throws `TranscodingNotRegisteredError` for a value of a type that is not known */
  encode(value: unknown): Uint8Array
  /** @throws `TranscodingNotRegisteredError` for a stored type that is not known; `MapperError` for bytes that are not of this format */
  decode(bytes: Uint8Array): unknown
}

interface Writing {
  readonly prefix: string
  readonly transcoding: Transcoding
}

const typeKey = '_type_'
const dataKey = '_data_'
const tooDeep = `it contains itself, or is nested deeper than ${deepestState} levels`
/** For plain objects that have just these two keys: as they are they would be taken for a value of a registered type. */
const escapedName = 'dict_as_items'
const utf8 = new TextEncoder()
// All but the ranges around the quote and the backslash: so control characters, and surrogates in case one stands alone.
const needsEscape = /[^ !#-[\]-\ud7ff\ue000-\uffff]/

/**
 * Compact JSON in UTF-8, with values of registered types as `{"_type_": …, "_data_": …}`.
 *
 * Reading gives back an equal value for everything that can be written: JSON's own types, `bigint`, `Date` (as a
 * `Timestamp`), bytes, `Uuid`, `DecimalText` and what is registered. Properties that are undefined are left out. Numbers are
 * JavaScript's: integers that another program stored beyond 2^53 lose digits.
 *
 * @see Python's `JSONTranscoder`
 */
export class JSONTranscoder implements Transcoder {
  readonly #byPrototype = new Map<unknown, Writing>()
  readonly #byName = new Map<unknown, Transcoding>()
  /** Whether times are written and read as they are here. */
  #hasUsualTimes = true

  /** @param transcodings - registered in this order, after the built-in ones */
  constructor(transcodings: readonly Transcoding[] = []) {
    for (const transcoding of builtInTranscodings) this.#add(transcoding)
    for (const transcoding of transcodings) this.register(transcoding)
  }

  /** Makes a type known. It takes the place of what had the same name, for reading, or the same type, for writing. */
  register(transcoding: Transcoding): void {
    if (transcoding.name === timestampName || transcoding.type === Timestamp) this.#hasUsualTimes = false
    this.#add(defineTranscoding(transcoding))
  }

  #add(transcoding: Transcoding): void {
    const prefix = prefixOf(transcoding.name)
    this.#byPrototype.set(transcoding.type.prototype, { prefix, transcoding })
    this.#byName.set(transcoding.name, transcoding)
  }

  /**
   * @throws `TranscodingNotRegisteredError` for a value of a type that is not registered, however deep
   * @throws `DataError` for what JSON cannot hold: NaN, infinities, an invalid date, a time outside the years 1 to 9999, a value that contains itself
   */
  encode(value: unknown): Uint8Array {
    return utf8.encode(this.encodeText(value))
  }

  /**
   * @throws `MapperError` when the bytes are not JSON in UTF-8
   * @throws `TranscodingNotRegisteredError` for a `_type_` that is not registered; what the transcoding of a type throws
   */
  decode(bytes: Uint8Array): unknown {
    return this.decodeText(textOf(bytes))
  }

  /** What `encode` gives as UTF-8; it throws the same. */
  encodeText(value: unknown): string {
    return this.#write(value, 0)
  }

  /** What `decode` gives for the UTF-8 of a text; it throws the same. */
  decodeText(text: string): unknown {
    return this.#read(parse(mayLoseDigits.test(text) ? withExactIntegers(text) : text), 0)
  }

  /**
   * Reads a state that has nothing to be read but its timestamp, as most have: the rest of the text is its data.
   *
   * @returns undefined for any other state, which `decodeText` reads
   * @throws `MapperError` when the data are no JSON; `RangeError` when the timestamp is none
   */
  decodePlain(text: string): PlainState | undefined {
    if (!this.#hasUsualTimes || !plainStart.test(text)) return undefined
    let rest = text.slice(dataIndex)
    let originatorTopic: string | undefined
    if (rest.startsWith(creationName)) {
      const creation = creationStart.exec(rest)
      if (creation === null) return undefined
      originatorTopic = creation[1]
      rest = rest.slice(creation[0].length)
    }
    const data = parse(rest === '' ? '{}' : `{${rest}`) as Record<string, unknown> // it begins with a brace
    let hasNested = false
    for (const name in data) {
      if (ownNames.has(name)) return undefined
      const value = data[name]
      if (typeof value === 'object') hasNested ||= value !== null
      else if (typeof value === 'number' && mayHaveLostDigits(value)) return undefined
    }
    // A shorter text has no room for too many levels.
    if (hasNested && (rest.length > 2 * deepestState || needsReading.test(rest))) return undefined
    return { timestamp: Timestamp.fromISO(text.slice(timeIndex, timeIndex + timeLength)), originatorTopic, data }
  }

  /**
   * Writes a state as `decodePlain` reads them: of what has a time of the usual form, and data without objects.
   *
   * @returns undefined for any other state, which `encodeText` writes
   * @throws `DataError` for a number that JSON does not have
   */
  encodePlain({ timestamp, originatorTopic, data }: PlainState): string | undefined {
    if (!this.#hasUsualTimes || !usualTime.test(timestamp.iso)) return undefined
    if (Object.getPrototypeOf(data) !== Object.prototype) return undefined
    let text = `${plainBeginning}${timestamp.iso}"}`
    if (originatorTopic !== undefined) text += `,"originator_topic":${quoted(originatorTopic)}`
    for (const name in data) {
      const value = data[name]
      if (value === undefined) continue
      if (name === 'timestamp' || name === 'originator_topic' || needsEscape.test(name)) return undefined
      if (typeof value === 'string') text += `,"${name}":${quoted(value)}`
      else if (typeof value === 'number') text += `,"${name}":${numberText(value)}`
      else if (typeof value === 'boolean' || value === null) text += `,"${name}":${value}`
      else return undefined
    }
    return `${text}}`
  }

  #write(value: unknown, depth: number): string {
    switch (typeof value) {
      case 'string':
        return quoted(value)
      case 'number':
        return numberText(value)
      case 'boolean':
        return value ? 'true' : 'false'
      case 'object':
        if (value === null) return 'null'
        if (depth > deepestState) throw new DataError(`Cannot write to an event: ${tooDeep}`)
        return Array.isArray(value)
          ? this.#writeArray(value, depth + 1)
          : this.#writeObject(value as Record<string, unknown>, depth + 1) // just tested
      case 'bigint':
        return this.#writeRegistered(value, depth)
      case 'undefined':
      case 'function':
      case 'symbol':
        throw notRegistered(value)
    }
  }

  #writeArray(value: readonly unknown[], depth: number): string {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Array.prototype && this.#byPrototype.has(prototype))
      return this.#writeRegistered(value, depth - 1)
    let text = '['
    for (let index = 0; index < value.length; index += 1) {
      text += index === 0 ? this.#write(value[index], depth) : `,${this.#write(value[index], depth)}`
    }
    return `${text}]`
  }

  #writeObject(value: Record<string, unknown>, depth: number): string {
    if (!isPlainObject(value)) return this.#writeRegistered(value, depth - 1)
    let text = ''
    let count = 0
    for (const key of Object.keys(value)) {
      const member = value[key]
      if (member === undefined) continue
      text += `${count === 0 ? '{' : ','}${quoted(key)}:${this.#write(member, depth)}`
      count += 1
    }
    if (count === 2 && value[typeKey] !== undefined && value[dataKey] !== undefined)
      return this.#writeEscaped(value, depth)
    return count === 0 ? '{}' : `${text}}`
  }

  #writeEscaped(value: Record<string, unknown>, depth: number): string {
    const items = Object.entries(value).filter(([, member]) => member !== undefined)
    return `${prefixOf(escapedName)}${this.#writeArray(items, depth)}}`
  }

  #writeRegistered(given: unknown, depth: number): string {
    const prototype: unknown = Object.getPrototypeOf(given)
    const isForeign = !this.#byPrototype.has(prototype) && isForeignDecimal(Object(given) as object)
    const value = isForeign ? new DecimalText(String(given)) : given
    const writing = this.#byPrototype.get(isForeign ? DecimalText.prototype : prototype)
    if (writing === undefined) throw notRegistered(value)
    return `${writing.prefix}${this.#write(writing.transcoding.encode(value), depth)}}`
  }

  /** What was parsed belongs to nobody else: it is changed in place. */
  #read(value: unknown, depth: number): unknown {
    if (typeof value !== 'object' || value === null) return value
    if (depth > deepestState) throw new MapperError(`Cannot read a state: ${tooDeep}`)
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index += 1) value[index] = this.#read(value[index], depth + 1)
      return value
    }
    const members = value as Record<string, unknown> // parsed JSON
    const keys = Object.keys(members)
    const isRegistered = keys.length === 2 && Object.hasOwn(members, typeKey) && Object.hasOwn(members, dataKey)
    for (const key of keys) {
      const member = members[key]
      // What tells the type of a value is no level of its own.
      if (typeof member === 'object' && member !== null)
        members[key] = this.#read(member, isRegistered ? depth : depth + 1)
    }
    return isRegistered ? this.#readRegistered(members[typeKey], members[dataKey]) : members
  }

  #readRegistered(name: unknown, data: unknown): unknown {
    const transcoding = this.#byName.get(name)
    if (transcoding !== undefined) return transcoding.decode(data)
    if (name === escapedName) return readEscaped(data)
    throw new TranscodingNotRegisteredError(
      `Cannot read a value of the stored type '${String(name)}': define a transcoding with that name and register it`,
    )
  }
}

/** The content of a state. */
export interface PlainState {
  readonly timestamp: Timestamp
  readonly originatorTopic?: string | undefined
  readonly data: Readonly<Record<string, unknown>>
}

const plainBeginning = `{"timestamp":${prefixOf(timestampName)}"`
const time = String.raw`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}\+00:00`
/** As this library writes times, and Python those with a fraction. */
const usualTime = new RegExp(`^${time}$`)
/** How nearly all states begin. What follows is the data, without their brace. */
const plainStart = new RegExp(`^${plainBeginning.replaceAll(/[{}]/g, String.raw`\$&`)}${time}"\\}(?:,(?=")|\\}$)`)
const creationName = '"originator_topic"'
/** How that goes on in the first event of an originator. */
const creationStart = /^"originator_topic":"([^"\\]*)"(?:,(?=")|\}$)/
const timeIndex = plainBeginning.length
const timeLength = '2026-01-02T03:04:05.678901+00:00'.length
const dataIndex = timeIndex + timeLength + '"},'.length

/** Names that belong to the event, or tell the type of a value. */
const ownNames = new Set(['timestamp', 'originator_topic', 'class_version', '_personal_', typeKey])

/** What a list or an object may have in it that has to be read: a registered type, or an integer that a number cannot hold. */
const needsReading = /_type_"|\\u|\d{16}/

function mayHaveLostDigits(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value)
}

/** @throws `MapperError` for bytes that are no UTF-8 */
export function textOf(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new MapperError('Cannot read a state as JSON: it is not UTF-8 text')
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

/** @throws `MapperError` for a text that is no JSON */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    const hasNoNumber = text
      .replace(tokens, (token) => (token.startsWith('"') ? '""' : token))
      .match(/\b(NaN|Infinity)\b/)
    // Not kept as the cause: the parser's message quotes the content, which does not belong into logs.
    throw new MapperError(
      hasNoNumber === null
        ? 'Cannot read a state as JSON: it is not well-formed'
        : `Cannot read a state as JSON: it has ${hasNoNumber[0]}, which Python writes and JSON does not have. Write null, or a decimal, there.`,
    )
  }
}

/** An integer that a number of JavaScript may not hold has at least so many digits; they may be in a text as well. */
const mayLoseDigits = /\d{16}/

/** Texts and numbers of JSON. */
const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g

/** Puts the stored form of a bigint in the place of each integer that would be rounded. */
function withExactIntegers(text: string): string {
  return text.replace(tokens, (token) => {
    const isRounded = /^-?\d+$/.test(token) && !Number.isSafeInteger(Number(token))
    return isRounded ? `${prefixOf(bigintName)}"${token}"}` : token
  })
}

function readEscaped(data: unknown): unknown {
  const isPair = (item: unknown): item is [string, unknown] =>
    Array.isArray(item) && item.length === 2 && typeof item[0] === 'string'
  if (Array.isArray(data) && data.every(isPair)) return Object.fromEntries(data)
  throw new MapperError(`Cannot read a value of the stored type '${escapedName}': its data are not a list of pairs`)
}

// Most texts need no escapes; finding that out costs half of what JSON.stringify does.
function quoted(text: string): string {
  return needsEscape.test(text) ? JSON.stringify(text) : `"${text}"`
}

function prefixOf(name: string): string {
  return `{"${typeKey}":${JSON.stringify(name)},"${dataKey}":`
}

function numberText(value: number): string {
  if (!Number.isFinite(value)) throw new DataError(`Cannot write ${value} to an event: JSON has no such number`)
  if (Object.is(value, -0)) return '-0.0'
  const text = String(value)
  // As Python writes a float: digits alone are an integer, which is read as a bigint when it is so great.
  return Number.isSafeInteger(value) || !/^-?\d+$/.test(text) ? text : `${text}.0`
}

function notRegistered(value: unknown): TranscodingNotRegisteredError {
  if (value === undefined) {
    return new TranscodingNotRegisteredError('Cannot write undefined to an event: use null, or leave the name out')
  }
  const isObject = typeof value === 'object' && value !== null
  const type = isObject ? value.constructor?.name || 'an unnamed class' : typeof value
  return new TranscodingNotRegisteredError(
    `Cannot write a value of type ${type} to an event: define a transcoding for the type and register it, ` +
      'by the option transcodings of the application or transcoder.register()',
  )
}
