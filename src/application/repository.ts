/** The repository: aggregates and the states of deciders, from their stored events, and which of them there are. */
import { type TracingChannel, tracingChannel } from 'node:diagnostics_channel'
import { anything, checkOptions, described, flag, type OptionTypesOf } from '../checked-options.js'
import { Aggregate, type AggregateClass, isAggregate, isOfAnotherCopy } from '../domain/aggregate.js'
import { defaultCreationName, eventsOf } from '../domain/aggregate-events.js'
import { type Decider, type DeciderState, fold, initial } from '../domain/decider.js'
import { type DomainEvent, endedError, isEnded } from '../domain/event.js'
import { storedTopics, type TopicOwner } from '../domain/names.js'
import { shapesOf } from '../domain/read-event.js'
import { rebuild } from '../domain/rebuild.js'
import { restoreSnapshot, type SnapshotKind, type Snapshotted } from '../domain/snapshot.js'
import { AggregateNotFoundError, ProgrammingError } from '../errors.js'
import type { SinceSnapshotVisitor } from '../persistence/event-store.js'
import {
  type ApplicationRecorder,
  checkVersion,
  greatestPosition,
  type SelectEventsRange,
  type WatchedCall,
} from '../persistence/recorder.js'
import { PageSize } from '../persistence/stored-event.js'
import { copyError, markStray } from './collected.js'
import { type CacheOptions, OriginatorCache } from './originator-cache.js'

/** Each message of the tracing channel `repository.load`: an originator is read from its events, and not from the cache. */
export interface LoadTrace {
  /** The name of its class or decider. */
  readonly name: string
  /** Its id. */
  readonly originatorId: string
  /** The version that is asked for, undefined for the last one. */
  readonly version: number | undefined
  /** Why it has failed: set on the messages `error`, `asyncStart` and `asyncEnd`. */
  readonly error?: unknown
}

const loads: TracingChannel<object, LoadTrace> = tracingChannel('eventsourcing-prisma:repository.load')

/** Where a repository reads: an event store, and one of snapshots. */
export interface EventReader {
  /** Reads the events of one originator, oldest first, in pages that are never empty. */
  readPages(
    originatorId: string,
    range: Pick<SelectEventsRange, 'gt' | 'lte'>,
    visit: (page: readonly DomainEvent[]) => void,
  ): Promise<void>
  /** Reads the latest snapshot of one originator, and the events after it; all events where it is not good. */
  readSinceSnapshot(
    originatorId: string,
    range: Pick<SelectEventsRange, 'lte'>,
    visitor: SinceSnapshotVisitor,
  ): Promise<void>
  /** Whether an originator has any events. */
  has(originatorId: string): Promise<boolean>
  /** The topic of its last event. */
  lastTopic(originatorId: string): Promise<string | undefined>
}

/** Which state of an originator to get. */
export interface GetOptions {
  /**
   * The version to stop at; default the latest. A version that is still to come gives the latest, too; what is no whole number
   * is a `TypeError`.
   */
  readonly version?: number
  /** With a cache: whether to give a copy; default what the cache's option says. */
  readonly deepCopy?: boolean
}

const getOptionTypes: OptionTypesOf<GetOptions> = {
  // Whether it can be one is checked where it is read.
  version: anything,
  deepCopy: flag,
}

/** What else a repository has to know. */
interface RepositoryOptions {
  /** Called with an originator whose latest snapshot is of a version that is not stored. */
  readonly onAhead?: (originatorId: string) => void
  /** Whether a kind has snapshots; default none has. */
  readonly hasSnapshots?: (kind: SnapshotKind) => boolean
  /** Whether and how it caches; default not at all. */
  readonly cache?: CacheOptions | undefined
  /** Runs `fn` once what was read and saved is stored for good; default at once. */
  readonly afterCommit?: (fn: () => void) => void
  /** Whether even what is committed may still be undone; default never. */
  readonly isProvisional?: () => boolean
  /** Runs `fn` when events of an originator are undone that are in what was read; default never. */
  readonly onUndone?: (id: string, fn: () => void) => void
  /** Runs a call, which may belong to a transaction; default: just that. */
  readonly watched?: Watch
}

/** Runs a call at once, and lets the transaction around it know. */
type Watch = <T>(call: WatchedCall<T>, work: () => Promise<T>) => Promise<T>

/** Reads aggregates and deciders by id. */
export class Repository {
  readonly #events: EventReader
  readonly #hasSnapshots: (kind: SnapshotKind) => boolean
  readonly #watched: Watch
  readonly #onUndone: (id: string, fn: () => void) => void
  readonly #onAhead: ((originatorId: string) => void) | undefined
  /** What it has cached, undefined when it does not cache. */
  readonly cache: OriginatorCache | undefined

  constructor(events: EventReader, options: RepositoryOptions = {}) {
    const { hasSnapshots = never, cache, afterCommit = runAtOnce, isProvisional = never, watched = unwatched } = options
    this.#watched = watched
    this.#onUndone = options.onUndone ?? nothing
    this.#events = events
    this.#hasSnapshots = hasSnapshots
    this.#onAhead = options.onAhead
    const readPages: EventReader['readPages'] = (...args) => events.readPages(...args)
    if (cache !== undefined) this.cache = new OriginatorCache({ readPages, apply, afterCommit, isProvisional }, cache)
  }

  /**
   * The same with another reader, such as one that has no keys of personal data; it caches nothing.
   *
   * @internal
   */
  readingFrom(events: EventReader): Repository {
    return new Repository(events, { hasSnapshots: this.#hasSnapshots })
  }

  /**
   * Rebuilds an aggregate.
   *
   * @param aggregateClass - the class that its events are of
   * @throws `AggregateNotFoundError` when there are no events with this id, or none up to the version; `AggregateEndedError`, which is one,
   *   when an event has ended it, unless a version is given
   * @throws `TopicError` when the stream has an event that the class does not know
   * @throws `MapperError` when a stored state cannot be read
   * @throws `ProgrammingError` for what is no class or decider, for an id that is no text, and for options that there are not
   */
  get<A extends Aggregate<object>>(aggregateClass: AggregateClass<A>, id: string, options?: GetOptions): Promise<A>
  /**
   * Folds the events of a decider's originator into its state.
   *
   * @throws as for an aggregate
   */
  get<State, Events extends object, Commands extends object>(
    decider: Decider<State, Events, Commands>,
    id: string,
    options?: GetOptions,
  ): Promise<DeciderState<State>>
  get(kind: SnapshotKind, id: string, options?: GetOptions): Promise<unknown> {
    const call = { name: 'repository.get', owner: Repository.prototype }
    return this.#watched(call, async () => {
      assertAsked('get', kind, id)
      if (options !== undefined) checkOptions(() => `get ${nameOf(kind)} ${id}`, options, getOptionTypes)
      if (typeof kind === 'function') assertAggregateClass(kind, id)
      const { version, deepCopy } = options ?? {}
      checkVersion(version, 'version')
      const { cache } = this
      const originator =
        version !== undefined || cache === undefined
          ? (await this.#read(kind, id, version)).originator
          : await this.#getCached(cache, kind, id, deepCopy)
      // By a version it is read for what it was.
      if (version === undefined && isEnded(originator)) throw endedError(`get ${nameOf(kind)} ${id}`)
      // Its version would fit when somebody else has stored other events in their place.
      if (isAggregate(originator)) this.#onUndone(id, () => markStray(originator))
      return originator
    })
  }

  async #getCached(
    cache: OriginatorCache,
    kind: SnapshotKind,
    id: string,
    deepCopy: boolean | undefined,
  ): Promise<Snapshotted> {
    const cached = await cache.get(kind, id, deepCopy)
    if (cached !== undefined) return cached
    const { originator, last } = await this.#read(kind, id, undefined)
    if (last !== undefined) cache.put({ kind, originator, last }, deepCopy)
    return originator
  }

  #read(kind: SnapshotKind, id: string, version: number | undefined): Promise<Rebuilt> {
    return loads.hasSubscribers ? this.#traced(kind, id, version) : this.#rebuild(kind, id, version)
  }

  async #traced(kind: SnapshotKind, id: string, version: number | undefined): Promise<Rebuilt> {
    const read: Rebuilt[] = []
    const trace: LoadTrace = { name: nameOf(kind), originatorId: id, version }
    await loads.tracePromise(async () => void read.push(await this.#rebuild(kind, id, version)), trace)
    return read[0] as Rebuilt // pushed by what has not rejected
  }

  async #rebuild(kind: SnapshotKind, id: string, version: number | undefined): Promise<Rebuilt> {
    let found: Snapshotted | undefined
    let last: DomainEvent | undefined
    const range = version === undefined ? {} : { lte: version }
    const restore = (snapshot: DomainEvent): boolean => (found = restoreSnapshot(kind, snapshot)) !== undefined
    const visit = (events: readonly DomainEvent[]): void => {
      found = apply(kind, found ?? (typeof kind === 'function' ? undefined : initial(kind, id)), events)
      last = events.at(-1)
    }
    if (this.#hasSnapshots(kind))
      await this.#events.readSinceSnapshot(id, range, { restore, visit, onAhead: () => this.#onAhead?.(id) })
    else await this.#events.readPages(id, range, visit)
    if (found === undefined) throw notFound(nameOf(kind), id, version)
    return { originator: found, last }
  }

  /**
   * Whether `get` would find the aggregate, or the decider's originator.
   *
   * Ids belong to one class: what has this id is taken to be of this one.
   */
  has<State, Events extends object, Commands extends object>(
    kind: AggregateClass | Decider<State, Events, Commands>,
    id: string,
  ): Promise<boolean> {
    return this.#watched({ name: 'repository.has', owner: Repository.prototype }, async () => {
      assertAsked('has', kind, id)
      const { endings, nameOf: eventNameOf } = shapesOf(kind)
      if (endings.size === 0) return await this.#events.has(id)
      const topic = await this.#events.lastTopic(id)
      return topic !== undefined && !endings.has(eventNameOf(topic) ?? '')
    })
  }
}

/** Gets an originator of a kind that is known at run time only. */
export async function getOriginator(
  repository: Repository,
  kind: SnapshotKind,
  id: string,
  options?: GetOptions,
): Promise<Snapshotted> {
  return typeof kind === 'function' ? await repository.get(kind, id, options) : await repository.get(kind, id, options)
}

/** What was read, and the event that brought it there; undefined where a snapshot did. */
interface Rebuilt {
  readonly originator: Snapshotted
  readonly last: DomainEvent | undefined
}

// Whatever there is before the events was made of this kind.
function apply(kind: SnapshotKind, before: Snapshotted | undefined, events: readonly DomainEvent[]): Snapshotted {
  const after =
    typeof kind === 'function'
      ? rebuild(kind, events, before as Aggregate<object> | undefined)
      : fold(kind, before as DeciderState<unknown>, events)
  if (after === undefined) throw new ProgrammingError('No originator can be made of no events')
  return after
}

function never(): boolean {
  return false
}

const unwatched: Watch = (_call, work) => work()

function nothing(): void {}

function runAtOnce(fn: () => void): void {
  fn()
}

function assertAggregateClass({ name, prototype }: AggregateClass, id: string): void {
  if (isOfAnotherCopy(prototype)) throw copyError(`get ${name} ${id}`)
  if (prototype instanceof Aggregate) return
  throw new ProgrammingError(`Could not get ${name} ${id}: ${name} is no class that extends Aggregate.`)
}

/** The same on every database, which would each make something else of it. */
function assertAsked(method: string, kind: SnapshotKind, id: unknown): void {
  if (typeof kind !== 'function' && (typeof kind !== 'object' || kind === null || !('evolve' in kind))) {
    throw new ProgrammingError(
      `Could not ask the repository: the first argument of ${method} is ${described(kind)}, and has to be a class or a decider, ` +
        `before the id: repository.${method}(Dog, id).`,
    )
  }
  if (typeof id === 'string' && id !== '') return
  throw new ProgrammingError(
    `Could not ask the repository for ${kind.name}: the id is ${id === '' ? 'empty' : described(id)}, and has to be a text. Does ` +
      'it come from a parameter of the request, or from a row, that is missing?',
  )
}

function nameOf(kind: AggregateClass | { readonly name: string }): string {
  return typeof kind === 'function' ? eventsOf(kind.prototype).className : kind.name
}

function notFound(name: string, id: string, version: number | undefined): AggregateNotFoundError {
  const at = version === undefined ? '' : ` at version ${version}`
  const why = version === undefined ? 'nothing was saved with this id' : 'it has no events up to that version'
  return new AggregateNotFoundError(`Cannot find ${name} ${id}${at}: ${why}`)
}

const firstPage = 100
const greatestPage = 500

/** Gives the ids of all originators of a kind, in the order in which they were created. */
export async function* originatorIds(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  kind: SnapshotKind,
): AsyncGenerator<string, void, undefined> {
  const { topics, firstVersion } = creationOf(kind)
  const ended = await endedIds(log, kind)
  const size = new PageSize(firstPage, greatestPage)
  for (let position: bigint | null = null; ; ) {
    const { limit } = size
    const page = await log.selectNotifications(position, limit, { topics, inclusiveOfStart: false })
    for (const { id, originatorId, originatorVersion } of page) {
      const endedAt = ended.get(originatorId)
      if (endedAt === undefined) {
        if (originatorVersion === firstVersion) yield originatorId
      } else if (id > endedAt) {
        // Begun again: it comes once.
        ended.set(originatorId, greatestPosition)
        yield originatorId
      }
    }
    const last = page.at(-1)
    if (last === undefined || page.length < limit) return
    position = last.id
    size.adapt(page)
  }
}

/** Those that an event has ended, with its position, the last one; nothing is read where no event does that. */
async function endedIds(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  kind: SnapshotKind,
): Promise<Map<string, bigint>> {
  const shapes = shapesOf(kind)
  const topics = [...shapes.endings].flatMap((name) => storedTopics(shapes, name))
  const ended = new Map<string, bigint>()
  for (let position: bigint | null = null; topics.length > 0; ) {
    const page = await log.selectNotifications(position, greatestPage, { topics, inclusiveOfStart: false })
    for (const { id, originatorId } of page) ended.set(originatorId, id)
    position = page.at(-1)?.id ?? null
    if (page.length < greatestPage) break
  }
  return ended
}

/** The topics that the first event of an originator may have. */
export function creationOf(kind: SnapshotKind): { readonly topics: readonly string[]; readonly firstVersion: number } {
  if (typeof kind !== 'function') {
    const owner: TopicOwner = { topic: kind.name, formerTopics: kind.formerTopics }
    return { topics: Object.keys(kind.evolve).flatMap((name) => storedTopics(owner, name)), firstVersion: 1 }
  }
  const events = eventsOf(kind.prototype as object)
  const { creation, handlers, initialVersion: firstVersion } = events
  const names = creation === undefined ? [defaultCreationName, ...handlers.keys()] : [creation.name]
  return { topics: names.flatMap((name) => storedTopics(events, name)), firstVersion }
}
