/** A log as those who follow it read it: a page at a time, within a time, and patiently while the database is away; or from its end. */
import { OperationalError } from '../errors.js'
import type { ApplicationRecorder } from './recorder.js'
import type { Notification } from './stored-event.js'

/** What reading needs of a log. */
export type ReadableLog = Pick<ApplicationRecorder, 'selectNotifications' | 'maxNotificationId'>

/** What following needs of a log. */
export interface FollowedLog extends ReadableLog {
  /** Calls the listener soon after something was recorded, perhaps more often, perhaps not at all. @returns what ends that */
  onRecorded(listener: () => void): () => void
  /** How long to rest at the most where there was nothing new; default 1,250: longer where the listener is called for all that is recorded. */
  readonly longestRestMs?: number | undefined
  /** Whether nothing can be read any more. Who follows the log is woken when that begins. */
  readonly isClosed: boolean
  /** Whether reading again may succeed after this error. */
  mayPass(error: unknown): boolean
  /** The last position that was given out, final or not; 0 for none, undefined where nobody knows. Only of a log that may be restored, or emptied. */
  lastGivenNotificationId?(): Promise<bigint | undefined>
}

/** A part of a log that was read, after some position. */
export interface LogPage {
  readonly items: readonly Notification[]
  /** The position up to which everything was read; no less than where the page begins. */
  readonly end: bigint
}

/** Which page to read. */
export interface PageRange {
  /** 0 for the beginning. */
  readonly after: bigint
  readonly limit: number
  /** Undefined for all. */
  readonly topics: ReadonlySet<string> | undefined
  /** Undefined, or empty, for all. */
  readonly tags?: readonly string[] | undefined
  /** The end of the page, where nothing later is wanted: an end of the log that it has told; default its end now. */
  readonly stop?: bigint
}

/** A read that has no answer by then counts as failed: the connection may be dead without anybody having said so. */
const readTimeoutMs = 30_000

/** For so long failures that may pass are tried again. */
const longestOutageMs = 60_000

/** Reads a page. With topics, tags or a `stop`, its end is that one, or the log's, where it is not full: what is not wanted is passed over for good. */
export async function readPage(log: ReadableLog, range: PageRange): Promise<LogPage> {
  const { after, limit, topics, tags = [] } = range
  const start = after === 0n ? null : after
  if (topics === undefined && tags.length === 0 && range.stop === undefined) {
    const items = await log.selectNotifications(start, limit, { inclusiveOfStart: false })
    return { items, end: items.at(-1)?.id ?? after }
  }
  const stop = range.stop ?? (await log.maxNotificationId())
  if (stop === null || stop <= after) return { items: [], end: after }
  // Where the recorder looked for its end once more, that could be a smaller one, and what is between them would be passed over.
  const wanted = { topics: [...(topics ?? [])], tags, inclusiveOfStart: false, stop, isFinal: true }
  const items = await log.selectNotifications(start, limit, wanted)
  return { items, end: items.length < limit ? stop : (items.at(-1)?.id ?? stop) }
}

/**
 * Whether a position, after which nothing was read, is one that the log has never had, or has not any more.
 *
 * @returns where the log ends then, undefined where all is well
 */
export async function endBefore(
  log: Pick<FollowedLog, 'lastGivenNotificationId'>,
  position: bigint,
): Promise<bigint | undefined> {
  if (position === 0n || log.lastGivenNotificationId === undefined) return undefined
  const last = await log.lastGivenNotificationId()
  return last !== undefined && position > last ? last : undefined
}

/** Rejects what has no answer in time; what comes later is lost. */
export async function withinTime<T>(read: Promise<T>): Promise<T> {
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

/** Tells how long failures that may pass are tried again, and warns of the first. */
export class Patience {
  readonly #log: FollowedLog
  #failingSince: number | undefined

  constructor(log: FollowedLog) {
    this.#log = log
  }

  /** To be called when a read has succeeded. */
  renew(): void {
    this.#failingSince = undefined
  }

  /** Whether to try again after this error. */
  lasts(error: unknown): boolean {
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

const pageSize = 500
const longestStretch = 65_536n

/** Which events are read. */
export interface LastOptions {
  /** At most so many. */
  readonly count: number
  /** The position up to which they are; null for none at all. */
  readonly end: bigint | null
  /** Only events after this position; default all. */
  readonly after?: bigint
  /** None for all. */
  readonly topics?: readonly string[]
}

/**
 * The last events up to a position, oldest first: read in greater and greater stretches from there back, since of some topics there may be few, and in smaller ones
 * where there are many.
 */
export async function lastNotifications(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  { count, end, after = 0n, topics = [] }: LastOptions,
): Promise<Notification[]> {
  const limit = Math.max(count, pageSize)
  let found: Notification[] = []
  let stretch = BigInt(Math.min(count, pageSize))
  for (let stop = end ?? 0n; stop > after && found.length < count; ) {
    const start = stop - stretch > after ? stop - stretch : after
    const page = await log.selectNotifications(start, limit, { topics, stop, inclusiveOfStart: false })
    if (page.length === limit && stop - start > BigInt(limit)) {
      // There may be more, and those at its end count.
      stretch /= 4n
    } else {
      found = [...page, ...found]
      stop = start
      stretch = stretch * 4n < longestStretch ? stretch * 4n : longestStretch
    }
  }
  return found.slice(-count)
}
