/** The mapper: between domain events and stored events. */
import { type DomainEvent, domainEvent, type EventData } from '../domain/event.js'
import { admitOtherTypes } from '../domain/kept-values.js'
import { isStorableText } from '../domain/names.js'
import { Erased } from '../domain/personal-data.js'
import { Timestamp } from '../domain/timestamp.js'
import { DataError, MapperError, ProgrammingError, TranscodingNotRegisteredError } from '../errors.js'
import type { Cipher } from './cipher.js'
import type { Compressor } from './compressor.js'
import { type Metadata, type StoredEvent, TextEvent } from './stored-event.js'
import { JSONTranscoder, type PlainState, type Transcoder, textOf } from './transcoder.js'

/** What a mapper is made from. */
export interface MapperOptions {
  /** Encodes and decodes states. */
  readonly transcoder: Transcoder
  /** Default: states are not compressed. */
  readonly compressor?: Compressor | undefined
  /** Default: states are not encrypted. */
  readonly cipher?: Cipher | undefined
}

/**
 * Writes the state of an event as the Python library does: its timestamp, on the first event of an originator the topic
 * of the originator's class, then its data, and the version of the event's class where it is not the first; encoded, then compressed, then encrypted.
 */
export class Mapper {
  /** Encodes and decodes states. */
  readonly transcoder: Transcoder
  /** Undefined when states are not compressed. */
  readonly compressor: Compressor | undefined
  /** Undefined when states are not encrypted. */
  readonly cipher: Cipher | undefined
  /** The transcoder, where it is one that can do with text. */
  readonly #json: JSONTranscoder | undefined

  constructor(options: MapperOptions) {
    this.transcoder = options.transcoder
    // It knows what it knows, and cannot be asked.
    if (!('register' in options.transcoder)) admitOtherTypes()
    this.compressor = options.compressor
    this.cipher = options.cipher
    this.#json = isPlainJSON(options.transcoder) ? options.transcoder : undefined
  }

  /** Whether states are text: JSON that is neither compressed nor encrypted. */
  get writesText(): boolean {
    return this.#json !== undefined && this.compressor === undefined && this.cipher === undefined
  }

  /**
   * Writes an event. Its personal data have to be encrypted before, as an `EventStore` does.
   *
   * @throws `TranscodingNotRegisteredError` when the data has a value of a type that is not known
   * @throws `DataError` when the data or the metadata have a value that JSON cannot hold
   * @throws `ProgrammingError` when personal data are not encrypted
   */
  toStoredEvent(event: DomainEvent): StoredEvent {
    if (event.personal !== undefined) assertSealed(event)
    const { originatorId, originatorVersion, topic, metadata } = event
    const state = this.#stateOf(event)
    return metadata === undefined
      ? { originatorId, originatorVersion, topic, state }
      : { originatorId, originatorVersion, topic, state, metadata: storedMetadata(event, metadata) }
  }

  /** As `toStoredEvent`, where the mapper `writesText`. */
  toTextEvent(event: DomainEvent): TextEvent {
    if (event.personal !== undefined) assertSealed(event)
    const { originatorId, originatorVersion, topic } = event
    const metadata = event.metadata === undefined ? undefined : storedMetadata(event, event.metadata)
    return new TextEvent({ originatorId, originatorVersion, topic, metadata }, this.#textOf(event))
  }

  /**
   * Reads an event. In the place of personal data there are `Erased` placeholders, which an `EventStore` with the keys
   * replaces.
   *
   * @throws `MapperError` when the state cannot be read, for whatever reason; the reason is its `cause`
   */
  toDomainEvent(stored: StoredEvent): DomainEvent {
    try {
      const json = this.#json
      if (json === undefined) return eventOf(stored, this.transcoder.decode(this.#decompressed(stored.state)))
      const isText = stored instanceof TextEvent && this.writesText
      const text = isText ? stored.text : textOf(this.#decompressed(stored.state))
      const plain = json.decodePlain(text)
      return plain === undefined ? eventOf(stored, json.decodeText(text)) : plainEventOf(stored, plain)
    } catch (error) {
      throw unreadable(error, stored)
    }
  }

  #stateOf(event: DomainEvent): Uint8Array {
    let state: Uint8Array
    try {
      state =
        this.#json === undefined ? this.transcoder.encode(attributesOf(event)) : utf8.encode(textFor(this.#json, event))
    } catch (error) {
      throw unwritable(error, event)
    }
    if (this.compressor !== undefined) state = this.compressor.compress(state)
    return this.cipher === undefined ? state : this.cipher.encrypt(state)
  }

  #textOf(event: DomainEvent): string {
    if (this.#json === undefined)
      throw new ProgrammingError('Could not write a state as text: it is compressed, encrypted or no JSON.')
    try {
      return textFor(this.#json, event)
    } catch (error) {
      throw unwritable(error, event)
    }
  }

  #decompressed(state: Uint8Array): Uint8Array {
    const bytes = this.cipher === undefined ? state : this.cipher.decrypt(state)
    return this.compressor === undefined ? bytes : this.compressor.decompress(bytes)
  }
}

const utf8 = new TextEncoder()

/** Whether it writes and reads as it is here: a subclass may do something else. */
function isPlainJSON(transcoder: Transcoder): transcoder is JSONTranscoder {
  if (!(transcoder instanceof JSONTranscoder)) return false
  return (['encode', 'decode'] as const).every((name) => transcoder[name] === JSONTranscoder.prototype[name])
}

/** What is written of an event, in this order. */
function attributesOf({ timestamp, originatorTopic, data, classVersion }: DomainEvent): EventData {
  return {
    timestamp,
    ...(originatorTopic === undefined ? {} : { originator_topic: originatorTopic }),
    ...(hasSeals(data) ? writtenSeals(data) : data),
    ...(classVersion === undefined ? {} : { class_version: classVersion }),
  }
}

function textFor(json: JSONTranscoder, event: DomainEvent): string {
  const isPlain = event.classVersion === undefined && event.personal === undefined
  return (isPlain ? json.encodePlain(event) : undefined) ?? json.encodeText(attributesOf(event))
}

function plainEventOf(
  { originatorId, originatorVersion, topic, metadata }: StoredEvent,
  { timestamp, originatorTopic, data }: PlainState,
): DomainEvent {
  Object.freeze(data)
  return domainEvent({ originatorId, originatorVersion, topic, timestamp, originatorTopic, data, metadata })
}

/** @param attributes - what `attributesOf` gave */
function eventOf({ originatorId, originatorVersion, topic, metadata }: StoredEvent, attributes: unknown): DomainEvent {
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes))
    throw new MapperError('the state is not an object')
  const {
    timestamp,
    originator_topic: originatorTopic,
    class_version: classVersion,
    [sealsName]: seals,
    ...data
  } = attributes as EventData // just checked
  if (seals !== undefined) readSeals(data, seals)
  return domainEvent({
    originatorId,
    originatorVersion,
    topic,
    timestamp: timestampOf(timestamp),
    originatorTopic: originatorTopic === undefined ? undefined : topicOf(originatorTopic),
    data: Object.freeze(data),
    classVersion: classVersion === undefined ? undefined : versionOf(classVersion),
    metadata,
  })
}

/** A stored event, perhaps with its position in a log. */
type Unreadable = Pick<StoredEvent, 'topic' | 'originatorId' | 'originatorVersion'> & { readonly id?: bigint }

/** What is thrown where a stored event cannot be read: which one it is, and why. */
export function unreadable(
  error: unknown,
  { topic, originatorId, originatorVersion, id: notificationId }: Unreadable,
): MapperError {
  const reason = (error instanceof Error ? error.message : String(error)).replace(/\.$/, '')
  const position = notificationId === undefined ? '' : `, notification ${notificationId}`
  return new MapperError(
    `Cannot read the stored event ${topic}, version ${originatorVersion} of ${originatorId}${position}: ${reason}. ` +
      'Check that transcodings, compressor, cipher and key are those that it was written with.',
    { cause: error, topic, originatorId, originatorVersion, notificationId },
  )
}

/**
 * What is thrown where the data of an event cannot be written: the error that says why, with the event and, if it is known, the field.
 * Whatever else has failed is given back as it is.
 */
export function unwritable(
  error: unknown,
  { topic, originatorVersion, originatorId }: DomainEvent,
  field?: string,
): unknown {
  const place = field === undefined ? topic : `'${field}' of ${topic}`
  const message = `Cannot store ${place}, version ${originatorVersion} of ${originatorId}: ${error instanceof Error ? error.message : ''}`
  if (error instanceof TranscodingNotRegisteredError)
    return new TranscodingNotRegisteredError(message, { cause: error })
  return error instanceof DataError ? new DataError(message, { cause: error }) : error
}

/** Metadata as they are stored, at once: what they share with others may change before they are. */
function storedMetadata({ topic, originatorVersion, originatorId }: DomainEvent, metadata: Metadata): Metadata {
  try {
    const kept = JSON.parse(JSON.stringify(metadata, checkedForJSON)) as Metadata // an object is written as one
    assertDepth(kept, deepestMetadata)
    return kept
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new DataError(
      `Cannot store ${topic}, version ${originatorVersion} of ${originatorId}: its metadata are not what JSON can hold. ${reason}`,
      { cause: error },
    )
  }
}

/** What JSON, or a database's column of JSON, would lose without a word. */
function checkedForJSON(this: Readonly<Record<string, unknown>>, key: string, value: unknown): unknown {
  const problem = lossOf(this[key]) // before its toJSON
  if (problem !== undefined) throw new DataError(`'${key}' is ${problem}`)
  if (!isStorableText(key) || (typeof value === 'string' && !isStorableText(value))) {
    throw new DataError(`${JSON.stringify(key)} has a NUL or half of a surrogate pair in it`)
  }
  return value
}

/** What JSON would make null, or an object without what is in it. */
function lossOf(value: unknown): string | undefined {
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'symbol' || (typeof value === 'number' && !Number.isFinite(value))) return String(value)
  if (value instanceof Date && Number.isNaN(value.getTime())) return 'an invalid Date'
  if (value instanceof Map || value instanceof Set) return 'a Map or Set: give an object or an array'
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer ? 'bytes: give a text' : undefined
}

/** MariaDB keeps JSON of 31 lists or objects within each other. */
const deepestMetadata = 30

function assertDepth(value: unknown, levels: number): void {
  if (typeof value !== 'object' || value === null) return
  if (levels === 0) throw new DataError(`They are nested deeper than ${deepestMetadata} levels.`)
  for (const member of Object.values(value)) assertDepth(member, levels - 1)
}

function assertSealed({ topic, originatorVersion, originatorId, data, personal }: DomainEvent): void {
  const open = Object.keys(personal ?? {}).find((field) => sealedIn(data[field]) === undefined)
  if (open === undefined) return
  throw new ProgrammingError(
    `Cannot store ${topic}, version ${originatorVersion} of ${originatorId}: '${open}' is personal and not encrypted. ` +
      'Save it by an application, or an event store with keys.',
  )
}

function timestampOf(value: unknown): Timestamp {
  if (value instanceof Date) return Timestamp.from(value)
  throw new MapperError('the state has no timestamp')
}

function versionOf(value: unknown): number {
  if (Number.isSafeInteger(value) && (value as number) >= 1) return value as number // just checked
  throw new MapperError('class_version is not a whole number from 1')
}

function topicOf(value: unknown): string {
  if (typeof value === 'string') return value
  throw new MapperError('originator_topic is not a text')
}

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
const sealsName = '_personal_'

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
function hasSeals(data: Readonly<Record<string, unknown>>): boolean {
  for (const field in data) if (sealedIn(data[field]) !== undefined) return true
  return false
}

/** Puts the encrypted texts in the place of the placeholders, and notes how they are encrypted. */
function writtenSeals(data: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
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
function readSeals(data: Record<string, unknown>, seals: unknown): void {
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
