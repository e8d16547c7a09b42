/** Kafka, through a producer with the `send` of kafkajs. */
import { callable, checkOptions, count, either, milliseconds, oneOf, text } from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import { type CloudEvent, type ContentMode, encodeCloudEvent, kafkaBinding } from './cloud-event.js'
import { type Broker, notPublished } from './relay.js'

/** A message as a producer takes it. */
export interface KafkaMessage {
  /** By it a partition is chosen. */
  key: string
  /** The body. */
  value: Buffer
  /** Names and values. */
  headers: Record<string, string>
}

/** What a producer is to send. */
export interface KafkaRecord {
  /** Where to. */
  topic: string
  /** How many replicas have to have it; -1 for all that are in sync. */
  acks?: number
  /** Milliseconds. */
  timeout?: number
  /** In this order, as far as they are in one partition. */
  messages: KafkaMessage[]
}

/** What is needed of a producer; that of kafkajs is one, and `@confluentinc/kafka-javascript` has it as well. */
export interface KafkaProducer {
  /** Sends messages, and ends when so many replicas have them as `acks` says. */
  send(record: KafkaRecord): Promise<unknown>
}

/** How messages are sent. */
export interface KafkaOptions {
  /** The topic, or what gives it for an event. */
  readonly topic: string | ((event: CloudEvent) => string)
  /** Default `structured`. */
  readonly mode?: ContentMode
  /** Milliseconds that the brokers may take to confirm; default 30,000. */
  readonly timeoutMs?: number
  /** How many replicas have to have a message; default -1, all that are in sync. */
  readonly acks?: number
}

/**
 * Publishes to Kafka: the key is the originator's id, so that its events are in one partition, and all replicas that are in sync confirm
 * (`acks: -1`). Give it a producer that is connected and `idempotent`, so that its own retries change no order.
 *
 * @throws `ProgrammingError` without a producer or a topic
 */
export function kafka(producer: KafkaProducer, options: KafkaOptions): Broker {
  checkOptions('publish to Kafka', options, {
    topic: either(text, callable),
    mode: oneOf('structured', 'binary'),
    timeoutMs: milliseconds,
    acks: either(count, oneOf(-1)),
  })
  const { topic, mode = 'structured', timeoutMs = 30_000, acks = -1 } = options
  if (typeof producer?.send !== 'function' || topic === undefined) {
    throw new ProgrammingError(
      'Could not publish to Kafka: call kafka(producer, { topic }) with the producer of kafkajs.',
    )
  }
  const name = typeof topic === 'string' ? `the topic ${topic} of Kafka` : 'Kafka'
  return {
    name,
    async publish(messages) {
      const [first] = messages
      if (first === undefined) return
      const byTopic = new Map<string, KafkaMessage[]>()
      for (const { event } of messages) {
        const { headers, body } = encodeCloudEvent(event, mode, kafkaBinding)
        const place = typeof topic === 'string' ? topic : topic(event)
        const list = byTopic.get(place) ?? []
        byTopic.set(place, list)
        list.push({ key: event.partitionkey ?? event.id, value: Buffer.from(body), headers: { ...headers } })
      }
      for (const [place, list] of byTopic) {
        try {
          await producer.send({ topic: place, acks, timeout: timeoutMs, messages: list })
        } catch (cause) {
          const isTooLarge = (cause as { readonly type?: unknown } | null)?.type === 'MESSAGE_TOO_LARGE' // as kafkajs names the answers of brokers
          throw notPublished(first, name, { cause, retryable: !isTooLarge })
        }
      }
    },
  }
}
