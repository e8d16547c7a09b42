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
  /** Seen when another event of the same stream, by what is stored, was the next. */
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
  const nextVersions = versionsAfter(stored)
  const lastVersions = new Map<string, number>()
  const delays: number[] = []
  let outOfOrder = 0
  for (const event of seen) {
    const { originatorId, originatorVersion, at } = event
    const last = lastVersions.get(originatorId) ?? 0
    if (nextVersions.get(positionOf({ originatorId, originatorVersion: last })) !== originatorVersion) outOfOrder += 1
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

/** How many versions below the last one of their stream are not stored. */
export function holesOf(stored: readonly PlacedEvent[]): number {
  const lastVersions = new Map<string, number>()
  for (const { originatorId, originatorVersion } of stored) {
    lastVersions.set(originatorId, Math.max(originatorVersion, lastVersions.get(originatorId) ?? 0))
  }
  return [...lastVersions.values()].reduce((sum, version) => sum + version, 0) - stored.length
}

/** The version that follows each stored one in its stream; the first follows 0. */
function versionsAfter(stored: readonly PlacedEvent[]): Map<string, number> {
  const after = new Map<string, number>()
  const lastVersions = new Map<string, number>()
  for (const { originatorId, originatorVersion } of stored.toSorted(
    (a, b) => a.originatorVersion - b.originatorVersion,
  )) {
    const last = lastVersions.get(originatorId) ?? 0
    after.set(positionOf({ originatorId, originatorVersion: last }), originatorVersion)
    lastVersions.set(originatorId, originatorVersion)
  }
  return after
}

/** Names a place in a stream. */
export function positionOf({ originatorId, originatorVersion }: Omit<PlacedEvent, 'id'>): string {
  return `${originatorId} ${originatorVersion}`
}

function quantile(sorted: readonly number[], share: number): number | undefined {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}
