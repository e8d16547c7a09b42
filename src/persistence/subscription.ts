/** Follows a log: its history in pages, then what is recorded from now on. */
import { BeyondLogEndError, ProgrammingError } from '../errors.js'
import { endBefore, type LogPage, Patience, readPage, withinTime } from './followed-log.js'
import type { LogTail } from './log-tail.js'
import { logPosition, type SubscribeOptions, type Subscription, type SubscriptionPage } from './recorder.js'
import { type Notification, PageSize } from './stored-event.js'
import { Rest } from './waiting.js'

/** Pages begin small, since nothing is known of the states, and grow. */
const firstPage = 10
const greatestPage = 500

/**
 * The subscription to one log. It reads a page of the history when its consumer has taken all of the last one, never ahead; where
 * it has come to the end of the log, it shares the reads with all who follow the log there.
 */
export class LogSubscription implements Subscription<Notification> {
  readonly #open: () => LogTail
  readonly #signal: AbortSignal | undefined
  readonly #throwsBeyondEnd: boolean
  readonly #pageSize = new PageSize(firstPage, greatestPage)
  readonly #rest = new Rest()
  readonly #follower: { readonly topics: ReadonlySet<string> | undefined; wantsEnds: boolean }
  readonly #tags: readonly string[]
  #position: bigint
  #tail: LogTail | undefined
  #reading: Promise<unknown> | undefined
  #isIterated = false
  #isStopped = false
  #isCutOff = false

  /**
   * @param open - gives the log's end, which those share who follow the log; called when the iteration begins
   * @throws `TypeError` when `gt` is no position
   */
  constructor(open: () => LogTail, options: SubscribeOptions = {}) {
    const { topics = [], tags = [], signal } = options
    this.#open = open
    this.#tags = tags
    this.#follower = { topics: topics.length === 0 ? undefined : new Set(topics), wantsEnds: false }
    this.#signal = signal
    this.#throwsBeyondEnd = options.onBeyondEnd === 'throw'
    const position = logPosition(options.gt, 'gt') ?? 0n
    this.#position = position < 0n ? 0n : position
  }

  [Symbol.asyncIterator](): AsyncIterator<Notification, undefined> {
    return this.#iterate(this.#items())
  }

  pages({ ends = true }: { readonly ends?: boolean } = {}): AsyncIterable<SubscriptionPage<Notification>> {
    return { [Symbol.asyncIterator]: () => this.#iterate(this.#follow(ends)) }
  }

  stop(): void {
    this.#isStopped = true
    this.#rest.wake()
    this.#tail?.release(this.#follower)
  }

  /** Ends the iteration, and waits for the read under way, so that the database can be closed after it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    // Whoever iterates is told of its failure.
    await this.#reading?.catch(ignore)
    await this.#tail?.idle()
  }

  #iterate<Item>(follow: AsyncGenerator<Item, undefined>): AsyncIterator<Item, undefined> {
    if (this.#isIterated) {
      throw new ProgrammingError(
        'Could not iterate over a subscription a second time: subscribe again, after the last notification that was processed.',
      )
    }
    this.#isIterated = true
    return {
      next: async () => await follow.next(),
      // A generator would end only after the next notification, for which it may wait for ever.
      return: async () => {
        this.stop()
        return await follow.return(undefined)
      },
    }
  }

  async *#items(): AsyncGenerator<Notification, undefined> {
    for await (const { items } of this.#follow(false)) {
      for (const notification of items) {
        if (this.#isStopped) return
        yield notification
      }
    }
  }

  async *#follow(wantsEnds: boolean): AsyncGenerator<LogPage, undefined> {
    const stop = (): void => this.stop()
    if (this.#signal?.aborted === true) stop()
    this.#signal?.addEventListener('abort', stop, { once: true })
    const tail = this.#open()
    this.#tail = tail
    this.#follower.wantsEnds = wantsEnds
    const detach = tail.attach(this.#follower)
    const patience = new Patience(tail.log)
    try {
      while (!this.#isStopped && !tail.log.isClosed) {
        const isReached = tail.reaches(this.#position)
        const shared = isReached ? await tail.next(this.#follower, this.#position) : undefined
        const page = this.#isWhole(shared) ? shared : await this.#fromHistory(tail, patience, isReached, shared)
        if (this.#isStopped) return
        if (page !== undefined && page.end > this.#position) {
          this.#position = page.end
          yield page
        } else if (isReached) await this.#rest.take()
      }
    } finally {
      stop()
      detach()
      this.#signal?.removeEventListener('abort', stop)
    }
  }

  /** What is shared has the topics; which events have certain tags only the log tells. */
  #isWhole(shared: LogPage | undefined): shared is LogPage {
    return shared !== undefined && (this.#tags.length === 0 || shared.items.length === 0)
  }

  /** @throws `BeyondLogEndError` where it is, and that was asked for */
  async #isBeyondEnd({ log }: LogTail): Promise<boolean> {
    const last = await withinTime(endBefore(log, this.#position))
    if (last === undefined) {
      this.#isCutOff = false
      return false
    }
    const message =
      `A subscription has read up to position ${this.#position}, and its log ends at ${last}: the log was restored or emptied, or this is ` +
      `a position of another one. Events up to ${this.#position} would be passed over: subscribe again after the last position that both have, ` +
      'and set tracked positions back to it.'
    if (this.#throwsBeyondEnd) throw new BeyondLogEndError(message, { position: this.#position, end: last })
    if (!this.#isCutOff) process.emitWarning(message, { code: 'ES_BEYOND_LOG_END' })
    this.#isCutOff = true
    return true
  }

  /**
   * @param isReached - whether the end of the log should have had it, and has not
   * @param shared - a page that the end of the log has, of which the tags are still to be asked for
   * @returns undefined when there is nothing new, or the database cannot tell at the moment
   */
  async #fromHistory(
    tail: LogTail,
    patience: Patience,
    isReached: boolean,
    shared?: LogPage,
  ): Promise<LogPage | undefined> {
    if (this.#isStopped || tail.log.isClosed) return undefined
    const limit = shared?.items.length ?? this.#pageSize.limit
    const upTo = shared === undefined ? {} : { stop: shared.end }
    const range = { after: this.#position, limit, topics: this.#follower.topics, tags: this.#tags, ...upTo }
    const reading = tail.history(async () => {
      // Another one may have come to the end of the log while this one waited for its turn.
      if (this.#isStopped || (!isReached && tail.reaches(this.#position))) return undefined
      return await withinTime(readPage(tail.log, range))
    })
    this.#reading = reading
    try {
      const page = await reading
      if (page === undefined) return undefined
      patience.renew()
      this.#rest.shorten()
      this.#pageSize.adapt(page.items)
      if (page.end === this.#position && (await this.#isBeyondEnd(tail))) {
        await this.#rest.take()
        return undefined
      }
      if (page.items.length < limit) tail.beginAt(page.end)
      return page
    } catch (error) {
      if (!this.#isStopped && !tail.log.isClosed && !patience.lasts(error)) throw error
      if (!this.#isStopped) await this.#rest.take()
      return undefined
    } finally {
      this.#reading = undefined
    }
  }
}

function ignore(): void {}
