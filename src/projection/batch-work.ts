/** The work of one part of a projection: batches that move its position on, what becomes of events that fail, and what is published of that. */

import { type Channel, channel } from 'node:diagnostics_channel'
import type { DomainEvent } from '../domain/event.js'
import { DatastoreClosedError, LeaseLostError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import type {
  ProjectionBatch,
  ProjectionKey,
  ProjectionLease,
  ProjectionRecorder,
} from '../persistence/projection-recorder.js'
import type { Notification } from '../persistence/stored-event.js'
import { Alarm } from '../persistence/waiting.js'
import type { PositionedEvent } from './handlers.js'
import { ParkedKeys, partitionOf, reasonOf } from './parked-keys.js'
import type { OutsideWork, Projection } from './projection.js'
import type { ProjectionSource } from './source.js'

/** How batches are run, and how often an event that fails is tried. */
export interface BatchLimits {
  readonly leaseMs: number
  readonly maxEvents: number
  readonly maxMs: number
  readonly attempts: number
  readonly minMs: number
  readonly longestMs: number
}

/** What the work stands on. */
export interface BatchHost {
  readonly projection: Projection
  readonly key: ProjectionKey
  readonly recorder: ProjectionRecorder
  readonly source: ProjectionSource
  readonly limits: BatchLimits
  /** Whether to leave off between two batches. */
  mayGoOn(): Promise<boolean>
  /** Aborts when the runner stops, for work outside of transactions. */
  readonly signal?: AbortSignal
}

/** Why the work has left off: there is nothing left to do, somebody asked for it, or an event fails. */
export type Outcome = { readonly done: boolean } | { readonly failedAt: bigint; readonly error: unknown }

/** Counts of what was done. */
export interface BatchCounts {
  batches: number
  events: number
  retries: number
  parked: number
}

/** The longest that one batch may last. */
const deadlineMs = 30_000

/** After so many failures in a row, which together take some seconds, it is told. */
const failuresToTell = 5

const firstBackOffMs = 100
const longestBackOffMs = 30_000

/** Knows at which event the handlers are. */
interface HandlerWatch {
  /** The handlers begin with the first of these. */
  readonly begin: (events: readonly PositionedEvent[]) => void
  /** They have come to the next one. */
  readonly next: () => void
  readonly end: () => void
}

/** Moves one part on under one lease. */
export class BatchWork {
  /** Whether its projection is known to have come to the end of the log once. */
  isLive = false
  readonly counts: BatchCounts = { batches: 0, events: 0, retries: 0, parked: 0 }
  readonly #host: BatchHost
  readonly #epoch: bigint
  readonly #parked: ParkedKeys
  readonly #alarm = new Alarm()
  /** How many events a batch has at most. */
  readonly #most: number
  #position: bigint
  #size: number
  #failures = 0
  #attempts = 0
  #isWorking = false
  /** The event of which it was told that its handler takes too long. */
  #slowAt: bigint | undefined
  #renewedAt = performance.now()

  constructor(host: BatchHost, { position, epoch }: ProjectionLease) {
    this.#host = host
    this.#position = position
    this.#epoch = epoch
    this.#most = Math.min(host.limits.maxEvents, host.projection.reaction?.outside?.maxEvents ?? host.limits.maxEvents)
    this.#size = this.#most
    this.#parked = new ParkedKeys(host)
  }

  /** What was processed last. */
  get position(): bigint {
    return this.#position
  }

  get epoch(): bigint {
    return this.#epoch
  }

  /** Whether the lease runs out unless somebody renews it: a batch does that by itself. */
  get needsRenewal(): boolean {
    return !this.#isWorking && performance.now() - this.#renewedAt > this.#host.limits.leaseMs / 4
  }

  /** Tells that somebody has renewed the lease. */
  renewed(): void {
    this.#renewedAt = performance.now()
  }

  /** Ends the wait before the next attempt. */
  wake(): void {
    this.#alarm.ring()
  }

  /** Runs work in a transaction of its own that leaves the position where it is. */
  async runAt(position: bigint, work: (client: unknown) => Promise<void>): Promise<void> {
    const { key, recorder, limits } = this.#host
    const move = { epoch: this.#epoch, from: position, to: position, leaseMs: limits.leaseMs, deadlineMs }
    await recorder.batch(key, move, async ({ client }) => await work(client))
  }

  /**
   * Processes a page, in as many batches as it takes.
   *
   * @throws `LeaseLostError` where somebody else has the lease
   */
  async process(page: LogPage): Promise<Outcome> {
    while (this.#position < page.end) {
      if (!(await this.#host.mayGoOn())) return { done: false }
      const left = page.items.filter(({ id }) => id > this.#position)
      const items = left.slice(0, this.#size)
      const last = items.at(-1)
      const to = last === undefined || items.length === left.length ? page.end : last.id
      const outside = this.#host.projection.reaction?.outside
      try {
        if (outside === undefined) await this.#run(items, to)
        else await this.#runOutside(outside, items, to)
      } catch (error) {
        if (error instanceof LeaseLostError || error instanceof DatastoreClosedError) throw error
        const outcome = await this.#recover(error, items)
        if (outcome !== undefined) return outcome
      }
    }
    return { done: true }
  }

  async #run(items: readonly Notification[], to: bigint): Promise<void> {
    const { key, recorder, limits } = this.#host
    const from = this.#position
    const begun = performance.now()
    let reached = to
    let handled = 0
    this.#isWorking = true
    const watch = this.#watch()
    try {
      await recorder.batch(
        key,
        { epoch: this.#epoch, from, to, leaseMs: limits.leaseMs, deadlineMs },
        async (batch) => {
          const events = await this.#parked.withoutBlocked(await this.#read(items))
          handled = await this.#apply(events, performance.now() + limits.maxMs, { watch, batch })
          const next = events[handled]
          if (next === undefined) return
          reached = (events[handled - 1] ?? next).position ?? to
          await batch.stopAt(reached)
        },
      )
    } finally {
      watch.end()
      this.#isWorking = false
    }
    this.#moved(reached, { begun, from, handled })
  }

  /** Lets events be handled outside of any transaction, and moves the position when that has succeeded. */
  async #runOutside(outside: OutsideWork, items: readonly Notification[], to: bigint): Promise<void> {
    const { key, recorder, limits } = this.#host
    const from = this.#position
    const begun = performance.now()
    // A process that was stopped for so long would do what another one has done meanwhile.
    if (begun - this.#renewedAt > limits.leaseMs) throw leaseRanOut(key)
    const { free, waiting } = await this.#parked.sorted(await this.#read(items))
    const watch = this.#watch()
    watch.begin(free)
    try {
      if (free.length > 0) await handleOutside(this.#host, outside, free)
    } finally {
      watch.end()
    }
    let isChanged = false
    this.#isWorking = true
    try {
      await recorder.batch(key, { epoch: this.#epoch, from, to, leaseMs: limits.leaseMs, deadlineMs }, async () => {
        const left = await this.#parked.withoutBlocked(waiting.map(({ each }) => each))
        if (left.length === 0) return
        isChanged = true
        throw new Error('What it was to wait behind was taken back meanwhile')
      })
    } catch (error) {
      if (!isChanged) throw error
      return
    } finally {
      this.#isWorking = false
    }
    this.#moved(to, { begun, from, handled: free.length })
  }

  async #read(items: readonly Notification[]): Promise<PositionedEvent[]> {
    const { projection, key, source } = this.#host
    const events = await source.read(items)
    const positioned = events.map((event, index) => ({ event, position: items[index]?.id }))
    if (projection.partitions === 1) return positioned
    const isOurs = (event: DomainEvent): boolean =>
      partitionOf(projection.keyOf(event), projection.partitions) === key.partition
    return positioned.filter(({ event }) => isOurs(event))
  }

  async #apply(
    events: readonly PositionedEvent[],
    until: number,
    { watch, batch }: { readonly watch: HandlerWatch; readonly batch: ProjectionBatch },
  ): Promise<number> {
    if (events.length === 0) return 0
    const { projection, source } = this.#host
    watch.begin(events)
    // Asked after each event; `rows` folds all of them at once.
    const isOver = (): boolean => {
      watch.next()
      return performance.now() > until
    }
    return await projection.apply(events, { log: source.name, isOver, changeRows: batch.changeRows })
  }

  /** Tells of handlers that are not done when a batch has to be, for each event once: the batch fails then, and is tried again. */
  #watch(): HandlerWatch {
    let events: readonly PositionedEvent[] = []
    let handled = 0
    const timer = setTimeout(() => {
      const current = events[handled]
      if (current === undefined || current.position === this.#slowAt) return
      this.#slowAt = current.position
      this.#warnOfHandler(current, events.length - handled)
    }, deadlineMs)
    timer.unref()
    return {
      begin: (all) => {
        events = all
      },
      next: () => {
        handled += 1
      },
      end: () => clearTimeout(timer),
    }
  }

  #warnOfHandler({ event, position }: PositionedEvent, count: number): void {
    const { projection } = this.#host
    const isOutside = projection.reaction?.outside !== undefined
    const others = count > 1 && (projection.rows !== undefined || isOutside) ? `, or one of ${count - 1} after it,` : ''
    process.emitWarning(
      `The ${titleOf(projection)} has been at event ${position} (${event.topic})${others} for ${deadlineMs / 1000} seconds: its handler does not end. ` +
        (isOutside
          ? 'Nothing else of it is done until it does, and stop() waits for it. Give what the handler waits for a limit.'
          : 'The batch is undone, and tried again. Give what the handler waits for a limit.'),
      { code: 'ES_PROJECTION_SLOW' },
    )
  }

  #moved(position: bigint, { begun, from, handled }: { begun: number; from: bigint; handled: number }): void {
    this.#position = position
    this.#renewedAt = performance.now()
    this.#failures = 0
    this.#attempts = 0
    // After a failure batches are small: they grow again with each that succeeds.
    this.#size = Math.min(this.#most, this.#size * 2)
    this.counts.batches += 1
    this.counts.events += handled
    publish('batch', { ...this.#trace(), from, to: position, events: handled, durationMs: performance.now() - begun })
  }

  /** Waits for the next attempt, or makes it smaller. @returns undefined when there is to be one */
  async #recover(error: unknown, items: readonly Notification[]): Promise<Outcome | undefined> {
    const { limits, recorder, projection } = this.#host
    this.counts.retries += 1
    publish('retry', { ...this.#trace(), error, events: items.length })
    const [only] = items
    const mayPass = recorder.mayPass(error) || projection.reaction?.outside?.mayPass?.(error) === true
    if (mayPass || only === undefined) {
      this.#failures += 1
      if (this.#failures === failuresToTell) this.#warn(error)
      await this.#alarm.wait(backOffMs(this.#failures, firstBackOffMs, longestBackOffMs))
      return undefined
    }
    if (items.length > 1) {
      this.#size = Math.ceil(items.length / 2)
      return undefined
    }
    if (projection.onError === 'park') {
      // At once, so that other keys do not wait for its further attempts.
      await this.#park(only, error)
      return undefined
    }
    this.#attempts += 1
    if (this.#attempts >= limits.attempts) return { failedAt: only.id, error }
    await this.#alarm.wait(pauseBefore(this.#attempts, limits))
    return undefined
  }

  /** Puts an event aside, and moves the position past it. */
  async #park(notification: Notification, error: unknown): Promise<void> {
    const { key, recorder, limits } = this.#host
    const from = this.#position
    const move = { epoch: this.#epoch, from, to: notification.id, leaseMs: limits.leaseMs, deadlineMs }
    const parkedKey = await this.#keyOf(notification)
    await recorder.batch(key, move, async (_batch: ProjectionBatch) => {
      await this.#parked.add(notification.id, parkedKey, { attempts: 1, error })
    })
    this.counts.parked += 1
    this.#moved(notification.id, { begun: performance.now(), from, handled: 0 })
    publish('parked', { ...this.#trace(), position: notification.id, key: parkedKey, error })
  }

  async #keyOf(notification: Notification): Promise<string> {
    const { projection, source } = this.#host
    try {
      const [event] = await source.read([notification])
      return event === undefined ? notification.originatorId : projection.keyOf(event)
    } catch {
      // What cannot be read has no other key.
      return notification.originatorId
    }
  }

  #warn(error: unknown): void {
    process.emitWarning(
      `The ${titleOf(this.#host.projection)} fails again and again, and goes on trying. ${reasonOf(error)}`,
      { code: 'ES_PROJECTION_FAILED' },
    )
  }

  #trace(): { readonly projection: string; readonly version: number; readonly partition: number } {
    const { name, version, partition } = this.#host.key
    return { projection: name, version, partition }
  }
}

type OutsideHost = Pick<BatchHost, 'projection' | 'recorder' | 'source' | 'signal'>

/** Lets events be handled outside of any transaction. */
export async function handleOutside(
  { projection, recorder, source, signal = new AbortController().signal }: OutsideHost,
  outside: OutsideWork,
  events: readonly PositionedEvent[],
): Promise<void> {
  const handle = (): Promise<void> => outside.handle(events, source.name, signal)
  const attended = outside.isAttended === true ? recorder.attended?.bind(recorder) : undefined
  await (attended?.(`a handler of reaction ${projection.name}`, handle) ?? handle())
}

/** What a projection is called in messages. */
export function titleOf({ name, reaction }: Pick<Projection, 'name' | 'reaction'>): string {
  return `${reaction === undefined ? 'projection' : 'reaction'} ${name}`
}

function leaseRanOut({ name }: ProjectionKey): LeaseLostError {
  return new LeaseLostError(
    `Could not go on with reaction ${name}: this process was stopped for longer than its lease lasts, and another one may work on it.`,
  )
}

/** Milliseconds before an event is tried again that was tried so often. */
export function pauseBefore(attempts: number, { minMs, longestMs }: BatchLimits): number {
  return Math.min(longestMs, minMs * 2 ** (attempts - 1))
}

/** Longer each time, and by chance, so that those who failed together do not come back together. */
export function backOffMs(attempt: number, firstMs: number, longestMs: number): number {
  const ceiling = Math.min(longestMs, firstMs * 2 ** (attempt - 1))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}

/** What happened in a projection. */
export interface ProjectionTrace {
  readonly projection: string
  readonly version: number
  readonly partition: number
}

const channels: Readonly<Record<'batch' | 'retry' | 'blocked' | 'parked' | 'lease', Channel>> = {
  batch: channel('eventsourcing-prisma:projection.batch'),
  retry: channel('eventsourcing-prisma:projection.retry'),
  blocked: channel('eventsourcing-prisma:projection.blocked'),
  parked: channel('eventsourcing-prisma:projection.parked'),
  lease: channel('eventsourcing-prisma:projection.lease'),
}

/** Publishes, where anybody listens: `batch`, `retry`, `blocked`, `parked` or `lease`, with what belongs to it. */
export function publish(name: keyof typeof channels, trace: ProjectionTrace & Readonly<Record<string, unknown>>): void {
  if (channels[name].hasSubscribers) channels[name].publish(trace)
}
