/** Brokers that tests talk to: those that the environment names, each with streams and queues of its own for each test. */
import { randomBytes } from 'node:crypto'
import { type JetStreamManager, type JsMsg, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node'
import { type ChannelModel, type ConfirmChannel, connect as connectAmqp, type GetMessage } from 'amqplib'
import { domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { cloudEventOf } from '../../src/relay/cloud-event.js'
import type { RelayMessage } from '../../src/relay/index.js'

/** Where NATS with JetStream is; undefined where the tests have none. */
export const natsUrl: string | undefined = process.env.TEST_NATS_URL || undefined
/** Where RabbitMQ is; undefined where the tests have none. */
export const rabbitUrl: string | undefined = process.env.TEST_RABBITMQ_URL || undefined

/** A name that nobody else has. */
export const newName = (): string => `es_test_${randomBytes(6).toString('hex')}`

/** A connection to NATS, and a stream of one's own. */
export interface TestStream {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  readonly js: ReturnType<typeof jetstream>
  readonly stream: string
  readonly subject: string
  /** All messages of the stream, in order. */
  messages(): Promise<JsMsg[]>
  /** Their ids for deduplication. */
  ids(): Promise<string[]>
  close(): Promise<void>
}

/** Opens a stream. @param duplicateWindowMs - for so long the server knows what it has */
export async function openStream(url: string, duplicateWindowMs: number = 120_000): Promise<TestStream> {
  const connection = await connectNats({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 100 })
  const manager = await jetstreamManager(connection)
  const js = jetstream(connection)
  const stream = newName()
  await manager.streams.add({
    name: stream,
    subjects: [`${stream}.>`],
    duplicate_window: duplicateWindowMs * 1_000_000,
  })
  async function messages(): Promise<JsMsg[]> {
    const { messages: count } = (await manager.streams.info(stream)).state
    const all: JsMsg[] = []
    if (count === 0) return all
    const consumer = await js.consumers.get(stream)
    for await (const message of await consumer.consume()) {
      all.push(message)
      if (all.length === count) break
    }
    return all
  }
  return {
    connection,
    manager,
    js,
    stream,
    subject: `${stream}.dogs`,
    messages,
    ids: async () => (await messages()).map((message) => message.headers?.get('Nats-Msg-Id') ?? ''),
    async close() {
      await manager.streams.delete(stream).catch(() => undefined)
      await connection.close()
    },
  }
}

/** A connection to RabbitMQ, with an exchange and a queue of one's own. */
export interface TestQueue {
  readonly connection: ChannelModel
  readonly channel: ConfirmChannel
  readonly exchange: string
  readonly queue: string
  /** Takes all messages that are in the queue. */
  take(): Promise<GetMessage[]>
  close(): Promise<void>
}

/** Opens a queue that takes what is published with any routing key. @param args - of the queue */
export async function openQueue(url: string, args: object = {}): Promise<TestQueue> {
  const connection = await connectAmqp(url)
  connection.on('error', () => undefined)
  const channel = await connection.createConfirmChannel()
  const name = newName()
  await channel.assertExchange(name, 'topic')
  await channel.assertQueue(name, { arguments: args })
  await channel.bindQueue(name, name, '#')
  return {
    connection,
    channel,
    exchange: name,
    queue: name,
    take: async () => await takeAll(connection, name),
    async close() {
      const last = await connection.createChannel()
      await last.deleteQueue(name)
      await last.deleteExchange(name)
      await connection.close()
    },
  }
}

/** Takes all messages that are in a queue. */
export async function takeAll(connection: ChannelModel, queue: string): Promise<GetMessage[]> {
  const reader = await connection.createChannel()
  const all: GetMessage[] = []
  for (;;) {
    const message = await reader.get(queue, { noAck: true })
    if (message === false) break
    all.push(message)
  }
  await reader.close()
  return all
}

/** Messages of a log, by their positions, each of an originator of its own unless told otherwise. */
export function messagesAt(
  positions: readonly number[],
  { again = '', data = {}, originator }: { again?: string; data?: unknown; originator?: string } = {},
): RelayMessage[] {
  return positions.map((position) => {
    const event = domainEvent({
      originatorId: originator ?? `dog ${position}`,
      originatorVersion: 1,
      topic: 'Dog.Registered',
      timestamp: createTimestamp(),
      data: {},
    })
    const sent = cloudEventOf({ event, position: BigInt(position), application: 'TrainingSchool' }, { data })
    return { event: sent, deduplicationId: `${sent.id}${again}` }
  })
}
