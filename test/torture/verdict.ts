/** Compares what readers have seen with what is stored. */

/** One event, by its place in the log and in its stream. */
export interface PlacedEvent {
  readonly id: bigint
  readonly originatorId: string
  readonly originatorVersion: number
}

/** One event as a reader has got it. */
export interface SeenEvent extends PlacedEvent {
  /** When, undefined where that was not written down. */
  readonly at?: number
}

/** What is to be said of one reader. */
export interface Verdict {
  readonly reader: string
  readonly seen: number
  /** Stored, and never seen. */
  readonly lost: number
  /** Seen more than once. */
  readonly duplicated: number
  /** Seen after a later event of the same stream. */
  readonly outOfOrder: number
  /** Seen, and not stored. */
  readonly invented: number
  /** Milliseconds from the commit, as its writer knew of it, to the delivery; undefined where no times were written down. */
  readonly p50: number | undefined
  readonly p99: number | undefined
}

/**
 * Judges one reader.
 *
 * @param committedAt - when the writers' transactions had committed, by `positionOf` the last event of a stream in each
 */
export function judge(
  reader: string,
  seen: readonly SeenEvent[],
  stored: readonly PlacedEvent[],
  committedAt: ReadonlyMap<string, number>,
): Verdict {
  const storedIds = new Set(stored.map(({ id }) => id))
  const seenIds = new Set(seen.map(({ id }) => id))
  const lastVersions = new Map<string, number>()
  const delays: number[] = []
  let outOfOrder = 0
  for (const event of seen) {
    const { originatorId, originatorVersion, at } = event
    if (originatorVersion <= (lastVersions.get(originatorId) ?? 0)) outOfOrder += 1
    lastVersions.set(originatorId, originatorVersion)
    const committed = committedAt.get(positionOf(event))
    if (committed !== undefined && at !== undefined) delays.push(at - committed)
  }
  delays.sort((a, b) => a - b)
  return {
    reader,
    seen: seen.length,
    lost: stored.filter(({ id }) => !seenIds.has(id)).length,
    duplicated: seen.length - seenIds.size,
    outOfOrder,
    invented: [...seenIds].filter((id) => !storedIds.has(id)).length,
    p50: quantile(delays, 0.5),
    p99: quantile(delays, 0.99),
  }
}

/** Names a place in a stream. */
export function positionOf({ originatorId, originatorVersion }: Omit<PlacedEvent, 'id'>): string {
  return `${originatorId} ${originatorVersion}`
}

function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}
