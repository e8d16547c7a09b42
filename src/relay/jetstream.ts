/** NATS JetStream, through a client with the shape of `@nats-io/jetstream`. */
import { callable, checkOptions, either, flag, milliseconds, oneOf, text } from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import { type CloudEvent, type ContentMode, encodeCloudEvent, natsBinding } from './cloud-event.js'
import { type Broker, notPublished, type RelayMessage, sendByKey, throwFirst } from './relay.js'

/** What goes with a message, as the client takes it. */
export interface JetStreamPublishOptions {
  /** The `Nats-Msg-Id`. */
  msgID: string
  /** Milliseconds. */
  timeout: number
  /** Of a class of the client's package, which is not imported here: `MessageHeaders` has what the client uses of it. */
  headers: never
  /** What has to be the last message of the stream. */
  expect: JetStreamExpectation
}

/** What has to be the last message of a stream, by its `Nats-Msg-Id` or by its number. */
export interface JetStreamExpectation {
  /** Its `Nats-Msg-Id`. */
  lastMsgID?: string
  /** Its number. */
  lastSequence?: number
}

/** What looks after streams. */
export interface JetStreamStreams {
  /** The name of the one stream that has a subject. */
  find(subject: string): Promise<string>
  /** How a stream is doing. */
  info(stream: string): Promise<JetStreamInfo>
  /** Reads the last message on a subject. */
  getMessage(stream: string, query: JetStreamQuery): Promise<JetStreamMessage | null>
}

/** How a stream is doing. */
export interface JetStreamInfo {
  /** `last_seq` is the number of the last message that it has had. */
  readonly state: Readonly<Record<'last_seq', number>>
}

/** Which message to read. */
export interface JetStreamQuery {
  /** The last one on this subject. */
  last_by_subj: string
}

/** A message of a stream. */
export interface JetStreamMessage {
  /** Its number. */
  readonly seq: number
  /** Its headers. */
  readonly header: JetStreamHeaders
}

/** The headers of a message. */
export interface JetStreamHeaders {
  /** The value of a header; empty where there is none. */
  get(name: string): string
}

/** What is needed of a JetStream client; `jetstream(connection)` of `@nats-io/jetstream` is one. */
export interface JetStreamClient {
  /** Sends a message, and ends when the stream has stored it. */
  publish(subject: string, payload: Uint8Array, options: JetStreamPublishOptions): Promise<unknown>
  /** Gives what looks after streams. */
  jetstreamManager(checkAPI?: boolean): Promise<JetStreamManager>
}

/** What gives access to streams. */
export interface JetStreamManager {
  /** Looks after streams. */
  readonly streams: JetStreamStreams
}

/** How messages are sent. */
export interface JetStreamOptions {
  /** The subject, or what gives it for an event, such as `(event) => \`dogs.${event.subject}\``. With a `fence` all belong to one stream. */
  readonly subject: string | ((event: CloudEvent) => string)
  /** Default `structured`. */
  readonly mode?: ContentMode
  /**
   * Whether each message names the one that has to be the last of the stream before it, default true: a second relay, or the rest of one
   * that was cut off, can then add nothing. It needs a stream of its own; with `false` others may publish to it too, the stream
   * knows doubles for as long as its `duplicate_window` says, and the next message of an originator waits for the one before.
   */
  readonly fence?: boolean
  /** Milliseconds that the server may take to confirm a message; default 10,000. */
  readonly timeoutMs?: number
}

/**
 * Publishes to a stream of NATS JetStream. The id of a message (`Nats-Msg-Id`) is that of the event. Before it begins, and after each
 * failure, a relay with a `fence` looks what is the last message in the stream, and goes on behind that: nothing is in it twice,
 * however long ago it was sent.
 *
 * @param js - `jetstream(connection)`; let the connection try for ever (`maxReconnectAttempts: -1`)
 * @throws `ProgrammingError` without a client or a subject
 *
 * @example
 * const connection = await connect({ servers: 'localhost', maxReconnectAttempts: -1 })
 * new Relay({ …, to: jetStream(jetstream(connection), { subject: 'dogs' }) })
 */
export function jetStream(js: JetStreamClient, options: JetStreamOptions): Broker {
  checkOptions('publish to JetStream', options, {
    subject: either(text, callable),
    mode: oneOf('structured', 'binary'),
    fence: flag,
    timeoutMs: milliseconds,
  })
  if (typeof js?.publish !== 'function' || options.subject === undefined) {
    throw new ProgrammingError(
      'Could not publish to JetStream: call jetStream(js, { subject }) with the client that jetstream(connection) of @nats-io/jetstream gives.',
    )
  }
  return new JetStream(js, options)
}

/** The last message of a stream, as the next one has to name it. */
interface Tip {
  /** Its `Nats-Msg-Id`; undefined where it is not known, or it has none. */
  readonly id: string | undefined
  /** Its number in the stream, where it was asked for. */
  readonly sequence: number | undefined
}

/** What the server answers to a message that names another one than the last. */
const wrongLastMessage: ReadonlySet<unknown> = new Set([10_070, 10_071])

/** A relay that has ended leaves at most a page under way: who passes over more is behind for another reason. */
const mostUnderWay = 10_000

class JetStream implements Broker {
  readonly name: string
  readonly #js: JetStreamClient
  readonly #options: JetStreamOptions
  /** Undefined where the stream has to be asked. */
  #tip: Tip | undefined
  #isWarnedOfOthers = false
  /** How many messages the stream had already. */
  #passed = 0
  #isWarnedOfPassing = false

  constructor(js: JetStreamClient, options: JetStreamOptions) {
    this.#js = js
    this.#options = options
    this.name = typeof options.subject === 'string' ? `the subject ${options.subject} of JetStream` : 'JetStream'
  }

  async publish(messages: readonly RelayMessage[]): Promise<void> {
    const [first] = messages
    if (first === undefined) return
    // A client that has no connection keeps what it is given until it has one again: the small question goes first.
    if (this.#tip === undefined) this.#passed = 0
    const tip = this.#tip ?? (await this.#lookUp(first))
    const unsent = messages.filter((message) => !isSent(message, tip))
    this.#passed += messages.length - unsent.length
    if (this.#passed > mostUnderWay) this.#tellOfPassing(messages, tip)
    await this.#sendBehind(unsent, tip)
  }

  async #sendBehind(messages: readonly RelayMessage[], tip: Tip): Promise<void> {
    this.#tip = undefined
    if (this.#options.fence === false) {
      await sendByKey(messages, async (message) => await this.#send(message, {}))
    } else {
      // In the order of these calls they are on the wire.
      let before = tip
      const sent = messages.map((message) => {
        const sending = this.#send(message, expectation(before))
        before = { id: message.deduplicationId, sequence: undefined }
        return sending
      })
      throwFirst(await Promise.allSettled(sent))
    }
    const last = messages.at(-1)
    this.#tip = last === undefined ? tip : { id: last.deduplicationId, sequence: undefined }
  }

  async #send(message: RelayMessage, expect: JetStreamExpectation): Promise<void> {
    const { mode = 'structured', timeoutMs = 10_000 } = this.#options
    const { event, deduplicationId } = message
    const { headers, body } = encodeCloudEvent(event, mode, natsBinding)
    try {
      await this.#js.publish(this.#subjectOf(event), body, {
        msgID: deduplicationId,
        timeout: timeoutMs,
        headers: new MessageHeaders(headers) as never, // what the client does with it is to set and to encode
        expect,
      })
    } catch (cause) {
      throw notPublished(message, this.name, { cause, why: this.#whyNot(cause), retryable: !isTooLarge(cause) })
    }
  }

  /** What the stream has last. */
  async #lookUp(first: RelayMessage): Promise<Tip> {
    try {
      const { streams } = await this.#js.jetstreamManager(false)
      const stream = await streams.find(this.#subjectOf(first.event))
      if (this.#options.fence === false) return { id: undefined, sequence: undefined }
      // `>` is the last one on whatever subject.
      const last = await streams.getMessage(stream, { last_by_subj: '>' })
      if (last === null) return { id: undefined, sequence: (await streams.info(stream)).state.last_seq }
      const id = last.header.get('Nats-Msg-Id') || undefined
      if (id === undefined || !isOfSameLog(id, first)) this.#warnOfOthers(stream, id)
      return { id, sequence: last.seq }
    } catch (cause) {
      throw notPublished(first, this.name, { cause, why: this.#whyNot(cause) })
    }
  }

  #subjectOf(event: CloudEvent): string {
    const { subject } = this.#options
    return typeof subject === 'string' ? subject : subject(event)
  }

  #whyNot(cause: unknown): string {
    const reason = cause instanceof Error ? cause.message : String(cause)
    if (wrongLastMessage.has(codeOf(cause))) {
      return (
        `${reason}: another relay, or somebody else, has published to the stream meanwhile. Give each relay a stream of its own, or set ` +
        'fence: false'
      )
    }
    return /no stream matches/.test(reason) ? `${reason}: make a stream that has it` : reason
  }

  #warnOfOthers(stream: string, id: string | undefined): void {
    if (this.#isWarnedOfOthers) return
    this.#isWarnedOfOthers = true
    process.emitWarning(
      `The last message of stream ${stream} (${id ?? 'without an id'}) is not of the log that a relay publishes to it. Its fence ` +
        'fails each time that others publish: give it a stream of its own, or set fence: false.',
      { code: 'ES_RELAY_SHARED' },
    )
  }

  /** More than what was under way when a relay ended: its position was set back, or lost. */
  #tellOfPassing([first]: readonly RelayMessage[], { id }: Tip): void {
    if (this.#isWarnedOfPassing) return
    this.#isWarnedOfPassing = true
    process.emitWarning(
      `${this.name} has events up to ${id} already, and a relay has come to ${first?.deduplicationId} alone: what the stream has is not ` +
        'sent again. Rewind the relay where it is to be.',
      { code: 'ES_RELAY_PASSES_OVER' },
    )
  }
}

/** What a message asks for. The number is known after a look alone; the server may have forgotten the id by then. */
function expectation({ id, sequence }: Tip): JetStreamExpectation {
  if (sequence !== undefined) return { lastSequence: sequence }
  return id === undefined ? {} : { lastMsgID: id }
}

/** `<Application>/<position>`, and behind it what tells a second sending. */
const idForm = /^(.+)\/(\d+)(~\w+)?$/s

function isOfSameLog(id: string, { deduplicationId }: RelayMessage): boolean {
  return idForm.exec(id)?.[1] === idForm.exec(deduplicationId)?.[1]
}

/** Whether the stream has a message already: what is in it is in order. */
function isSent({ deduplicationId }: RelayMessage, { id }: Tip): boolean {
  const [, log, position = '0', again] = idForm.exec(deduplicationId) ?? []
  const [, lastLog, lastPosition = '0', lastAgain] = idForm.exec(id ?? '') ?? []
  return log !== undefined && log === lastLog && again === lastAgain && BigInt(position) <= BigInt(lastPosition)
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined
}

/** The client says the first before it sends anything, the server the others: more than it takes, or than the stream does. */
function isTooLarge(error: unknown): boolean {
  const reason = error instanceof Error ? error.message : String(error)
  return /max_payload|maximum payload|message size exceeds maximum/i.test(reason)
}

/**
 * What the client does with headers: it sets its own, and has all encoded.
 *
 * @see https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md
 */
class MessageHeaders {
  readonly #values: Map<string, string>

  constructor(headers: Readonly<Record<string, string>>) {
    this.#values = new Map(Object.entries(headers))
  }

  set(name: string, value: string): void {
    this.#values.set(name, value)
  }

  encode(): Uint8Array {
    const lines = [...this.#values].map(([name, value]) => `${name}: ${value}\r\n`)
    return new TextEncoder().encode(`NATS/1.0\r\n${lines.join('')}\r\n`)
  }
}
