/** A cache of originators: what was read once is brought up to date instead of rebuilt, and what was not used for longest is forgotten. */
import { isDeepStrictEqual } from 'node:util'
import { count, flag, type OptionTypesOf } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { copyOriginator, type SnapshotKind, type Snapshotted, subjectsIn } from '../domain/snapshot.js'
import type { Environment } from '../persistence/environment.js'

/** An entry that was taken out. */
export type Evicted<Key, Value> = readonly [Key, Value]

/**
 * Keeps entries up to a number, those used last.
 *
 * @typeParam Value - anything but null and undefined, which stand for no value
 */
export class LRUCache<Key, Value> {
  readonly #maxSize: number
  // A Map keeps the order in which keys were set: the first one was not used for longest.
  readonly #entries = new Map<Key, Value>()

  /** @param maxSize - how many entries to keep; 0, the default, for any number */
  constructor(maxSize: number = 0) {
    this.#maxSize = maxSize
  }

  /** How many there are. */
  get size(): number {
    return this.#entries.size
  }

  /** The value under a key, which counts as used now. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    if (value !== undefined) this.#use(key, value)
    return value
  }

  /** @returns the entry that had to go for it */
  put(key: Key, value: Value | null | undefined): Evicted<Key, Value> | undefined {
    if (value === null || value === undefined) return undefined
    this.#use(key, value)
    if (this.#maxSize === 0 || this.#entries.size <= this.#maxSize) return undefined
    for (const oldest of this.#entries) {
      this.#entries.delete(oldest[0])
      return oldest
    }
    return undefined
  }

  /** @returns the value that was there */
  evict(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    this.#entries.delete(key)
    return value
  }

  #use(key: Key, value: Value): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
  }
}

/** How an application caches aggregates and states of deciders. */
export interface CacheOptions {
  /** How many to keep, those used last; default 1,000; 0 for any number. Variable `AGGREGATE_CACHE_MAXSIZE`. */
  readonly maxSize?: number
  /**
   * Whether a get reads the events that were stored since, so that it gives the latest version; default true. Without it a get
   * reads nothing, and sees what this process has saved only. Variable `AGGREGATE_CACHE_FASTFORWARD`.
   */
  readonly fastForward?: boolean
  /** Whether a get that finds another one reading does not read too, and gives what there is; default false. Variable `AGGREGATE_CACHE_FASTFORWARD_SKIPPING`. */
  readonly fastForwardSkipping?: boolean
  /** Whether each get gives a copy of its own; default true. Without it, all share one object: change none of them. Variable `DEEPCOPY_FROM_AGGREGATE_CACHE`. */
  readonly deepCopy?: boolean
}

/** What the options of a cache are. */
export const cacheOptionTypes: OptionTypesOf<CacheOptions> = {
  maxSize: count,
  fastForward: flag,
  fastForwardSkipping: flag,
  deepCopy: flag,
}

/** An originator in the cache; never changed where copies are given out. */
export interface CachedOriginator {
  /** Its class or decider. */
  readonly kind: SnapshotKind
  /** The originator as of its last event. */
  readonly originator: Snapshotted
  /** The event that brought it to its version. */
  readonly last: DomainEvent
}

/** An originator with its new events. */
export interface SavedOriginator {
  readonly kind: SnapshotKind
  readonly originator: Snapshotted
  readonly events: readonly DomainEvent[]
}

/** What the cache needs of the application. */
interface CacheSource {
  /** Reads the events of one originator after a version, in pages that are never empty. */
  readPages(id: string, range: { readonly gt: number }, visit: (page: readonly DomainEvent[]) => void): Promise<void>
  /** Applies events to an originator, which may be changed by it. */
  apply(kind: SnapshotKind, originator: Snapshotted, events: readonly DomainEvent[]): Snapshotted
  /** Runs `fn` once what was read and saved is stored for good. */
  afterCommit(fn: () => void): void
  /** Whether even that may still be undone. */
  isProvisional(): boolean
}

const defaultMaxSize = 1_000

/**
 * Keeps only what is committed: what a transaction has read or saved comes in after its commit. As a further guard, the last
 * event that an entry knows is read again with those after it; when it is not the same any more, the entry is given up.
 */
export class OriginatorCache {
  /** What is cached, by originator id. */
  readonly entries: LRUCache<string, CachedOriginator>
  /** Whether a get reads what was stored since. */
  readonly fastForward: boolean
  readonly #source: CacheSource
  readonly #isSkipping: boolean
  readonly #copies: boolean
  readonly #reading = new Map<string, number>()
  #losses = 0

  constructor(source: CacheSource, options: CacheOptions = {}) {
    this.#source = source
    this.entries = new LRUCache(options.maxSize ?? defaultMaxSize)
    this.fastForward = options.fastForward ?? true
    this.#isSkipping = options.fastForwardSkipping ?? false
    this.#copies = options.deepCopy ?? true
  }

  /** The originator as it is now, undefined when it is not in the cache. */
  async get(kind: SnapshotKind, id: string, copies: boolean = this.#copies): Promise<Snapshotted | undefined> {
    const entry = this.entries.get(id)
    if (entry === undefined || entry.kind !== kind) return undefined
    const isUpToDate = !this.fastForward || (this.#isSkipping && this.#reading.has(id))
    const latest = isUpToDate ? entry : await this.#fastForwarded(id, entry, copies)
    return latest === undefined || !copies ? latest?.originator : copyOriginator(latest.originator)
  }

  /** Keeps an originator once the current transaction has committed. What cannot be copied is not kept. */
  put(entry: CachedOriginator, copies: boolean = this.#copies): void {
    const originator = copies ? copyOriginator(entry.originator) : entry.originator
    if (originator !== undefined) this.#keep({ ...entry, originator })
  }

  /**
   * What a save is about to store, as it is now, for `keep`. Nothing where a get reads what was stored since: it will read
   * these events too.
   */
  captured(saved: readonly SavedOriginator[]): CachedOriginator[] {
    if (this.fastForward) return []
    return saved.flatMap(({ kind, originator: own, events }) => {
      const last = events.at(-1)
      const originator = this.#copies ? copyOriginator(own) : own
      return last === undefined || originator === undefined ? [] : [{ kind, originator, last }]
    })
  }

  /** Keeps what was captured and is saved now, once the current transaction has committed. */
  keep(captured: readonly CachedOriginator[]): void {
    for (const entry of captured) this.#keep(entry)
  }

  /** Forgets an originator whose events were not stored. A get that reads on finds that out by itself. */
  lose(id: string): void {
    if (this.fastForward) return
    this.#losses += 1
    this.entries.evict(id)
  }

  #keep(entry: CachedOriginator): void {
    const { id, version } = entry.originator
    if (!this.#mayKeep(entry)) {
      this.#source.afterCommit(() => this.entries.evict(id))
      return
    }
    const losses = this.#losses
    this.#source.afterCommit(() => {
      const present = this.entries.get(id)
      const isNewer = present === undefined || present.kind !== entry.kind || present.originator.version < version
      if (losses === this.#losses && isNewer) this.entries.put(id, entry)
    })
  }

  #mayKeep({ originator }: CachedOriginator): boolean {
    // Another process may forget the person, and this one would not know.
    if (subjectsIn(originator).size > 0) return false
    // A get that reads on finds out what was undone, one that does not never would.
    return this.fastForward || !this.#source.isProvisional()
  }

  async #fastForwarded(id: string, entry: CachedOriginator, copies: boolean): Promise<CachedOriginator | undefined> {
    this.#reading.set(id, (this.#reading.get(id) ?? 0) + 1)
    try {
      return await this.#readOn(id, entry, copies)
    } finally {
      const others = (this.#reading.get(id) ?? 1) - 1
      if (others === 0) this.#reading.delete(id)
      else this.#reading.set(id, others)
    }
  }

  async #readOn(id: string, entry: CachedOriginator, copies: boolean): Promise<CachedOriginator | undefined> {
    let latest: CachedOriginator | undefined
    await this.#source.readPages(id, { gt: entry.last.originatorVersion - 1 }, (page) => {
      const [first, ...others] = page
      const isFirstPage = first?.originatorVersion === entry.last.originatorVersion
      if (isFirstPage && isSame(first, entry.last)) latest = entry
      const events = isFirstPage ? others : page
      const last = events.at(-1)
      if (latest === undefined || last === undefined) return
      // What is in the cache may be copied by another get at any time.
      const own = latest === entry && copies ? copyOriginator(entry.originator) : latest.originator
      if (own === undefined) return
      latest = { kind: entry.kind, originator: this.#source.apply(entry.kind, own, events), last }
    })
    if (latest === undefined) this.entries.evict(id)
    else if (latest !== entry) this.#keep(latest)
    return latest
  }
}

/**
 * How an application caches: as its option says, and where that says nothing, as the variables do.
 *
 * @returns undefined when it does not
 * @throws `EnvironmentError` for values that cannot be used
 */
export function configuredCache(
  environment: Environment,
  option: boolean | CacheOptions | undefined,
): CacheOptions | undefined {
  const maxSize = environment.getWholeNumber('AGGREGATE_CACHE_MAXSIZE')
  if (option === false || (option === undefined && maxSize === undefined)) return undefined
  const configured = {
    maxSize,
    fastForward: environment.getBoolean('AGGREGATE_CACHE_FASTFORWARD'),
    fastForwardSkipping: environment.getBoolean('AGGREGATE_CACHE_FASTFORWARD_SKIPPING'),
    deepCopy: environment.getBoolean('DEEPCOPY_FROM_AGGREGATE_CACHE'),
  }
  const set = Object.fromEntries(Object.entries(configured).filter(([, value]) => value !== undefined))
  return { ...set, ...(typeof option === 'object' ? option : {}) }
}

function isSame(event: DomainEvent | undefined, known: DomainEvent): boolean {
  return (
    event !== undefined &&
    event.topic === known.topic &&
    event.timestamp.iso === known.timestamp.iso &&
    isDeepStrictEqual(event.data, known.data)
  )
}
