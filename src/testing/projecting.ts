/** Given some events, then these rows follow: tests of projections of the `rows` form, without a database. */
import { fail } from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { newEvent } from '../domain/event-shapes.js'
import { pinned } from '../domain/kept-values.js'
import { shapesOf } from '../domain/read-event.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { hasAllTags } from '../domain/tags.js'
import { Timestamp } from '../domain/timestamp.js'
import type { ProjectionHandler } from '../projection/handlers.js'
import type { Projection } from '../projection/projection.js'
import type { RowsFold } from '../projection/rows.js'
import { microsecondsOf, nextTime } from './in-memory.js'
import { failure, type ScenarioEvent, type Story } from './scenario-outcome.js'

/** An event as tests of projections write it. */
export interface ProjectedScenarioEvent extends ScenarioEvent {
  /** Its name, such as `TrickAdded`; with its class or decider, `Dog.TrickAdded`, where several have one of that name. */
  readonly type: string
  /** The stream that it is of; default the same for all. */
  readonly originatorId?: string
  /** What stands in its metadata; default none. */
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** A projection, and what it is given. */
export interface ProjectionScenario {
  /** The events of the log, oldest first: as a test writes them, or as an aggregate has them in `pendingEvents`. */
  given(...events: ReadonlyArray<ProjectedScenarioEvent | DomainEvent>): ProjectedRows
}

/** What came of it. */
export interface ProjectedRows {
  /** All rows that there are then, in any order, each with all its columns; none for no rows. Gives itself back. */
  thenRows(...rows: readonly object[]): ProjectedRows
}

const defaultId = '00000000-0000-4000-8000-000000000001'

/**
 * Begins a scenario of a projection whose rows are folded.
 *
 * Columns that the database fills in are not there. An event that the projection does not take is refused, unless it is one of
 * another class: that says whose it is.
 *
 * @throws `AssertionError` for a projection of the free form, whose handlers need their database: run it in `withRollback`
 *
 * @example
 * projecting(counts)
 *   .given({ type: 'Registered', data: { name: 'Fido' }, originatorId: fido }, { type: 'TrickAdded', data: { trick: 'sit' }, originatorId: fido })
 *   .thenRows({ dog: fido, name: 'Fido', tricks: 1 })
 */
export function projecting(projection: Projection): ProjectionScenario {
  const { rows, name, handlers } = projection
  if (rows === undefined) {
    return fail(
      `The projection ${name} writes rows by calls of Prisma. Test it with its database: withRollback(datastore, async () => { … ` +
        'await runner.runOnce() … })',
    )
  }
  return {
    given(...events) {
      const story = { subject: `the projection ${name}`, past: events.map(toldEvent), act: 'its rows are built' }
      const log = logOf(handlers, events).filter((event) => hasAllTags(event, projection.tags ?? []))
      return rowsOf(story, folded(rows, log), rows.unique)
    },
  }
}

function rowsOf(story: Story, actual: readonly object[], unique: string): ProjectedRows {
  const thenRows: ProjectedRows['thenRows'] = (...expected) => {
    const sides = { actual: sorted(actual, unique), expected: sorted(expected, unique) }
    if (isDeepStrictEqual(sides.actual, sides.expected)) return outcome
    throw failure(story, { ...sides, problem: 'There are other rows.', check: thenRows })
  }
  const outcome = { thenRows }
  return outcome
}

function folded(rows: RowsFold, events: readonly DomainEvent[]): object[] {
  const all = new Map<unknown, object | undefined>()
  rows.fold(
    all,
    events.map((event, index) => ({ event, position: BigInt(index + 1) })),
  )
  return [...all.values()].filter((row) => row !== undefined)
}

/** By their keys, and without columns that are undefined: Prisma leaves them out. */
function sorted(rows: readonly object[], unique: string): object[] {
  const keyOf = (row: object): string => String(Reflect.get(row, unique))
  return rows
    .map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)))
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))
}

/** A millisecond between them, the last a millisecond ago; the versions go on in each stream. */
function logOf(
  handlers: readonly ProjectionHandler[],
  events: ReadonlyArray<ProjectedScenarioEvent | DomainEvent>,
): DomainEvent[] {
  const versions = new Map<string, number>()
  const now = microsecondsOf(nextTime())
  return events.map((given, index) => {
    if ('topic' in given) return given
    const { originatorId = defaultId } = given
    const originatorVersion = (versions.get(originatorId) ?? 0) + 1
    versions.set(originatorId, originatorVersion)
    const timestamp = Timestamp.fromMicroseconds(now - (events.length - index) * 1000)
    return madeEvent(handlers, given, { originatorId, originatorVersion, timestamp })
  })
}

function madeEvent(
  handlers: readonly ProjectionHandler[],
  { type, data = {}, classVersion, metadata }: ProjectedScenarioEvent,
  place: Pick<DomainEvent, 'originatorId' | 'originatorVersion' | 'timestamp'>,
): DomainEvent {
  const { kind, topic } = takerOf(handlers, type)
  const eventName = topic.slice(topic.lastIndexOf('.') + 1)
  const more = metadata === undefined ? {} : { metadata }
  if (kind !== undefined && classVersion === undefined) {
    return newEvent(shapesOf(kind), { ...place, ...more, eventName, data: { ...data } })
  }
  const stored = pinned(data, () => `give ${topic}`)
  return domainEvent({
    ...place,
    ...more,
    topic,
    data: { ...stored },
    ...(classVersion === undefined ? {} : { classVersion }),
  })
}

interface Taker {
  readonly kind: SnapshotKind | undefined
  readonly topic: string
}

/** Whose event it is. */
function takerOf(handlers: readonly ProjectionHandler[], type: string): Taker {
  const takers = new Map<string, Taker>()
  for (const { kind, topics = [] } of handlers) {
    const topic = topics.find((known) => known === type || known.endsWith(`.${type}`))
    if (topic !== undefined) takers.set(topic, { kind: kind as SnapshotKind | undefined, topic }) // only its events matter here
  }
  const [taker, other] = takers.values()
  if (taker !== undefined && other === undefined) return taker
  // Of a class that the projection knows nothing of: it passes the event.
  if (taker === undefined && type.includes('.')) return { kind: undefined, topic: type }
  const known = [...new Set(handlers.flatMap(({ topics = [] }) => topics))].join(', ')
  return fail(
    taker === undefined
      ? `The projection takes no event '${type}': it takes ${known}. Write one of another class as 'Class.Event'.`
      : `The projection takes several events '${type}': write which, one of ${[...takers.keys()].join(', ')}.`,
  )
}

function toldEvent(event: ProjectedScenarioEvent | DomainEvent): ScenarioEvent {
  return 'topic' in event ? { type: event.topic, data: event.data } : event
}
