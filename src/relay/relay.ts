/** Publishes the events of a log to a broker: the log is the outbox, a position says what is out. With the port to brokers. */

import { randomBytes } from 'node:crypto'
import { callable, checkOptions, having, milliseconds, type OptionTypesOf, oneOf, text } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { ProgrammingError, PublishError } from '../errors.js'
import type { Recording } from '../persistence/event-store.js'
import { type ProjectionRecorder, type ProjectionRow, reactionVersion } from '../persistence/projection-recorder.js'
import type { WaitOptions } from '../persistence/recorder.js'
import { ProjectionRunner } from '../projection/projection-runner.js'
import { definePageReaction, type PagedEvent } from '../projection/reaction.js'
import { type ProjectionDatastore, type ProjectionProgress, recorderOf } from '../projection/runner-options.js'
import type { ProjectedApplication } from '../projection/source.js'
import { type CloudEvent, cloudEventOf, type MappedEvent } from './cloud-event.js'

/** An event as `map` is given it: as it was stored, which `readEvent` brings into its present shape. */
export type RelayEvent = DomainEvent & {
  /** Its position in the log. */
  readonly position: bigint | undefined
  /** The id of its message, such as `TrainingSchool/4711`. */
  readonly id: string
}

/** Makes of an event what its message carries; undefined for one that is not published. */
export type MapEvent = (event: RelayEvent) => MappedEvent | undefined | PromiseLike<MappedEvent | undefined>

/** How a relay is set up. */
export interface RelayOptions {
  /** By it its position is kept: 1 to 100 letters, digits, `_`, `-` and `.`. */
  readonly name: string
  /** The application whose log is published. */
  readonly application: ProjectedApplication
  /** The database with its position; default, for an application in memory: in memory. */
  readonly datastore?: ProjectionDatastore
  /** Where to: what `jetStream`, `rabbitMQ` or `kafka` give, or a `Broker` of your own. */
  readonly to: Broker
  /** Says what of an event leaves the application: events are decrypted here, so there is no default. */
  readonly map: MapEvent
  /** How long a relay that does not answer keeps others from its work; from 1,000, default 15,000. */
  readonly leaseMs?: number
  /** The `source` of its messages, a URI reference; default the name of the application. */
  readonly source?: string
  /** Where it begins when nobody has run it yet: `start`, the default, with the first event of the log; `now`, behind what is stored then. */
  readonly from?: 'start' | 'now'
  /** How often an event is tried that `map` fails on, and after how many milliseconds: at first, then twice as long. */
  readonly poison?: {
    /** Default 5. */
    readonly attempts?: number
    /** Default 1,000. */
    readonly minMs?: number
    /** Default 60,000. */
    readonly maxMs?: number
  }
  /** How many events are under way at once, at most; default 500. */
  readonly maxEvents?: number
}

const optionTypes: OptionTypesOf<RelayOptions> = {
  name: text,
  application: having('subscribe', 'the application whose log is published'),
  datastore: having('infrastructureFactory', 'the PrismaDatastore of the application'),
  to: having('publish', 'a broker, as jetStream(…), rabbitMQ(…) and kafka(…) give one'),
  map: callable,
  leaseMs: milliseconds,
  source: text,
  from: oneOf('start', 'now'),
  poison: { says: 'an object of attempts, minMs and maxMs', fits: (value) => typeof value === 'object' },
  maxEvents: { says: 'a whole number from 1', fits: (value) => Number.isSafeInteger(value) && Number(value) >= 1 },
}

/** How a relay is doing in this process. */
export interface RelayStats extends ProjectionProgress {
  /** How many messages the broker has confirmed to this process. */
  readonly published: number
  /** Why the broker does not take messages now; undefined where it does. */
  readonly failure: string | undefined
}

/** When it is told to stop, what is under way has so long to be confirmed. */
const stopGraceMs = 2_000

/**
 * Publishes what an application stores to a broker, each event at least once, those of one originator in order. It reads a page of the
 * log, publishes it, awaits every confirmation, and then moves its position: what was under way when a process dies is sent again by the
 * next one. Of several relays with one name, in any number of processes, one works.
 *
 * While the broker is away it tries again, after 0.1 s at first and 30 s in the end, and holds one page in memory. An event that `map` fails on
 * blocks it, as an event blocks a projection.
 *
 * @example
 * const relay = new Relay({
 *   name: 'dogs', application: school, datastore, to: jetStream(js, { subject: 'dogs' }),
 *   map: (event) => event.topic === 'Dog.Registered' ? { data: { name: event.data.name } } : undefined,
 * })
 * await relay.start()
 */
export class Relay {
  /** Its name. */
  readonly name: string
  /** What runs it: for `npx eventsourcing-prisma projections run`, which takes a module that exports a relay. */
  readonly runner: ProjectionRunner
  readonly #options: RelayOptions
  readonly #recorder: ProjectionRecorder
  #published = 0
  #failure: string | undefined
  #isToldOfFailure = false
  /** What is sent a second time on purpose, under ids that the broker has not had. */
  #again: { readonly token: string; last: bigint } | undefined

  /**
   * Nothing is read or written here.
   *
   * @throws `ProgrammingError` without a name, an application, a broker or a `map`, and for options that cannot be
   * @throws `NotSupportedError` where the datastore keeps no positions
   */
  constructor(options: RelayOptions) {
    checkOptions('make a relay', options, optionTypes)
    for (const name of ['name', 'application', 'to', 'map'] as const) {
      if (options[name] !== undefined) continue
      const hint = name === 'map' ? ' It says what of an event leaves the application, which is read decrypted.' : ''
      throw new ProgrammingError(
        `Could not make a relay without ${name}: new Relay({ name, application, datastore, to, map }).${hint}`,
      )
    }
    const { name, application, datastore, from = 'start', maxEvents = 500, leaseMs, poison } = options
    this.#options = options
    this.name = name
    const reaction = definePageReaction({
      name,
      from,
      maxEvents,
      mayPass: (error) => error instanceof PublishError && error.retryable,
      handlePage: async (events, signal) => await this.#publish(events, signal),
    })
    const place = { application, projections: [reaction], ...(datastore === undefined ? {} : { datastore }) }
    this.#recorder = recorderOf(place)
    this.runner = new ProjectionRunner({
      ...place,
      batch: { maxEvents },
      ...(leaseMs === undefined ? {} : { leaseMs }),
      ...(poison === undefined ? {} : { poison }),
    })
  }

  /** Makes the tables as the Prisma schema has them, for tests and scripts; harmless where they exist. */
  async createTable(): Promise<void> {
    await this.runner.createTable()
  }

  /** Begins to publish, beside what else this process does; harmless when it does already. */
  async start(): Promise<void> {
    await this.runner.start()
  }

  /** Ends what is under way, within two seconds, and gives the lease up, so that others take over at once. */
  async stop(): Promise<void> {
    await this.runner.stop()
  }

  /** The same as `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /** Publishes what the log has now, in this call, for tests and jobs. @throws as `ProjectionRunner.runOnce` does */
  async runOnce(): Promise<void> {
    await this.runner.runOnce()
  }

  /** Waits until what was recorded up to a position is published, in whatever process. @throws as `ProjectionRunner.wait` does */
  async wait(position: bigint | null | readonly Recording[], options?: WaitOptions): Promise<void> {
    await this.runner.wait(this.name, position, options)
  }

  /** Lets it rest, in all processes, within a second; it keeps its position. */
  async pause(): Promise<void> {
    await this.runner.pause(this.name)
  }

  /** Lets it go on that was paused. */
  async resume(): Promise<void> {
    await this.runner.resume(this.name)
  }

  /** Lets it try the event again that blocks it. */
  async retry(): Promise<void> {
    await this.runner.retry(this.name)
  }

  /**
   * Publishes again what is behind a position, in whatever process. The messages have the ids that they had, so that an inbox passes over them;
   * JetStream stores them, under a `Nats-Msg-Id` of their own.
   *
   * @param position - where it goes on behind; 0 for the beginning of the log
   * @returns how far it had come
   * @throws `ProgrammingError` where it has never run, and for a position beyond where it is
   */
  async rewind(position: bigint): Promise<bigint> {
    return await this.runner.rewind(this.name, position)
  }

  /** How it is doing. */
  get stats(): RelayStats {
    const progress = this.runner.stats[this.name]
    if (progress === undefined) throw new ProgrammingError(`The relay ${this.name} has no runner.`)
    return { ...progress, published: this.#published, failure: this.#failure }
  }

  /** Whether it is not blocked, and the broker takes its messages, as far as this process knows. */
  healthy(): boolean {
    return this.#failure === undefined && this.runner.healthy()
  }

  async #publish(events: readonly PagedEvent[], signal: AbortSignal): Promise<void> {
    const [first] = events
    if (first === undefined) return
    const row = await this.#row()
    const messages = await this.#messagesOf(events, this.#tokenFor(first, row), row?.target)
    const [firstMessage] = messages
    if (firstMessage !== undefined) {
      try {
        await unlessStopped(this.#options.to.publish(messages), signal)
      } catch (error) {
        const failure = asPublishError(error, firstMessage, this.#options.to)
        if (!signal.aborted) await this.#failed(failure)
        throw failure
      }
    }
    this.#published += messages.length
    if (this.#again !== undefined) this.#again.last = events.at(-1)?.position ?? this.#again.last
    if (firstMessage !== undefined) await this.#succeeded(row)
  }

  async #messagesOf(
    events: readonly PagedEvent[],
    token: string | undefined,
    target: bigint | undefined = 0n,
  ): Promise<RelayMessage[]> {
    const { map, source } = this.#options
    const messages: RelayMessage[] = []
    for (const event of events) {
      const position = event.position ?? 0n // only inline projections have events without one
      try {
        const mapped = await map(event)
        if (mapped === undefined) continue
        const sent = cloudEventOf({ event, position, application: this.runner.upstream, source }, mapped)
        const isAgain = token !== undefined && position <= target
        messages.push({ event: sent, deduplicationId: isAgain ? `${sent.id}~${token}` : sent.id })
      } catch (cause) {
        const reason = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
        throw new ProgrammingError(
          `Could not make a message of event ${event.id} (${event.topic}): map has failed with ${reason}`,
          { cause },
        )
      }
    }
    return messages
  }

  /** What is sent again after a rewind has the same ids for a page that is tried again, and others after the next rewind. */
  #tokenFor({ position = 0n }: PagedEvent, row: ProjectionRow | undefined): string | undefined {
    if (position > (row?.target ?? 0n)) {
      this.#again = undefined
      return undefined
    }
    if (this.#again === undefined || position <= this.#again.last) {
      this.#again = { token: randomBytes(4).toString('hex'), last: 0n }
    }
    return this.#again.token
  }

  async #row(): Promise<ProjectionRow | undefined> {
    const rows = await this.#recorder.rows()
    return rows.find(({ name, version }) => name === this.name && version === reactionVersion)
  }

  /** Who looks at the tables is to see why nothing moves. */
  async #failed(failure: Error): Promise<void> {
    const isNew = this.#failure !== failure.message
    this.#failure = failure.message
    if (!isNew) return
    this.#isToldOfFailure = true
    // What matters is the failure: where the database is away as well, nobody could look.
    await this.#recorder.change(this.name, reactionVersion, { reason: failure.message }).catch(() => undefined)
  }

  async #succeeded(row: ProjectionRow | undefined): Promise<void> {
    this.#failure = undefined
    // Somebody else may have left it.
    if (!this.#isToldOfFailure && (row?.reason === undefined || row.status === 'blocked')) return
    this.#isToldOfFailure = false
    await this.#recorder.change(this.name, reactionVersion, { reason: null })
  }
}

/** What is at fault itself, such as data that JSON cannot write, stays what it is; anything else that a broker throws may pass. */
function asPublishError(error: unknown, first: RelayMessage, { name }: Broker): Error {
  if (error instanceof PublishError || error instanceof TypeError) return error
  return notPublished(first, name, { cause: error })
}

/** What is under way when it stops may still arrive: the next one sends it again. */
async function unlessStopped(publishing: Promise<void>, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let onAbort: (() => void) | undefined
  const stopped = new Promise<never>((_resolve, reject) => {
    onAbort = () => {
      timer = setTimeout(() => reject(new Error('the relay was stopped before it was confirmed')), stopGraceMs)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
  try {
    await Promise.race([publishing, stopped])
  } finally {
    clearTimeout(timer)
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort)
    // Who has stopped waiting for it does not ask how it ends.
    publishing.catch(() => undefined)
  }
}

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
