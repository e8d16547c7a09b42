/** Definitions of reactions: names with handlers that act on what was stored, once for each event, and on timers that are due. */
import { following } from '../application/application-subscription.js'
import { anything, callable, checkOptions, flag, listOf, type OptionTypesOf } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { queriedTags } from '../domain/tags.js'
import { ProgrammingError } from '../errors.js'
import { reactionVersion } from '../persistence/projection-recorder.js'
import { outsideOfTransactions } from '../transaction/context.js'
import {
  type FiredTimer,
  type ProjectedEvent,
  type ProjectionHandler,
  projected,
  type TimerHandler,
} from './handlers.js'
import {
  applierOf,
  checkedKeyOf,
  checkNumbers,
  type OutsideWork,
  originatorIdOf,
  type Projection,
  type ProjectionOptions,
  type ReactionTraits,
  topicsOf,
} from './projection.js'

/** What a reaction is made from. */
export interface ReactionOptions extends Pick<ProjectionOptions, 'name' | 'onError' | 'key' | 'partitions' | 'tags'> {
  /**
   * Where it begins when nobody has run it yet: `now`, the default, behind what is stored when a runner with it starts for the first time, which
   * is kept in the database; or `start`, with the first event of the log, so that it acts on all of the past.
   */
  readonly from?: 'now' | 'start'
  /** Handlers of events, as `on` and `of` give them, and of timers, as `onTimer` does; and lists of them. */
  readonly on: ProjectionOptions['on']
  /**
   * False for work outside of the database, such as a mail: handlers run one event at a time outside of any transaction, and the position moves
   * when they have succeeded. So each event is handled at least once: after a crash in between, once more, with the same `id`.
   * Default true: what handlers save and write is stored with the position in one transaction, exactly once.
   */
  readonly transaction?: boolean
}

const optionTypes: OptionTypesOf<ReactionOptions> = {
  name: anything,
  on: listOf(anything, 'a list of handlers, as on(…) gives them'),
  onError: anything,
  key: callable,
  partitions: anything,
  tags: anything,
  from: anything,
  transaction: flag,
}

/** A reaction: made by `defineReaction`, for the `projections` of a `ProjectionRunner`. */
export interface Reaction extends Projection {
  readonly reaction: ReactionTraits
}

/**
 * Defines a reaction: what is done after an event was stored. It goes into the `projections` of a `ProjectionRunner`. Its handlers may call
 * methods of applications and the client of the datastore: events, rows and the position are stored in one transaction, and the events
 * have the `causationId` and `correlationId` that follow from the one that is handled. No rebuild runs it again.
 *
 * @throws `TypeError` for tags that are none
 * @throws `ProgrammingError` for a name, number of partitions or `from` that cannot be, and where it has no handlers
 *
 * @example
 * export const billing = defineReaction({
 *   name: 'billing',
 *   on: [on(Order, Placed, async ({ data }) => await accounts.bill(data.customer, data.total))],
 * })
 */
export function defineReaction(options: ReactionOptions): Reaction {
  checkOptions(() => `define the reaction ${options.name}`, options, optionTypes)
  const handlers = (options.on ?? []).flat()
  if (handlers.length === 0) throw cannot(options.name, 'it has no handlers')
  const { events, timers } = withoutTimers(options.name, handlers)
  const outside: OutsideWork | undefined = options.transaction === false ? oneByOne(events) : undefined
  const topics = events.length === 0 ? [noTopic] : topicsOf(events)
  return reactionOf(options, { handlers: events, topics, outside, timers })
}

/** An event as it is stored, which `readEvent` brings into its present shape, with its place in the log. */
export type PagedEvent = DomainEvent & Pick<ProjectedEvent, 'position' | 'id'>

/** What a reaction to whole pages is made from. */
export interface PageReactionOptions extends Omit<ReactionOptions, 'on' | 'transaction'> {
  /**
   * Handles the next events of the log as they are stored, all of them and in order, outside of any transaction; the position moves when it has succeeded, and
   * else they come again, in smaller pages. The signal aborts when the runner stops.
   */
  readonly handlePage: (events: readonly PagedEvent[], signal: AbortSignal) => Promise<void>
  /** How many events a page has at most; default as many as a batch of the runner. */
  readonly maxEvents?: number
  /** Whether a failure has nothing to do with an event, such as a broker that cannot be reached: it is repeated for ever, with a back-off. */
  readonly mayPass?: (error: unknown) => boolean
}

/** Defines a reaction that is given pages of events, as they are stored, outside of any transaction: what a relay is. */
export function definePageReaction({ handlePage, maxEvents, mayPass, ...options }: PageReactionOptions): Reaction {
  const outside: OutsideWork = {
    maxEvents: maxEvents ?? Number.POSITIVE_INFINITY,
    mayPass,
    handle: async (events, log, signal) => {
      const given = events.map(({ event, position }) => ({
        ...event,
        position,
        id: projected(event, position, log).id,
      }))
      await outsideOfTransactions(async () => await handlePage(given, signal))
    },
  }
  return reactionOf(options, { handlers: [], topics: undefined, outside, timers: [] })
}

/** What no event is stored under: a reaction to timers alone is given none. */
const noTopic = 'timers alone'

interface ReactionParts {
  readonly handlers: readonly ProjectionHandler[]
  readonly topics: readonly string[] | undefined
  readonly outside: OutsideWork | undefined
  readonly timers: readonly TimerHandler[]
}

function reactionOf(
  options: Omit<ReactionOptions, 'on'>,
  { handlers, topics, outside, timers }: ReactionParts,
): Reaction {
  const { name, from = 'now', onError = 'block', partitions = 1, key, tags } = options
  checkNumbers({ name, onError, partitions })
  if (from !== 'now' && from !== 'start') throw cannot(name, "`from` is 'now' or 'start'")
  return Object.freeze({
    name,
    version: reactionVersion,
    models: [],
    onError,
    partitions,
    topics,
    tags: tags === undefined ? undefined : queriedTags(tags, `define the reaction ${name}`),
    handlers,
    rows: undefined,
    keyOf: key === undefined ? originatorIdOf : checkedKeyOf(name, key),
    empty: undefined,
    apply: applierOf(handlers, following),
    reaction: { from, outside, timers },
  })
}

function oneByOne(handlers: readonly ProjectionHandler[]): OutsideWork {
  const apply = applierOf(handlers, (event, handle) => outsideOfTransactions(() => following(event, handle)))
  return { maxEvents: 1, isAttended: true, handle: async (events, log) => void (await apply(events, { log })) }
}

function cannot(name: string, why: string): ProgrammingError {
  return new ProgrammingError(`Could not define the reaction '${name}': ${why}.`)
}

/** A handler of timers, in `on` of a reaction. */
export interface TimedHandler extends ProjectionHandler {
  readonly timer: TimerHandler
}

/**
 * Handles the timers of one topic that `application.timers.set` has set, when they are due. It stands in `on: [...]` of a reaction. In one
 * transaction the timer is deleted and the handler is run: what it saves and writes is stored exactly once. Where it fails, the timer is tried
 * again as events are, and put aside in the end; others do not wait for it.
 *
 * @typeParam Data - what the timers of this topic are set with
 *
 * @example
 * onTimer<{ order: string }>('payment is late', async ({ data }) => await shop.execute(fulfilment, data.order, 'giveUp'))
 */
export function onTimer<Data = unknown>(topic: string, handle: (timer: FiredTimer<Data>) => unknown): TimedHandler {
  if (typeof topic !== 'string' || topic === '' || typeof handle !== 'function') {
    throw new ProgrammingError('Could not make a handler of timers: onTimer() takes a topic and a function.')
  }
  return {
    topics: [],
    read: () => undefined,
    handle: () => undefined,
    timer: { topic, handle: handle as TimerHandler['handle'] }, // whoever sets them gives such data
  }
}

/**
 * The handlers of timers among others, and the rest.
 *
 * @throws `ProgrammingError` where two take one topic
 */
function withoutTimers(
  name: string,
  handlers: readonly ProjectionHandler[],
): { readonly events: readonly ProjectionHandler[]; readonly timers: readonly TimerHandler[] } {
  const timed = handlers.filter((handler) => handler.timer !== undefined)
  const timers = timed.flatMap(({ timer }) => (timer === undefined ? [] : [timer]))
  const topics = timers.map(({ topic }) => topic)
  const twice = topics.find((topic, index) => topics.indexOf(topic) !== index)
  if (twice === undefined) return { events: handlers.filter(({ timer }) => timer === undefined), timers }
  throw new ProgrammingError(
    `Could not define the reaction '${name}': two of its handlers take the timers of '${twice}'. Give each timer one handler.`,
  )
}
