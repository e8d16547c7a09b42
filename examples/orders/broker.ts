/** The broker between the two services: NATS JetStream where NATS_URL names one, else one within this process. */
import type { Broker, CloudEvent, RelayMessage } from 'eventsourcing-prisma/relay'

/** What the demo needs of a broker. */
export interface Post {
  /** What relays of a service publish to. */
  to(service: string): Broker
  /** Calls the handler with what a service publishes, again and again until it succeeds. */
  consume(service: string, handler: (event: CloudEvent) => Promise<void>): Promise<void>
  close(): Promise<void>
}

/** Chooses one, and says which. */
export async function openPost(say: (text: string) => void): Promise<Post> {
  const url = process.env['NATS_URL']
  if (url !== undefined) {
    say(`NATS JetStream at ${url} is the broker.`)
    const { NatsPost } = await import('./nats-post.js')
    return await NatsPost.connect(url)
  }
  say('NATS_URL names no broker, so one within this process takes its place. It delivers every third message twice.')
  return new PostWithinProcess()
}

/** Keeps messages in memory, in order, and delivers at least once as brokers do. */
class PostWithinProcess implements Post {
  readonly #handlers = new Map<string, Array<(event: CloudEvent) => Promise<void>>>()
  readonly #waiting = new Map<string, CloudEvent[]>()
  #delivering: Promise<void> = Promise.resolve()
  #published = 0

  to(service: string): Broker {
    return {
      name: 'the broker within this process',
      publish: (messages: readonly RelayMessage[]) => {
        for (const { event } of messages) {
          this.#published += 1
          const times = this.#published % 3 === 0 ? 2 : 1
          for (let time = 0; time < times; time += 1) this.#waitingOf(service).push(event)
        }
        this.#deliver(service)
        return Promise.resolve()
      },
    }
  }

  consume(service: string, handler: (event: CloudEvent) => Promise<void>): Promise<void> {
    this.#handlers.set(service, [...(this.#handlers.get(service) ?? []), handler])
    this.#deliver(service)
    return Promise.resolve()
  }

  async close(): Promise<void> {
    await this.#delivering
  }

  #waitingOf(service: string): CloudEvent[] {
    const waiting = this.#waiting.get(service) ?? []
    this.#waiting.set(service, waiting)
    return waiting
  }

  #deliver(service: string): void {
    const before = this.#delivering
    this.#delivering = (async () => {
      await before
      const handlers = this.#handlers.get(service) ?? []
      if (handlers.length === 0) return
      for (const event of this.#waitingOf(service).splice(0)) for (const handle of handlers) await handle(event)
    })()
  }
}
