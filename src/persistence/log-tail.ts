/** The end of a log, read once for all in this process who follow it there. */
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { type FollowedLog, type LogPage, Patience, readPage, withinTime } from './followed-log.js'
import { PageSize } from './stored-event.js'
import { Rest } from './waiting.js'

/** One who follows a log. */
export interface Follower {
  /** Undefined for all. */
  readonly topics: ReadonlySet<string> | undefined
  /** Whether it is told of a page without anything for it, for the sake of its end. */
  readonly wantsEnds: boolean
}

interface Wait {
  after: bigint
  readonly resolve: (page: LogPage | undefined) => void
  readonly reject: (error: unknown) => void
}

/** A page as it was read, for those who come for it a little later. */
interface KeptPage extends LogPage {
  readonly after: bigint
  readonly isFull: boolean
  readonly topics: ReadonlySet<string> | undefined
}

const firstPage = 10
const greatestPage = 500

/** Who is further behind than these reads for itself. */
const keptItems = 1_000
const keptPages = 50
const keptBytes = 8 * 1024 * 1024

/** So many are told of a page before other work has its turn. */
const toldAtOnce = 8

/** For so long they are told, turn after turn; then other work has its time, so that hundreds of them cannot hold it up. */
const longestTellingMs = 0.25
const betweenTurnsMs = 2

/** For so long at least it reads nothing after a page that was not full, and longer where many are told of each page. */
const leastBetweenReadsMs = 2
const mostBetweenReadsMs = 25
const followersPerMs = 15

/** How often, at most, one looks whether the log still has what was read. */
const betweenComparisonsMs = 5_000

/** So many histories are read at the same time, lest those who begin to follow take all connections. */
const historiesAtOnce = 2

/**
 * Reads on while somebody waits, never ahead, and gives each page to all who wait. Where nobody tells it of new events, it asks
 * for them: 10 ms after the last event, then after twice the time before, up to 1.25 seconds: with what
 * keeps leases in force, a process that runs projections sends no more than a statement a second.
 */
export class LogTail {
  readonly log: FollowedLog
  readonly #onUnused: () => void
  readonly #followers = new Set<Follower>()
  readonly #waits = new Map<Follower, Wait>()
  readonly #histories: Array<() => void> = []
  #historiesRunning = 0
  readonly #rest: Rest
  readonly #patience: Patience
  readonly #pageSize = new PageSize(firstPage, greatestPage)
  #kept: KeptPage[] = []
  /** Where the next page begins; undefined while nobody has come to the log's end. */
  #end: bigint | undefined
  #comparedAt = 0
  #isCutOff = false
  #running: Promise<void> | undefined
  #endWakeUps: (() => void) | undefined
  /** Whether there may well be something new. */
  #isTold = true

  /** @param onUnused - called when nobody follows the log any more */
  constructor(log: FollowedLog, onUnused: () => void = () => undefined) {
    this.log = log
    this.#onUnused = onUnused
    this.#rest = new Rest(log.longestRestMs)
    this.#patience = new Patience(log)
  }

  /** Lets somebody follow the log. @returns what ends that */
  attach(follower: Follower): () => void {
    this.#followers.add(follower)
    this.#endWakeUps ??= this.log.onRecorded(() => this.#rest.wake())
    return () => {
      this.#followers.delete(follower)
      if (this.#followers.size === 0) this.#forget()
    }
  }

  /** Whether what comes after a position can be had from here. */
  reaches(position: bigint): boolean {
    return this.#end !== undefined && position >= (this.#kept[0]?.after ?? this.#end)
  }

  /** Tells that somebody has read up to what was the log's end just now. */
  beginAt(position: bigint): void {
    this.#end ??= position
  }

  /** Reads what is not kept here, when it is its turn. */
  async history<T>(read: () => Promise<T>): Promise<T> {
    if (this.#historiesRunning >= historiesAtOnce) await new Promise<void>((resolve) => this.#histories.push(resolve))
    else this.#historiesRunning += 1
    try {
      return await read()
    } finally {
      const next = this.#histories.shift()
      if (next === undefined) this.#historiesRunning -= 1
      else next()
    }
  }

  /**
   * Waits for what comes after a position that this reaches.
   *
   * @returns undefined when nothing comes from here: the log is closed, it was released, or whoever asks has to read for itself
   * @throws what a read of the log throws
   */
  async next(follower: Follower, after: bigint): Promise<LogPage | undefined> {
    if (this.log.isClosed) return undefined
    const known = this.#knownAfter(after, follower)
    if (known === 'elsewhere') return undefined
    if (known !== undefined) return known
    return await new Promise((resolve, reject) => {
      this.#waits.set(follower, { after, resolve, reject })
      // Who waits first has just seen the end, so there is time.
      this.#running ??= this.#run(this.#kept.length === 0)
    })
  }

  /** Ends the wait of a follower; harmless where it does not wait. */
  release(follower: Follower): void {
    this.#settle(follower)?.resolve(undefined)
    if (this.#waits.size === 0) this.#rest.wake()
  }

  /** Waits for the read under way, unless it is for others. */
  async idle(): Promise<void> {
    if (this.#waits.size === 0) await this.#running
  }

  #settle(follower: Follower): Wait | undefined {
    const wait = this.#waits.get(follower)
    this.#waits.delete(follower)
    return wait
  }

  async #run(restsFirst: boolean): Promise<void> {
    this.#isCutOff = false
    try {
      if (restsFirst) this.#isTold = await this.#rest.take()
      while (this.#waits.size > 0 && !this.log.isClosed) {
        const page = await this.#read()
        if (page === undefined) {
          if (this.#isCutOff) break
          if (this.#waits.size > 0) this.#isTold = await this.#rest.take()
          continue
        }
        this.#isTold = true
        this.#rest.shorten()
        this.#keep(page)
        await this.#tell(page)
        if (page.isFull) continue
        // Whoever records more wakes it; one read for a few of them leaves writers the time.
        await delay(Math.min(Math.max(leastBetweenReadsMs, this.#followers.size / followersPerMs), mostBetweenReadsMs))
        if (this.#waits.size > 0) this.#isTold = await this.#rest.take()
      }
      for (const follower of this.#waits.keys()) this.#settle(follower)?.resolve(undefined)
    } catch (error) {
      this.#end = undefined
      this.#kept = []
      for (const follower of this.#waits.keys()) this.#settle(follower)?.reject(error)
    } finally {
      this.#running = undefined
    }
  }

  /** @returns undefined when there is nothing new, or the database cannot tell at the moment */
  async #read(): Promise<KeptPage | undefined> {
    const after = this.#end ?? 0n
    const topics = this.#wantedTopics()
    try {
      if (!this.#isTold && (await this.#hasNothing(after, topics))) return undefined
      const { limit } = this.#pageSize
      const { items, end } = await withinTime(readPage(this.log, { after, limit, topics }))
      this.#patience.renew()
      this.#pageSize.adapt(items)
      return end > after ? { after, items, end, topics, isFull: items.length === limit } : undefined
    } catch (error) {
      if (this.log.isClosed || this.#waits.size === 0 || this.#patience.lasts(error)) return undefined
      throw error
    }
  }

  /** Whether there is nothing to read, which one statement tells at most; a read of all topics tells it as well. */
  async #hasNothing(after: bigint, topics: ReadonlySet<string> | undefined): Promise<boolean> {
    const given = await this.#lastGiven(after)
    if (given !== undefined && given < after) this.#cutOff()
    if (given !== undefined) return given <= after
    return topics !== undefined && !(await this.#hasMore(after))
  }

  /** The last position that was given out, when it is time to ask for it; undefined where nobody knows. */
  async #lastGiven(after: bigint): Promise<bigint | undefined> {
    if (after === 0n || Date.now() - this.#comparedAt < betweenComparisonsMs) return undefined
    this.#comparedAt = Date.now()
    return await withinTime(this.log.lastGivenNotificationId?.() ?? Promise.resolve(undefined)).catch(() => undefined)
  }

  /** The log ends before where this reads on, as one that was restored or emptied: nothing is shared here then. */
  #cutOff(): void {
    this.#isCutOff = true
    this.#end = undefined
    this.#kept = []
  }

  /** Asks for any event at all, which takes one statement less than a read by topics. */
  async #hasMore(after: bigint): Promise<boolean> {
    const start = after === 0n ? null : after
    return (await withinTime(this.log.selectNotifications(start, 1, { inclusiveOfStart: false }))).length > 0
  }

  /** The topics of all followers; undefined for all topics. */
  #wantedTopics(): ReadonlySet<string> | undefined {
    const wanted = new Set<string>()
    for (const { topics } of this.#followers) {
      if (topics === undefined) return undefined
      for (const topic of topics) wanted.add(topic)
    }
    return wanted
  }

  #keep(page: KeptPage): void {
    // Nobody followed meanwhile: who has come since has begun elsewhere.
    if (page.after !== (this.#end ?? 0n) || this.#followers.size === 0) return
    this.#end = page.end
    this.#kept.push(page)
    let [items, bytes] = [0, 0]
    const isKept = (each: KeptPage): boolean => {
      items += each.items.length
      for (const { state } of each.items) bytes += state.byteLength
      return items <= keptItems && bytes <= keptBytes
    }
    const dropped = this.#kept.findLastIndex((each) => !isKept(each))
    this.#kept.splice(0, Math.max(dropped + 1, this.#kept.length - keptPages))
  }

  async #tell(page: KeptPage): Promise<void> {
    let told = 0
    let begun = performance.now()
    for (const [follower, wait] of this.#waits) {
      if (page.end <= wait.after) continue
      const part = partAfter(wait.after, page, follower)
      if (part === undefined || part.items.length > 0 || follower.wantsEnds) this.#settle(follower)?.resolve(part)
      else wait.after = part.end
      told += 1
      if (told % toldAtOnce > 0) continue
      await nextTurn()
      if (performance.now() - begun < longestTellingMs) continue
      await delay(betweenTurnsMs)
      begun = performance.now()
    }
  }

  #knownAfter(after: bigint, follower: Follower): LogPage | 'elsewhere' | undefined {
    for (const page of this.#kept) {
      if (page.end <= after) continue
      const part = partAfter(after, page, follower)
      if (part === undefined) return 'elsewhere'
      return part
    }
    return undefined
  }

  #forget(): void {
    this.#endWakeUps?.()
    this.#endWakeUps = undefined
    this.#end = undefined
    this.#kept = []
    this.#onUnused()
  }
}

/** What of a page a follower has not had yet; undefined where something of it is missing: its topics, or what is before the page. */
function partAfter(after: bigint, page: KeptPage, { topics }: Follower): LogPage | undefined {
  if (after < page.after || !covers(page.topics, topics)) return undefined
  const items = page.items.filter(({ id, topic }) => id > after && (topics === undefined || topics.has(topic)))
  return { items, end: page.end }
}

function covers(read: ReadonlySet<string> | undefined, wanted: ReadonlySet<string> | undefined): boolean {
  if (read === undefined) return true
  return wanted !== undefined && [...wanted].every((topic) => read.has(topic))
}
