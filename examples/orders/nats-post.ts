/** The broker as NATS JetStream: a stream for each service. Its packages are not among those of the examples, since the demo runs without. */
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { type Broker, type CloudEvent, jetStream, readCloudEvent } from 'eventsourcing-prisma/relay'
import type { Post } from './broker.js'

export class NatsPost implements Post {
  readonly #connection: NatsConnection
  readonly #run: string
  readonly #consuming: Array<{ stop(): void }> = []

  private constructor(connection: NatsConnection) {
    this.#connection = connection
    this.#run = `orders-demo-${process.pid}-${Date.now()}`
  }

  /** Makes streams that this run alone uses. */
  static async connect(servers: string): Promise<NatsPost> {
    const post = new NatsPost(await connect({ servers, maxReconnectAttempts: -1 }))
    const manager = await jetstreamManager(post.#connection)
    for (const service of ['shop', 'payments']) {
      await manager.streams.add({ name: post.#streamOf(service), subjects: [post.#streamOf(service)] })
      await manager.consumers.add(post.#streamOf(service), { durable_name: 'other-service', ack_policy: 'explicit' })
    }
    return post
  }

  to(service: string): Broker {
    return jetStream(jetstream(this.#connection), { subject: this.#streamOf(service) })
  }

  async consume(service: string, handler: (event: CloudEvent) => Promise<void>): Promise<void> {
    const consumer = await jetstream(this.#connection).consumers.get(this.#streamOf(service), 'other-service')
    const messages = await consumer.consume()
    this.#consuming.push(messages)
    void (async () => {
      for await (const message of messages) {
        await handler(readCloudEvent(message))
        message.ack()
      }
    })()
  }

  async close(): Promise<void> {
    for (const each of this.#consuming) each.stop()
    const manager = await jetstreamManager(this.#connection)
    for (const service of ['shop', 'payments']) await manager.streams.delete(this.#streamOf(service))
    await this.#connection.close()
  }

  #streamOf(service: string): string {
    return `${this.#run}-${service}`
  }
}
