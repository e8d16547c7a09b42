/** The envelope of messages: CloudEvents 1.0, written and read in the two modes of the protocol bindings. */
import type { DomainEvent } from '../domain/event.js'
import type { Timestamp } from '../domain/timestamp.js'

/**
 * An event as it leaves its application.
 *
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 */
export interface CloudEvent<Data = unknown> {
  /** The version of the specification. */
  readonly specversion: '1.0'
  /** `<Application>/<position>`, such as `TrainingSchool/4711`: the same each time that the event is sent. */
  readonly id: string
  /** Where it comes from; with `id` it tells the event from all others. */
  readonly source: string
  /** What has happened: the topic of the event, such as `Dog.TrickAdded`, unless `map` says something else. */
  readonly type: string
  /** What it has happened to: the originator's id, unless `map` says something else. */
  readonly subject?: string
  /** When it was triggered, as RFC 3339 writes it. */
  readonly time?: string
  /** The media type of the data; absent for JSON in an event that was read in structured mode. */
  readonly datacontenttype?: string
  /** The content; a `Uint8Array` for what is no JSON. */
  readonly data?: Data
  /** The position in the log, with zeros before it, so that the order of the texts is that of the log. */
  readonly sequence?: string
  /** Events with the same one are in order: the originator's id. */
  readonly partitionkey?: string
  /** The trace that it belongs to, as W3C Trace Context writes it: from the event's metadata. */
  readonly traceparent?: string
  /** What it belongs to, such as a request: from the event's metadata. */
  readonly correlationid?: string
  /** What has caused it: from the event's metadata. */
  readonly causationid?: string
  /** Attributes that others have added. */
  readonly [extension: string]: unknown
}

/** Where the attributes of an event stand in a message: in the body with the data, or in headers beside the data. */
export type ContentMode = 'structured' | 'binary'

/** What a relay's `map` gives for an event. */
export interface MappedEvent {
  /** The content of the message: what JSON can write, or a `Uint8Array`. */
  readonly data: unknown
  /** Default: the originator's id. */
  readonly subject?: string
  /** Default: the event's topic. */
  readonly type?: string
}

/** An event of a log, with its place in that. */
export interface RelayedEvent {
  readonly event: DomainEvent
  readonly position: bigint
  /** The application whose log it is. */
  readonly application: string
  /** Default: the application's name. */
  readonly source?: string | undefined
}

/** How one protocol writes the attributes of an event into headers. */
export interface HeaderBinding {
  /** What the names of attributes begin with. */
  readonly prefix: string
  /** The header for the content type; undefined where it is no header. */
  readonly contentType: string | undefined
  /** Whether the type of the data is an attribute as the others are, and the content type tells the mode alone. */
  readonly namesDataType: boolean
  /** Writes the value of an attribute. */
  readonly write: (value: string) => string
}

/** @see https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md */
export const natsBinding: HeaderBinding = {
  prefix: 'ce-',
  contentType: 'Content-Type',
  namesDataType: true,
  write: (value) => value.replace(/[^\x21-\x7e]|["%]/gu, encodeURIComponent),
}

/** RabbitMQ has the content type as a property. @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md */
export const amqpBinding: HeaderBinding = {
  prefix: 'cloudEvents:',
  contentType: undefined,
  namesDataType: false,
  write: (value) => value,
}

/** @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md */
export const kafkaBinding: HeaderBinding = {
  prefix: 'ce_',
  contentType: 'content-type',
  namesDataType: false,
  write: (value) => value,
}

/** A message as a broker takes it. */
export interface EncodedEvent {
  readonly contentType: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

const structuredType = 'application/cloudevents+json'
const utf8 = new TextEncoder()

/** So many digits has the greatest position. */
const positionDigits = 19

/** @throws `TypeError` where the type or the subject is no text that an attribute can have */
export function cloudEventOf({ event, position, application, source }: RelayedEvent, mapped: MappedEvent): CloudEvent {
  const { originatorId, metadata } = event
  const { type = event.topic, subject = originatorId, data } = mapped
  return {
    specversion: '1.0',
    id: `${application}/${position}`,
    source: checkedAttribute('source', source ?? application),
    type: checkedAttribute('type', type),
    subject: checkedAttribute('subject', subject),
    time: rfc3339(event.timestamp),
    ...(data === undefined ? {} : { datacontenttype: isBytes(data) ? 'application/octet-stream' : 'application/json' }),
    sequence: String(position).padStart(positionDigits, '0'),
    partitionkey: originatorId,
    ...attributeFrom(metadata?.['traceparent'], 'traceparent'),
    ...attributeFrom(metadata?.['correlationId'], 'correlationid'),
    ...attributeFrom(metadata?.['causationId'], 'causationid'),
    ...(data === undefined ? {} : { data }),
  }
}

/** @throws `TypeError` for data that JSON cannot write */
export function encodeCloudEvent(event: CloudEvent, mode: ContentMode, binding: HeaderBinding): EncodedEvent {
  if (mode === 'structured') {
    const { data, ...attributes } = event
    const content = data === undefined ? {} : isBytes(data) ? { data_base64: base64Of(data) } : { data }
    const body = utf8.encode(jsonOf({ ...attributes, ...content }, event.id))
    const { contentType } = binding
    const headers = contentType === undefined ? {} : { [contentType]: structuredType }
    return { contentType: structuredType, headers, body }
  }
  const { data, datacontenttype, ...attributes } = event
  const named = binding.namesDataType ? { ...attributes, datacontenttype } : attributes
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(named)) {
    if (typeof value === 'string') headers[`${binding.prefix}${name}`] = binding.write(value)
  }
  const contentType = datacontenttype ?? 'application/json'
  if (binding.contentType !== undefined && !binding.namesDataType) headers[binding.contentType] = contentType
  const body = data === undefined ? new Uint8Array() : isBytes(data) ? data : utf8.encode(jsonOf(data, event.id))
  return { contentType, headers, body }
}

/** The headers of a message of NATS. */
export interface ReceivedHeaders {
  /** The value of a header. */
  get(name: string): string
  /** The names. */
  keys(): string[]
}

/**
 * A message as a client gives it: of `@nats-io/jetstream` (`headers`, `data`), of amqplib (`properties`, `content`) or of kafkajs (`headers`,
 * `value`).
 */
export interface ReceivedMessage {
  /** The body, from NATS. */
  readonly data?: Uint8Array
  /** The body, from amqplib. */
  readonly content?: Uint8Array
  /** The body, from kafkajs. */
  readonly value?: Uint8Array | null
  /** From amqplib: the content type, and the headers. */
  readonly properties?: object
  /** From NATS and kafkajs. */
  readonly headers?: ReceivedHeaders | object | undefined
}

/**
 * Reads the CloudEvent that a message from a broker is, in either mode.
 *
 * @returns the event; its `data` is what its JSON says, or a `Uint8Array` where its type is not JSON
 * @throws `TypeError` for a message that is none
 *
 * @example
 * for await (const message of await consumer.consume()) {
 *   await inbox.once(readCloudEvent(message), async () => await db.owner.create({ data: … }))
 *   message.ack()
 * }
 */
export function readCloudEvent<Data = unknown>(message: ReceivedMessage): CloudEvent<Data> {
  const { contentType, headers, body } = partsOf(message)
  const event = isStructured(contentType) ? structuredEvent(body) : binaryEvent(contentType, headers, body)
  for (const name of ['id', 'source', 'type'] as const) {
    const value: unknown = event[name]
    if (typeof value !== 'string' || value === '') {
      throw new TypeError(`Cannot read the message as a CloudEvent: it has no ${name}.`)
    }
  }
  if (event['specversion'] !== '1.0') {
    throw new TypeError(
      `Cannot read CloudEvent ${String(event['id'])}: its specversion is '${String(event['specversion'])}', not '1.0'.`,
    )
  }
  return event as unknown as CloudEvent<Data> // as was just checked; what the data are is the caller's word
}

/** The position of an event in the log that it comes from; undefined where its `sequence` is not that of a relay. */
export function positionOf({ sequence }: Pick<CloudEvent, 'sequence'>): bigint | undefined {
  return sequence !== undefined && /^\d{1,19}$/.test(sequence) ? BigInt(sequence) : undefined
}

interface MessageParts {
  readonly contentType: string | undefined
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array
}

function partsOf({ data, content, value, properties, headers: given }: ReceivedMessage): MessageParts {
  const body = data ?? content ?? value ?? new Uint8Array()
  if (properties !== undefined) {
    const { contentType, headers } = properties as { readonly contentType?: unknown; readonly headers?: object } // as amqplib has them
    return { contentType: textOf(contentType), headers: headersOf(headers), body }
  }
  const headers = headersOf(
    isHeaders(given) ? Object.fromEntries(given.keys().map((name) => [name, given.get(name)])) : given,
  )
  return { contentType: headers.get('content-type'), headers, body }
}

function isHeaders(headers: object | undefined): headers is ReceivedHeaders {
  return headers !== undefined && 'keys' in headers && typeof headers.keys === 'function'
}

/** By names in lower case. */
function headersOf(headers: object = {}): Map<string, string> {
  const texts = new Map<string, string>()
  for (const [name, value] of Object.entries(headers)) {
    const text = textOf(value)
    if (text !== undefined) texts.set(name.toLowerCase(), text)
  }
  return texts
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value
  if (isBytes(value)) return new TextDecoder().decode(value)
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

function isStructured(contentType: string | undefined): boolean {
  return contentType?.toLowerCase().startsWith('application/cloudevents') === true
}

function structuredEvent(body: Uint8Array): Record<string, unknown> {
  const { data_base64: bytes, ...event } = parsed(body) as Record<string, unknown>
  return typeof bytes === 'string' ? { ...event, data: new Uint8Array(Buffer.from(bytes, 'base64')) } : event
}

function binaryEvent(
  contentType: string | undefined,
  headers: ReadonlyMap<string, string>,
  body: Uint8Array,
): Record<string, unknown> {
  const event: Record<string, unknown> = {}
  for (const [header, value] of headers) {
    const name = /^(?:ce[-_]|cloudevents[:_])([a-z\d]+)$/.exec(header)?.[1]
    // Only NATS escapes what a header cannot have.
    if (name !== undefined) event[name] = header.startsWith('ce-') ? unescaped(value) : value
  }
  const type = event['datacontenttype'] ?? contentType
  if (typeof type === 'string') event['datacontenttype'] = type
  if (body.length > 0) event['data'] = isJSON(type) ? parsed(body) : new Uint8Array(body)
  return event
}

function unescaped(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

function isJSON(type: unknown): boolean {
  return type === undefined || (typeof type === 'string' && /^[^;]*[/+]json\s*(;|$)/i.test(type))
}

function parsed(body: Uint8Array): object {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as object // the caller looks at what it is
  } catch (error) {
    throw new TypeError('Cannot read the message as a CloudEvent: its body is no JSON.', { cause: error })
  }
}

function jsonOf(value: unknown, id: string): string {
  try {
    return JSON.stringify(value)
  } catch (error) {
    throw new TypeError(
      `Cannot write event ${id} as JSON: let the relay's map turn its data into what JSON has, or into a Uint8Array.`,
      { cause: error },
    )
  }
}

function checkedAttribute(name: string, value: string): string {
  if (typeof value === 'string' && value !== '' && !hasControls(value)) return value
  throw new TypeError(
    `Cannot make a CloudEvent: its ${name} has to be a text that is not empty, without control characters.`,
  )
}

/** Metadata may be anything: what no attribute can have is left out. */
function attributeFrom(value: unknown, name: string): Record<string, string> {
  return typeof value === 'string' && value !== '' && !hasControls(value) ? { [name]: value } : {}
}

function hasControls(text: string): boolean {
  return /\p{Cc}|\p{Cs}/u.test(text)
}

/** Timestamps that Python has written may lack what the RFC asks for. */
function rfc3339(timestamp: Timestamp): string {
  const iso = timestamp.iso.replace(' ', 'T')
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(iso)
    ? iso
    : new Date(timestamp.getTime()).toISOString()
}

function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
