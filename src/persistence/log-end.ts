/** Reads a log from its end: the last events, of all topics or some. */
import type { ApplicationRecorder } from './recorder.js'
import type { Notification } from './stored-event.js'

const pageSize = 500

/** Which events are read. */
export interface LastOptions {
  /** At most so many. */
  readonly count: number
  /** The position up to which they are; null for none at all. */
  readonly end: bigint | null
  /** None for all. */
  readonly topics?: readonly string[]
}

/** The last events up to a position, oldest first: read in greater and greater parts from there back, since of some topics there may be few. */
export async function lastNotifications(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  { count, end, topics = [] }: LastOptions,
): Promise<Notification[]> {
  if (end === null || count === 0) return []
  for (let back = BigInt(count); ; back *= 8n) {
    const start = end - back
    const found: Notification[] = []
    for (let position = start > 0n ? start : null; ; ) {
      const page = await log.selectNotifications(position, pageSize, { topics, stop: end, inclusiveOfStart: false })
      found.push(...page)
      found.splice(0, found.length - count)
      position = page.at(-1)?.id ?? null
      if (page.length < pageSize) break
    }
    if (found.length === count || start <= 0n) return found
  }
}
