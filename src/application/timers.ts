/** Timers of an application: what is to be done at some time, set and cleared with the events of a transaction. */
import { anything, checkOptions, type OptionTypesOf } from '../checked-options.js'
import { domainEvent } from '../domain/event.js'
import { isStorableText } from '../domain/names.js'
import { createTimestamp } from '../domain/timestamp.js'
import { ProgrammingError } from '../errors.js'
import type { Mapper } from '../persistence/mapper.js'
import type { PendingTimer, SelectTimersOptions, StoredTimer, TimerRecorder } from '../persistence/side-recorders.js'
import type { Metadata } from '../persistence/stored-event.js'
import { currentMetadata } from '../transaction/ambient-metadata.js'
import type { Infrastructure } from './infrastructure.js'

/** A timer that is to be set. */
export interface TimerOptions {
  /** 1 to 255 characters. Setting one with the id of another that has not been handled takes its place, with all that is said here. */
  readonly id: string
  /** When it is due, by the clock of the database. One in the past is due at once. */
  readonly at: Date
  /** What it is for: `onTimer(topic, …)` of a reaction takes it. 1 to 255 bytes. */
  readonly topic: string
  /** What its handler is given: anything that an event can hold; default undefined. It is encrypted where events are. */
  readonly data?: unknown
}

/** What a timer holds. */
export interface TimerContent {
  /** What was given as `data`. */
  readonly data: unknown
  /** The metadata around the code that has set it. */
  readonly metadata: Metadata | undefined
}

/** What runs timers is given: where they are kept, and what reads them. */
export interface TimerStore {
  /** Keeps the timers. */
  readonly recorder: TimerRecorder
  /** @throws `MapperError` when it cannot be read */
  readonly read: (timer: StoredTimer) => TimerContent
}

const optionTypes: OptionTypesOf<TimerOptions> = { id: anything, at: anything, topic: anything, data: anything }

/** The years that all databases have. */
const [firstTime, lastTime] = [Date.UTC(1970, 0, 1), Date.UTC(9999, 11, 31)]

/**
 * The timers of one application: `application.timers`. A reaction with `onTimer(topic, …)` handles them, in a `ProjectionRunner`.
 *
 * @example
 * await shop.timers.set({ id: `payment of ${order}`, at: new Date(Date.now() + 900_000), topic: 'payment is late', data: { order } })
 * await shop.timers.clear(`payment of ${order}`)
 */
export class Timers {
  readonly #infrastructure: Pick<Infrastructure<unknown>, 'eventStore' | 'timerRecorder' | 'watched'>

  /** @param infrastructure - of the application */
  constructor(infrastructure: Pick<Infrastructure<unknown>, 'eventStore' | 'timerRecorder' | 'watched'>) {
    this.#infrastructure = infrastructure
  }

  /**
   * Sets a timer, in the current transaction: it is there when that has committed. One with the same id that has not been handled yet is
   * replaced, with its time, topic and data; attempts begin anew.
   *
   * @throws `ProgrammingError` for an id, time or topic that cannot be; `DataError` for data that cannot be stored
   * @throws `NotSupportedError` where the application's store keeps no timers
   */
  set(timer: TimerOptions): Promise<void> {
    const metadata = currentMetadata()
    return this.#infrastructure.watched({ name: 'timers.set', owner: Timers.prototype }, async () => {
      checkTimer(timer)
      const { id, at, topic, data } = timer
      const { mapper } = await this.#infrastructure.eventStore()
      const state = stateOf(mapper, timer, { data, metadata })
      await this.#infrastructure.timerRecorder().setTimer({ id, topic, dueAt: new Date(at), state })
    })
  }

  /**
   * Clears a timer, in the current transaction: when that has committed it is never handled. One that is being handled at the moment is waited
   * for.
   *
   * @returns whether there was one that had not been handled
   */
  clear(id: string): Promise<boolean> {
    return this.#infrastructure.watched({ name: 'timers.clear', owner: Timers.prototype }, async () => {
      await this.#infrastructure.eventStore()
      return await this.#infrastructure.timerRecorder().clearTimer(id)
    })
  }

  /** The timers that have not been handled, those first that are due first; also those that were put aside, since their handler failed again and again. */
  async pending(options: SelectTimersOptions = {}): Promise<PendingTimer[]> {
    await this.#infrastructure.eventStore()
    return await this.#infrastructure.timerRecorder().selectTimers(options)
  }

  /** Lets timers that were put aside be tried again, now. @param id - of one; default all. @returns how many */
  async retry(id?: string): Promise<number> {
    await this.#infrastructure.eventStore()
    return await this.#infrastructure.timerRecorder().retryTimers(id === undefined ? {} : { id })
  }

  /** Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. `recorder.createTable()` does it, too. */
  async createTable(): Promise<void> {
    await this.#infrastructure.eventStore()
    await this.#infrastructure.timerRecorder().createTable()
  }

  /** For what runs them. */
  async store(): Promise<TimerStore> {
    const { mapper } = await this.#infrastructure.eventStore()
    return { recorder: this.#infrastructure.timerRecorder(), read: (timer) => contentOf(mapper, timer) }
  }
}

function checkTimer(timer: TimerOptions): void {
  checkOptions(() => `set the timer ${timer?.id}`, timer, optionTypes)
  const { id, at, topic } = timer
  if (!isName(id, 255)) throw cannot(id, 'its id is a text of 1 to 255 characters')
  if (!isName(topic, 255) || Buffer.byteLength(topic) > 255) throw cannot(id, 'its topic is a text of 1 to 255 bytes')
  const time = at instanceof Date ? at.getTime() : Number.NaN
  if (time >= firstTime && time <= lastTime) return
  throw cannot(id, '`at` is a Date between 1970 and 9999: new Date(Date.now() + 60_000)')
}

function isName(value: unknown, longest: number): boolean {
  return typeof value === 'string' && value.length > 0 && value.length <= longest && isStorableText(value)
}

/** Of an id that is too long, the message shows the beginning. */
const longestShown = 300

function cannot(id: unknown, why: string): ProgrammingError {
  return new ProgrammingError(`Could not set the timer ${JSON.stringify(id)?.slice(0, longestShown)}: ${why}.`)
}

/** As an event is written, so that it is compressed and encrypted as events are. */
function stateOf(mapper: Mapper, { id, topic }: TimerOptions, { data, metadata }: TimerContent): Uint8Array {
  const content = {
    ...(data === undefined ? {} : { data }),
    ...(metadata === undefined ? {} : { metadata }),
  }
  const timestamp = createTimestamp()
  return mapper.toStoredEvent(domainEvent({ originatorId: id, originatorVersion: 1, topic, timestamp, data: content }))
    .state
}

function contentOf(mapper: Mapper, { id, topic, state }: StoredTimer): TimerContent {
  const { data } = mapper.toDomainEvent({ originatorId: id, originatorVersion: 1, topic, state })
  const content = data as { readonly data?: unknown; readonly metadata?: Metadata } // as `stateOf` has written it
  return { data: content.data, metadata: content.metadata }
}
