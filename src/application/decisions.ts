/** Decisions beyond one aggregate: made from events with certain tags, and stored only while those are all; and tags for events that had none. */
import type { DomainEvent } from '../domain/event.js'
import { definitionOfEvent, type EventDeclaration, type NamedEvent } from '../domain/event-definition.js'
import { type EventShapes, newEvent, presentEvent, shapeOf } from '../domain/event-shapes.js'
import { eventNames, type Facts, factsOf, shapesOfFacts } from '../domain/facts.js'
import { randomId } from '../domain/names.js'
import { shapesOf } from '../domain/read-event.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { eventTags, queriedTags, type Tags } from '../domain/tags.js'
import { NotSupportedError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { AppendCondition, ApplicationRecorder, TaggedRead, TagQuery } from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'

/** What a decision is made from, by names of one's own. */
export type FactsByName = Readonly<Record<string, Facts<unknown>>>

/** The values of facts, by the same names. */
export type ValuesOf<Items> = { readonly [Name in keyof Items]: Items[Name] extends Facts<infer Value> ? Value : never }

/** Makes a decision from values: gives the events that follow, or none, or throws. Pure and synchronous. */
export type Decide<Items> = (values: ValuesOf<Items>) => ReadonlyArray<NamedEvent<string, object>>

/** How a decision is made. */
export interface DecideOptions {
  /**
   * Whether others who would store events with the same tags wait, from the read on, until the end of the transaction: for tags that
   * many decide on at once. Default false: who is second has an `AppendConditionError`, and decides again.
   */
  readonly lock?: boolean
}

/** Events that must not be stored already. */
export interface Unless {
  /** Tags that such an event has, all of them; at least one. */
  readonly tags: Tags
  /** The definitions, or the names, of such events; default any. */
  readonly types?: ReadonlyArray<EventDeclaration | string>
}

/** Everything that may be asked of a save beside its events. */
export interface AnySaveOptions {
  /**
   * Whether an aggregate that is created may have the id of one that an event has ended (`ends`): its events follow those of the
   * former life, and it begins anew. Default false: that is a `ConcurrencyError`. Where such an aggregate is there and has not
   * ended, it stays one.
   */
  readonly newLife?: boolean
  /** What must not be stored already, in a list for several: nothing is stored then, and the save, or the commit, fails with an `AppendConditionError`. */
  readonly unless?: Unless | readonly Unless[]
}

/** What is asked of a save beside its events: one of these at least. */
export type SaveOptions = AnySaveOptions &
  (Required<Pick<AnySaveOptions, 'unless'>> | Required<Pick<AnySaveOptions, 'newLife'>>)

/** Events are read so many at a time. */
const pageSize = 2_000

/** What a decision has come to: events, and what they were decided on. */
interface Decided {
  readonly events: readonly DomainEvent[]
  readonly conditions: readonly AppendCondition[]
}

/** Reads what decisions are made from. */
export class Decisions {
  readonly #recorder: Pick<ApplicationRecorder, 'selectByTags' | 'lockTags'>
  readonly #store: EventStore

  constructor(recorder: Pick<ApplicationRecorder, 'selectByTags' | 'lockTags'>, store: EventStore) {
    this.#recorder = recorder
    this.#store = store
  }

  /** Writes conditions as a recorder takes them. @throws `TypeError` for one without a tag, or with what is no type */
  conditions(unless: Unless | readonly Unless[]): AppendCondition[] {
    const all = isList(unless) ? unless : [unless]
    return all.map(({ tags, types = [] }) => ({
      tags: this.#store.tagTexts.of(queriedTags(tags, 'save unless')),
      types: eventNames(types),
      after: null,
    }))
  }

  /** Makes a decision; nothing is stored. */
  async decide<Items extends FactsByName>(
    items: Items,
    decide: Decide<Items>,
    { lock = false }: DecideOptions,
  ): Promise<Decided> {
    const all = Object.entries(items)
    const queries = all.map(([, { tags, cases, onlyLast }]) => ({
      tags: this.#store.tagTexts.of(tags),
      types: [...cases.keys()],
      onlyLast,
    }))
    if (lock) await this.#recorder.lockTags?.([...new Set(queries.flatMap(({ tags }) => tags))])
    const merged = mergedQueries(queries)
    const reads = await this.#read(merged)
    const stored = reads.flatMap(({ events }) => events.map(({ event }) => event))
    const events = await this.#store.toDomainEvents(stored)
    const byRead = reads.map((read, index) => {
      const start = reads.slice(0, index).reduce((sum, before) => sum + before.events.length, 0)
      return events.slice(start, start + read.events.length)
    })
    const readOf = queries.map((query) => merged.findIndex((each) => includes(each, query)))
    const values = all.map(([name, each], index) => [name, factsOf(each, byRead[readOf[index] ?? -1] ?? [])] as const)
    // By the names of the items, each the value of its facts.
    const decided = decide(Object.fromEntries(values) as ValuesOf<Items>)
    const isLocked = lock && this.#recorder.lockTags !== undefined
    const conditions = queries.map(({ tags, types }, index) => ({
      ...conditionOf({ tags, types }, reads[readOf[index] ?? -1]),
      isLocked,
    }))
    return { events: storable(decided), conditions }
  }

  async #read(queries: readonly FactsQuery[]): Promise<TaggedRead[]> {
    if (this.#recorder.selectByTags === undefined) {
      throw new NotSupportedError('Could not decide by tags: the recorder of this application has no selectByTags().')
    }
    const limited = queries.map((query) => ({ ...query, limit: pageSize }))
    const reads = limited.length === 0 ? [] : await this.#recorder.selectByTags(limited)
    return await Promise.all(reads.map((read, index) => this.#readOn(read, limited[index])))
  }

  /** Reads what is beyond the first page. */
  async #readOn(first: TaggedRead, query: (TagQuery & { readonly limit: number }) | undefined): Promise<TaggedRead> {
    const events = [...first.events]
    let page = first
    while (page.events.length === query?.limit) {
      const gt = page.events.at(-1)?.id ?? null
      const [next] = (await this.#recorder.selectByTags?.([{ ...query, gt }])) ?? []
      if (next === undefined) break
      events.push(...next.events)
      page = next
    }
    return { events, after: page.after }
  }
}

/** What one of the facts asks for. */
interface FactsQuery extends TagQuery {
  readonly onlyLast: boolean
}

/** Reads events of the same tags once, of whatever types: each of the facts takes its own. */
function mergedQueries(queries: readonly FactsQuery[]): FactsQuery[] {
  const merged: FactsQuery[] = []
  for (const query of queries) {
    const index = query.onlyLast ? -1 : merged.findIndex((each) => !each.onlyLast && hasSameTags(each, query))
    const same = merged[index]
    if (same === undefined) merged.push(query)
    else merged[index] = { ...same, types: [...new Set([...same.types, ...query.types])] }
  }
  return merged
}

function includes(read: FactsQuery, query: FactsQuery): boolean {
  if (read.onlyLast || query.onlyLast) return read === query
  return hasSameTags(read, query)
}

function hasSameTags(one: TagQuery, other: TagQuery): boolean {
  return one.tags.length === other.tags.length && one.tags.every((tag, index) => tag === other.tags[index])
}

function conditionOf(query: TagQuery, read: TaggedRead | undefined): AppendCondition {
  const known = new Set<StoredEvent>()
  for (const { event, id } of read?.events ?? []) if (id === undefined) known.add(event)
  return { ...query, after: read?.after ?? null, ...(known.size === 0 ? {} : { known }) }
}

/** Events that belong to no aggregate, in a stream of their own. @throws `TypeError` for what was not made by a definition */
function storable(decided: unknown): DomainEvent[] {
  if (!Array.isArray(decided)) {
    if (decided instanceof Promise) decided.catch(() => undefined)
    throw new TypeError(
      `A decision must give a list of events, at once: it gave ${decided instanceof Promise ? 'a promise' : String(decided)}`,
    )
  }
  const originatorId = randomId()
  return decided.map((event: unknown, index) => {
    const definition = typeof event === 'object' && event !== null ? definitionOfEvent(event) : undefined
    if (definition === undefined) {
      throw new TypeError('A decision must give events that definitions make: Definition({ … }), as it is')
    }
    const own = Object.entries(definition.personal ?? {}).find(([, about]) => about === true)
    if (own !== undefined) {
      throw new TypeError(
        `Cannot decide ${definition.name} from facts: its '${own[0]}' is about the originator, and such events have a stream of their ` +
          `own. Name the field with the person's id: personal: { ${own[0]}: 'student' }`,
      )
    }
    const { data } = event as NamedEvent<string, Record<string, unknown>> // made by a definition
    return newEvent(shapesOfFacts(definition), {
      eventName: definition.name,
      originatorId,
      originatorVersion: index + 1,
      data,
    })
  })
}

// Array.isArray does not narrow a readonly list out of the union.
function isList(unless: Unless | readonly Unless[]): unless is readonly Unless[] {
  return Array.isArray(unless)
}

/** An application as far as its tags go. */
export interface TaggedApplication {
  /** Reads events. */
  eventStore(): Promise<EventStore>
  /** Has the log, and the tags. */
  readonly recorder: Pick<ApplicationRecorder, 'selectNotifications' | 'addTags'>
}

/** What was done. */
interface BackfillCounts {
  /** Events of the log. */
  read: number
  /** Those that have tags, now or before. */
  tagged: number
}

const backfillPageSize = 500

/**
 * Reads the log from its beginning, and adds the tags that events have by the definitions of today. It may run while others write, and
 * again. Erased values give no tags.
 *
 * @param kinds - classes of aggregates, deciders, and definitions of events of whatever stream
 * @param onPage - called after each page, with the counts up to there
 * @throws `NotSupportedError` where the recorder keeps no tags; what reading an event and its tags throws
 */
export async function backfillTags(
  application: TaggedApplication,
  kinds: ReadonlyArray<SnapshotKind | EventDeclaration>,
  onPage: (counts: BackfillCounts) => void = () => undefined,
): Promise<BackfillCounts> {
  const store = await application.eventStore()
  const { recorder } = application
  if (recorder.addTags === undefined) throw new NotSupportedError('Could not add tags: the recorder has no addTags().')
  const shapes = kinds.map((kind) => ('validatesOnRead' in kind ? shapesOfFacts(kind) : shapesOf(kind)))
  const counts: BackfillCounts = { read: 0, tagged: 0 }
  for (let position: bigint | null = null; ; ) {
    const page = await recorder.selectNotifications(position, backfillPageSize, { inclusiveOfStart: false })
    const events = await store.toDomainEvents(page)
    const tagged = page.flatMap(({ id }, index) => {
      const tags = textsOf(store, shapes, events[index])
      return tags.length === 0 ? [] : [{ id, tags }]
    })
    await recorder.addTags(tagged)
    counts.read += page.length
    counts.tagged += tagged.length
    onPage(counts)
    position = page.at(-1)?.id ?? null
    if (position === null) return counts
  }
}

function textsOf(store: EventStore, all: readonly EventShapes[], event: DomainEvent | undefined): string[] {
  if (event === undefined) return []
  const { topic, originatorVersion, originatorId } = event
  for (const shapes of all) {
    const name = shapes.nameOf(topic)
    if (name === undefined) continue
    const { data, personal } = presentEvent(event, shapeOf(shapes, name))
    const attempted = `tag ${topic}, version ${originatorVersion} of ${originatorId}`
    const tags = eventTags({ tagsOf: shapes.tagsOf(name), data, personal, attempted })
    if (tags !== undefined) return store.tagTexts.of(tags)
  }
  return []
}
