/** Reads a log from its end: the last events, of all topics or some. */
import type { ApplicationRecorder } from './recorder.js'
import type { Notification } from './stored-event.js'

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
