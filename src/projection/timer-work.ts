/** Handles timers that are due: those of the reactions of one runner, beside all other runners that have the same. */

import { type Channel, channel } from 'node:diagnostics_channel'
import { following } from '../application/application-subscription.js'
import type { TimerStore } from '../application/timers.js'
import { DatastoreClosedError, MapperError } from '../errors.js'
import { type ProjectionRecorder, type RunnerWork, reactionVersion } from '../persistence/projection-recorder.js'
import type { DueTimer } from '../persistence/side-recorders.js'
import { Alarm } from '../persistence/waiting.js'
import { outsideOfEverything, outsideOfTransactions } from '../transaction/context.js'
import { type BatchLimits, backOffMs, pauseBefore } from './batch-work.js'
import type { TimerHandler } from './handlers.js'
import { reasonOf } from './parked-keys.js'
import type { Projection } from './projection.js'

/** What the work stands on. */
export interface TimerHost {
  readonly reactions: readonly Projection[]
  /** The name of the application whose timers they are. */
  readonly application: string
  readonly store: () => Promise<TimerStore>
  /** Tells which reactions are paused. */
  readonly recorder: ProjectionRecorder
  readonly limits: BatchLimits
}

/** What was done in this process, by topic. */
export interface TimerCounts {
  fired: number
  parked: number
}

/** A topic, with whose it is. */
interface Taken {
  readonly reaction: Projection
  readonly handler: TimerHandler
  readonly counts: TimerCounts
}

/** So often it looks whether others have set a timer: at most so late is one. Where others tell it of theirs, it need not hurry. */
const lookMs = 1_000
const lookIfToldMs = 5_000

/** While others have all that are due, it looks again after so long, and then after longer. */
const [firstRestMs, longestRestMs] = [10, 500]

/** So many are handled together at most. */
const greatestSize = 100

const [firstBackOffMs, longestBackOffMs] = [100, 30_000]

/** After so many failures in a row, which together take some seconds, it is told. */
const failuresToTell = 5

/** One for each runner with timers. */
export class TimerWork {
  readonly #host: TimerHost
  readonly #taken = new Map<string, Taken>()
  readonly #alarm = new Alarm()
  #running: Promise<void> | undefined
  #isStopping = false
  #size = 1
  #restMs = firstRestMs
  #failures = 0

  constructor(host: TimerHost) {
    this.#host = host
    for (const reaction of host.reactions) {
      const counts = { fired: 0, parked: 0 }
      for (const handler of reaction.reaction?.timers ?? [])
        this.#taken.set(handler.topic, { reaction, handler, counts })
    }
  }

  /** What it has done for one reaction. */
  countsOf(name: string): TimerCounts {
    const taken = [...this.#taken.values()].find(({ reaction }) => reaction.name === name)
    return taken?.counts ?? { fired: 0, parked: 0 }
  }

  /** Begins to look for timers, beside what else this process does; harmless when it does already. @param inWork - runs what it does */
  start(inWork: RunnerWork['run']): void {
    if (this.#running !== undefined || this.#taken.size === 0) return
    this.#isStopping = false
    this.#running = outsideOfEverything(() => inWork(async () => await this.#run()))
  }

  /** Ends after the timers that are being handled. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#alarm.ring()
    await this.#running
    this.#running = undefined
  }

  /** Lets it look again, now. */
  wake(): void {
    this.#alarm.ring()
  }

  /** Handles all that are due now, in this call. @throws what a handler throws: nothing is tried again */
  async runOnce(): Promise<void> {
    if (this.#taken.size === 0) return
    const store = await this.#host.store()
    for (;;) {
      const topics = await this.#wantedTopics()
      if (topics.length === 0 || ((await store.recorder.nextTimerInMs(topics)) ?? 1) > 0) return
      const outcome = await this.#handleSome(store, topics)
      if ('error' in outcome && outcome.timers.length <= 1) throw outcome.error
      if (!('error' in outcome) && outcome.timers.length === 0) return
    }
  }

  /** Lets those timers of a reaction be tried again that were put aside. */
  async retry(name: string): Promise<void> {
    const topics = [...this.#taken.values()].flatMap(({ reaction, handler }) =>
      reaction.name === name ? [handler.topic] : [],
    )
    if (topics.length === 0) return
    await (await this.#host.store()).recorder.retryTimers({ topics })
    this.wake()
  }

  async #run(): Promise<void> {
    let forget: (() => void) | undefined
    while (!this.#isStopping) {
      let restMs: number
      try {
        const store = await this.#host.store()
        forget ??= store.recorder.onSet(() => this.#alarm.ring())
        restMs = await this.#look(store)
        this.#failures = 0
      } catch (error) {
        if (error instanceof DatastoreClosedError) break
        this.#failures += 1
        if (this.#failures === failuresToTell) warnOfFailures(error)
        restMs = backOffMs(this.#failures, firstBackOffMs, longestBackOffMs)
      }
      if (restMs > 0 && !this.#isStopping) await this.#alarm.wait(restMs)
    }
    forget?.()
  }

  /** Handles some that are due. @returns after how many milliseconds to look again */
  async #look(store: TimerStore): Promise<number> {
    const { recorder } = store
    const nextInMs = await recorder.nextTimerInMs([...this.#taken.keys()])
    if (nextInMs === undefined || nextInMs > 0) {
      return Math.ceil(Math.min(nextInMs ?? lookIfToldMs, recorder.isTold ? lookIfToldMs : lookMs))
    }
    const topics = await this.#wantedTopics()
    if (topics.length === 0) return lookMs
    const outcome = await this.#handleSome(store, topics)
    if ('error' in outcome) {
      await this.#failed(store, outcome)
      return 0
    }
    if (outcome.timers.length === 0) {
      this.#restMs = Math.min(longestRestMs, this.#restMs * 2)
      return this.#restMs
    }
    this.#restMs = firstRestMs
    return 0
  }

  /** The topics of reactions that are not paused. */
  async #wantedTopics(): Promise<string[]> {
    const paused = new Set<string>()
    for (const name of new Set([...this.#taken.values()].map(({ reaction }) => reaction.name))) {
      if ((await this.#host.recorder.wanted(name, reactionVersion)) === 'paused') paused.add(name)
    }
    return [...this.#taken].flatMap(([topic, { reaction }]) => (paused.has(reaction.name) ? [] : [topic]))
  }

  async #handleSome(store: TimerStore, topics: readonly string[]): Promise<Handled> {
    const isOutside = (topic: string): boolean => this.#taken.get(topic)?.reaction.reaction?.outside !== undefined
    const [inside, outside] = [topics.filter((topic) => !isOutside(topic)), topics.filter(isOutside)]
    const together = inside.length === 0 ? nothing : await this.#fire(store, inside)
    if (together.timers.length > 0 || outside.length === 0) return together
    return await this.#handleOutside(store, outside)
  }

  /** Handles some in one transaction, in which they are deleted. */
  async #fire({ recorder, read }: TimerStore, topics: readonly string[]): Promise<Handled> {
    let timers: readonly DueTimer[] = []
    const begun = performance.now()
    try {
      await recorder.fireTimers(topics, this.#size, async (taken) => {
        timers = taken
        for (const timer of taken) await this.#handle(timer, read)
      })
    } catch (error) {
      // It has met the database, and no handler.
      if (timers.length === 0) throw error
      return { timers, error }
    }
    this.#handled(timers)
    const ms = performance.now() - begun
    if (ms > this.#host.limits.maxMs) this.#size = Math.max(1, Math.floor(this.#size / 2))
    else if (timers.length === this.#size) this.#size = Math.min(greatestSize, this.#size * 2)
    return { timers }
  }

  /** Handles one outside of transactions, at least once: it is deleted when that has succeeded. */
  async #handleOutside({ recorder, read }: TimerStore, topics: readonly string[]): Promise<Handled> {
    const { leaseMs } = this.#host.limits
    const timer = await recorder.reserveTimer(topics, leaseMs)
    if (timer === undefined) return nothing
    const renewal = setInterval(() => void recorder.extendTimer(timer, leaseMs).catch(() => false), leaseMs / 3)
    try {
      const title = `a handler of timers in reaction ${this.#taken.get(timer.topic)?.reaction.name ?? ''}`
      const handle = (): Promise<void> => outsideOfTransactions(() => this.#handle(timer, read))
      await (this.#host.recorder.attended?.(title, handle) ?? handle())
    } catch (error) {
      return { timers: [timer], error }
    } finally {
      clearInterval(renewal)
    }
    await recorder.finishTimer(timer)
    this.#handled([timer])
    return { timers: [timer] }
  }

  async #handle(timer: DueTimer, read: TimerStore['read']): Promise<void> {
    const handler = this.#taken.get(timer.topic)?.handler
    const { data, metadata } = read(timer)
    const { id, dueAt, topic } = timer
    const cause = { id: `${this.#host.application}/timer/${id}`, metadata }
    await following(cause, async () => void (await handler?.handle({ id, data, at: dueAt, topic })))
  }

  #handled(timers: readonly DueTimer[]): void {
    for (const { topic } of timers) {
      const taken = this.#taken.get(topic)
      if (taken !== undefined) taken.counts.fired += 1
    }
    if (timers.length > 0) publishTimer('fired', { application: this.#host.application, timers: timers.length })
  }

  /** Tries fewer together; one that fails alone is postponed, more and more, and put aside in the end. It never holds others up. */
  async #failed({ recorder }: TimerStore, { timers, error }: Failed): Promise<void> {
    const [timer] = timers
    if (timers.length !== 1 || timer === undefined) {
      this.#size = Math.max(1, Math.floor(timers.length / 2))
      return
    }
    const { limits, application } = this.#host
    const trace = { application, id: timer.id, topic: timer.topic, error }
    if (recorder.mayPass(error)) {
      publishTimer('retry', trace)
      const delayMs = backOffMs(1, firstBackOffMs, longestBackOffMs)
      return await recorder.failTimer(timer, { attempts: timer.attempts, delayMs, error: reasonOf(error) })
    }
    const attempts = timer.attempts + 1
    const isParked = attempts >= limits.attempts || error instanceof MapperError
    const delayMs = isParked ? undefined : pauseBefore(attempts, limits)
    await recorder.failTimer(timer, { attempts, delayMs, error: reasonOf(error) })
    publishTimer(isParked ? 'parked' : 'retry', trace)
    if (isParked) this.#park(timer, error)
  }

  #park({ id, topic }: DueTimer, error: unknown): void {
    const taken = this.#taken.get(topic)
    if (taken !== undefined) taken.counts.parked += 1
    process.emitWarning(
      `The timer ${id} ('${topic}') of ${this.#host.application} was put aside: the reaction ${taken?.reaction.name} has failed on it again and ` +
        `again. ${reasonOf(error)} The others go on. Mend the handler, then application.timers.retry() or runner.retry('${taken?.reaction.name}').`,
      { code: 'ES_TIMER_PARKED' },
    )
  }
}

/** What came of some timers. */
type Handled = { readonly timers: readonly DueTimer[] } | Failed

interface Failed {
  readonly timers: readonly DueTimer[]
  readonly error: unknown
}

const nothing: { readonly timers: readonly DueTimer[] } = { timers: [] }

function warnOfFailures(error: unknown): void {
  process.emitWarning(`A runner cannot look for timers that are due, and goes on trying. ${reasonOf(error)}`, {
    code: 'ES_PROJECTION_FAILED',
  })
}

const timerChannels: Readonly<Record<'fired' | 'retry' | 'parked', Channel>> = {
  fired: channel('eventsourcing-prisma:timer.fired'),
  retry: channel('eventsourcing-prisma:timer.retry'),
  parked: channel('eventsourcing-prisma:timer.parked'),
}

/** Publishes, where anybody listens: `fired` with how many, `retry` and `parked` with one. */
function publishTimer(name: keyof typeof timerChannels, trace: Readonly<Record<string, unknown>>): void {
  if (timerChannels[name].hasSubscribers) timerChannels[name].publish(trace)
}
