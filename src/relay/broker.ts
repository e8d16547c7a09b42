/** The port of what a relay publishes to, and what all brokers have in common. */
import { PublishError } from '../errors.js'
import type { CloudEvent } from './cloud-event.js'

/** An event on its way to a broker. */
export interface RelayMessage {
  /** What to send. */
  readonly event: CloudEvent
  /** By it a broker that can do so knows what it has already: the event's id; other ones where events are sent again on purpose. */
  readonly deduplicationId: string
}

/** Where a relay publishes: what `jetStream`, `rabbitMQ` and `kafka` make, or your own. */
export interface Broker {
  /** What messages call it, such as `the exchange dogs of RabbitMQ`. */
  readonly name: string
  /**
   * Publishes messages: those with the same `partitionkey` in this order, none before the one in front of it is safe.
   *
   * @returns when the broker has all of them for good; meanwhile some of them may be there twice, if they were sent before
   * @throws `PublishError` where one is not confirmed. With `retryable` false it is the message that is at fault
   */
  publish(messages: readonly RelayMessage[]): Promise<void>
}

/**
 * Sends messages, those of one key one after the other, the others beside them. Without that, one that is refused could be overtaken by the
 * next one of its key.
 *
 * @param send - ends when the message is confirmed
 * @throws what the first one has failed with, after all have ended
 */
export async function sendByKey(
  messages: readonly RelayMessage[],
  send: (message: RelayMessage) => Promise<void>,
): Promise<void> {
  const lastOf = new Map<string, Promise<void>>()
  const sent = messages.map((message) => {
    const key = message.event.partitionkey ?? message.event.id
    const before = lastOf.get(key)
    const sending = before === undefined ? send(message) : before.then(() => send(message))
    lastOf.set(key, sending)
    return sending
  })
  throwFirst(await Promise.allSettled(sent))
}

/** @throws what the first one has failed with */
export function throwFirst(outcomes: ReadonlyArray<PromiseSettledResult<unknown>>): void {
  const failed = outcomes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

/** Tells what was to be published, and what has become of it. */
export function notPublished(
  { event }: RelayMessage,
  broker: string,
  { why, cause, retryable = true }: { readonly why?: string; readonly cause?: unknown; readonly retryable?: boolean },
): PublishError {
  const reason = why ?? (cause instanceof Error ? cause.message : String(cause))
  return new PublishError(`Could not publish event ${event.id} to ${broker}: ${reason.replace(/\.?$/, '.')}`, {
    cause,
    retryable,
    messageId: event.id,
  })
}
