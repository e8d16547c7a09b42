/** Follows a log: its history in pages, then what is recorded from now on. */
import { OperationalError, ProgrammingError } from '../errors.js'
import { PageSize } from './page-size.js'
import type { ApplicationRecorder, SubscribeOptions, Subscription } from './recorder.js'
import { Rest } from './rest.js'
import type { Notification } from './stored-event.js'

/** What a subscription needs of a log. */
export interface FollowedLog extends Pick<ApplicationRecorder, 'selectNotifications' | 'maxNotificationId'> {
  /** Calls the listener soon after something was recorded, perhaps more often, perhaps not at all. @returns what ends that */
  onRecorded(listener: () => void): () => void
  /** Whether nothing can be read any more. Who follows the log is woken when that begins. */
  readonly isClosed: boolean
  /** Whether reading again may succeed after this error. */
  mayPass(error: unknown): boolean
}

/** What was read. */
interface Page {
  readonly items: readonly Notification[]
  /** Where the next one begins. */
  readonly end: bigint | null
}

/** Pages begin small, since nothing is known of the states, and grow. */
const firstPage = 10
const greatestPage = 500

/** A read that has no answer by then counts as failed: the connection may be dead without anybody having said so. */
const readTimeoutMs = 30_000

/** For so long failures that may pass are tried again. */
const longestOutageMs = 60_000

/**
 * The subscription to one log. It reads a page when its consumer has taken all of the last one, never ahead.
 *
 * Where nobody tells it of new events, it asks for them: 10 ms after the last event, then after twice the time before,
 * up to once a second.
 */
export class LogSubscription implements Subscription<Notification> {
  readonly #log: FollowedLog
  readonly #topics: readonly string[]
  readonly #signal: AbortSignal | undefined
  readonly #pageSize = new PageSize(firstPage, greatestPage)
  readonly #rest = new Rest()
  #position: bigint | null
  #failingSince: number | undefined
  #reading: Promise<unknown> | undefined
  #isIterated = false
  #isStopped = false

  constructor(log: FollowedLog, options: SubscribeOptions = {}) {
    this.#log = log
    this.#topics = options.topics ?? []
    this.#signal = options.signal
    this.#position = options.gt ?? null
  }

  [Symbol.asyncIterator](): AsyncIterator<Notification, undefined> {
    if (this.#isIterated) {
      throw new ProgrammingError(
        'Could not iterate over a subscription a second time: subscribe again, after the last notification that was processed.',
      )
    }
    this.#isIterated = true
    const follow = this.#follow()
    return {
      next: async () => await follow.next(),
      // A generator would end only after the next notification, for which it may wait for ever.
      return: async () => {
        this.stop()
        return await follow.return(undefined)
      },
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#rest.wake()
  }

  /** Ends the iteration, and waits for the read under way, so that the database can be closed after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    // Whoever iterates is told of its failure.
    await this.#reading?.catch(ignore)
  }

  async *#follow(): AsyncGenerator<Notification, undefined> {
    const stop = (): void => this.stop()
    if (this.#signal?.aborted === true) stop()
    this.#signal?.addEventListener('abort', stop, { once: true })
    const endWakeUps = this.#log.onRecorded(() => this.#rest.wake())
    try {
      while (!this.#isStopped && !this.#log.isClosed) {
        const page = await this.#nextPage()
        for (const notification of page) {
          if (this.#isStopped) return
          yield notification
        }
        if (page.length === 0 && !this.#isStopped) await this.#rest.take()
        else this.#rest.shorten()
      }
    } finally {
      stop()
      endWakeUps()
      this.#signal?.removeEventListener('abort', stop)
    }
  }

  /** @returns an empty page when there is nothing new, or the database cannot tell at the moment */
  async #nextPage(): Promise<readonly Notification[]> {
    const reading = this.#topics.length === 0 ? this.#read() : this.#readTopics()
    this.#reading = reading
    try {
      const { items, end } = await withinTime(reading)
      // Only here: a read that was given up may still come to an end.
      this.#position = end
      this.#failingSince = undefined
      return items
    } catch (error) {
      if (!this.#isStopped && !this.#log.isClosed && !this.#canWait(error)) throw error
      return []
    } finally {
      this.#reading = undefined
    }
  }

  async #read(): Promise<Page> {
    const items = await this.#select({})
    return { items, end: items.at(-1)?.id ?? this.#position }
  }

  /** Events of other topics are passed over for good, so that they are not read again and again. */
  async #readTopics(): Promise<Page> {
    const stop = await this.#log.maxNotificationId()
    if (stop === null || stop <= (this.#position ?? 0n)) return { items: [], end: this.#position }
    const { limit } = this.#pageSize
    const items = await this.#select({ stop, topics: this.#topics })
    return { items, end: items.length < limit ? stop : (items.at(-1)?.id ?? stop) }
  }

  async #select(options: { readonly stop?: bigint; readonly topics?: readonly string[] }): Promise<Notification[]> {
    const items = await this.#log.selectNotifications(this.#position, this.#pageSize.limit, {
      ...options,
      inclusiveOfStart: false,
    })
    this.#pageSize.adapt(items)
    return items
  }

  #canWait(error: unknown): boolean {
    if (!this.#log.mayPass(error)) return false
    const now = Date.now()
    if (this.#failingSince === undefined) {
      this.#failingSince = now
      const reason = error instanceof Error ? error.message : String(error)
      process.emitWarning(
        `A subscription cannot read its log and tries again, for ${longestOutageMs / 1000} seconds. ${reason}`,
        { code: 'ES_SUBSCRIPTION_WAITS' },
      )
    }
    return now - this.#failingSince < longestOutageMs
  }
}

async function withinTime<T>(read: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(
        new OperationalError(`Could not read the log: there was no answer within ${readTimeoutMs / 1000} seconds.`, {
          retryable: true,
        }),
      )
    }, readTimeoutMs)
  })
  try {
    return await Promise.race([read, timeout])
  } finally {
    clearTimeout(timer)
  }
}

function ignore(): void {}
