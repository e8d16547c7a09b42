/** RabbitMQ, through a confirm channel with the shape of amqplib's. */
import { callable, checkOptions, either, milliseconds, oneOf, text } from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import { amqpBinding, type CloudEvent, type ContentMode, encodeCloudEvent } from './cloud-event.js'
import { type Broker, notPublished, type RelayMessage, sendByKey } from './relay.js'

/** The properties of a message, as a channel takes them. */
export interface RabbitMQProperties {
  /** True: it outlives the broker's process. */
  persistent: boolean
  /** True: it comes back where no queue takes it. */
  mandatory: boolean
  /** The media type. */
  contentType: string
  /** The id of the event. */
  messageId: string
  /** The type of the event. */
  type: string
  /** When it was triggered, in seconds. */
  timestamp: number
  /** The attributes of the event, in binary mode. */
  headers: Record<string, string>
}

/** What is needed of a confirm channel; that of amqplib is one. */
export interface ConfirmChannel {
  /** Sends a message; `callback` is told when the broker has it for good, or has refused it. */
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: RabbitMQProperties,
    callback: (error: unknown) => void,
  ): boolean
  /** Tells of messages that have come back, and of the end of the channel. */
  on(event: string, listener: (told: unknown) => void): unknown
}

/** How messages are sent. */
export interface RabbitMQOptions {
  /** The exchange; an empty name is the default exchange, where the routing key is the name of a queue. */
  readonly exchange: string
  /** The routing key, or what gives it for an event; default: the event's `type`. */
  readonly routingKey?: string | ((event: CloudEvent) => string)
  /** Default `structured`. */
  readonly mode?: ContentMode
  /** Milliseconds that the broker may take to confirm a message; default 30,000. */
  readonly timeoutMs?: number
}

/**
 * Publishes to RabbitMQ: messages are persistent and `mandatory`, so that one that no queue takes comes back and counts as not
 * published. It sends the next message of an originator when the one before is confirmed, and those of others beside it.
 *
 * @param channel - a confirm channel; or a function that connects and makes one, called again when the channel has ended
 * @throws `ProgrammingError` without a channel or an exchange
 *
 * @example
 * const open = async () => {
 *   const connection = await connect('amqp://localhost')
 *   // Without a listener a connection that is lost would end the process.
 *   connection.on('error', (error) => console.error(error))
 *   return await connection.createConfirmChannel()
 * }
 * new Relay({ …, to: rabbitMQ(open, { exchange: 'dogs' }) })
 */
export function rabbitMQ(
  channel: ConfirmChannel | (() => PromiseLike<ConfirmChannel>),
  options: RabbitMQOptions,
): Broker {
  checkOptions('publish to RabbitMQ', options, {
    exchange: text,
    routingKey: either(text, callable),
    mode: oneOf('structured', 'binary'),
    timeoutMs: milliseconds,
  })
  const isChannel = typeof channel === 'object' && typeof channel?.publish === 'function'
  if ((!isChannel && typeof channel !== 'function') || options.exchange === undefined) {
    throw new ProgrammingError(
      'Could not publish to RabbitMQ: call rabbitMQ(channel, { exchange }) with a confirm channel of amqplib, or with a function that opens one.',
    )
  }
  return new RabbitMQ(channel, options)
}

/** A channel, and what is known of it. */
interface OpenChannel {
  readonly channel: ConfirmChannel
  /** The ids of messages that have come back, until they are confirmed: the broker confirms those as well. */
  readonly returned: Map<string, string>
  isClosed: boolean
  error: unknown
}

class RabbitMQ implements Broker {
  readonly name: string
  readonly #source: ConfirmChannel | (() => PromiseLike<ConfirmChannel>)
  readonly #options: RabbitMQOptions
  #open: OpenChannel | undefined

  constructor(source: ConfirmChannel | (() => PromiseLike<ConfirmChannel>), options: RabbitMQOptions) {
    this.#source = source
    this.#options = options
    this.name = options.exchange === '' ? 'RabbitMQ' : `the exchange ${options.exchange} of RabbitMQ`
  }

  async publish(messages: readonly RelayMessage[]): Promise<void> {
    const [first] = messages
    if (first === undefined) return
    const open = await this.#channel(first)
    await sendByKey(messages, async (message) => await this.#send(open, message))
  }

  async #channel(first: RelayMessage): Promise<OpenChannel> {
    if (this.#open?.isClosed === false) return this.#open
    if (typeof this.#source !== 'function') {
      if (this.#open === undefined) return (this.#open = watched(this.#source))
      const { error: cause } = this.#open
      const why = `its channel has ended${cause instanceof Error ? ` (${cause.message})` : ''}: give rabbitMQ() a function that opens one, so that it can open another`
      throw notPublished(first, this.name, { why, cause })
    }
    try {
      return (this.#open = watched(await this.#source()))
    } catch (cause) {
      throw notPublished(first, this.name, { cause })
    }
  }

  async #send(open: OpenChannel, message: RelayMessage): Promise<void> {
    const { exchange, routingKey = (event) => event.type, mode = 'structured', timeoutMs = 30_000 } = this.#options
    const { event } = message
    const { contentType, headers, body } = encodeCloudEvent(event, mode, amqpBinding)
    const key = typeof routingKey === 'string' ? routingKey : routingKey(event)
    const properties = {
      persistent: true,
      mandatory: true,
      contentType,
      messageId: event.id,
      type: event.type,
      timestamp: Math.floor(Date.parse(event.time ?? '') / 1000) || 0,
      headers: { ...headers },
    }
    await new Promise<void>((resolve, reject) => {
      const fail = (reason: { readonly why?: string; readonly cause?: unknown }): void => {
        clearTimeout(timer)
        reject(notPublished(message, this.name, reason))
      }
      const timer = setTimeout(() => fail({ why: `the broker has not confirmed it in ${timeoutMs} ms` }), timeoutMs)
      try {
        open.channel.publish(exchange, key, Buffer.from(body), properties, (error) => {
          const returned = open.returned.get(event.id)
          open.returned.delete(event.id)
          if (error !== null && error !== undefined) fail({ cause: open.error ?? error })
          else if (returned !== undefined) {
            fail({ why: `it has come back (${returned}): no queue takes messages with the routing key '${key}'` })
          } else {
            clearTimeout(timer)
            resolve()
          }
        })
      } catch (cause) {
        open.isClosed = true
        fail({ cause: open.error ?? cause })
      }
    })
  }
}

function watched(channel: ConfirmChannel): OpenChannel {
  const open: OpenChannel = { channel, returned: new Map(), isClosed: false, error: undefined }
  channel.on('return', (message) => {
    const { properties, fields } = message as {
      readonly properties?: { readonly messageId?: unknown }
      readonly fields?: { readonly replyText?: string }
    } // as amqplib gives it
    if (typeof properties?.messageId === 'string') {
      open.returned.set(properties.messageId, fields?.replyText ?? 'NO_ROUTE')
    }
  })
  // Why it ends is told before that it ends; without a listener it would end the process.
  channel.on('error', (error) => (open.error = error))
  channel.on('close', () => (open.isClosed = true))
  return open
}
