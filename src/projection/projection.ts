/** Definitions of projections: names with handlers that build rows from a log. */
import { anything, callable, checkOptions, having, listOf, type OptionTypesOf, text } from '../checked-options.js'
import type { DomainEvent } from '../domain/event.js'
import { isStorableText } from '../domain/names.js'
import { queriedTags, type Tag, type Tags } from '../domain/tags.js'
import { ProgrammingError } from '../errors.js'
import {
  type ApplyEvents,
  type PositionedEvent,
  type ProjectedEvent,
  type ProjectionHandler,
  projected,
  type TimerHandler,
} from './handlers.js'
import type { RowsFold } from './rows.js'

/** What a projection is made from. */
export interface ProjectionOptions {
  /** Its name, by which its position is kept: 1 to 100 letters, digits, `_`, `-` and `.`. */
  readonly name: string
  /** From 1, the default. A greater one is built anew, and from then on no runner of a lower one changes anything. */
  readonly version?: number
  /** The Prisma models that it writes, by their names: what a rebuild empties, in reverse order. Default: those of its `rows`. */
  readonly models?: readonly string[]
  /** Handlers, and lists of them. Those that take one event are run in this order. */
  readonly on: ReadonlyArray<ProjectionHandler | readonly ProjectionHandler[]>
  /** How rows are folded: what `rows(…)` gives. */
  readonly rows?: RowsFold
  /**
   * What becomes of an event that its handlers fail on again and again: `block`, the default, stops this projection there; `park`
   * puts it aside, and after it those with the same key, until `retry`.
   */
  readonly onError?: 'block' | 'park'
  /** Events with the same key are handled in order; default the originator's id. */
  readonly key?: (event: Pick<DomainEvent, 'originatorId' | 'topic' | 'data' | 'metadata'>) => string
  /** How many parts of it can be worked on at the same time; default 1. */
  readonly partitions?: number
  /**
   * Only events that have all of these tags, at least one; default all that its handlers take. Other tags make other rows: give it a
   * greater `version` with them. A log from elsewhere, the option `source` of a runner, has no tags.
   */
  readonly tags?: Tags
}

/** Numbers and names are checked one by one. */
const optionTypes: OptionTypesOf<ProjectionOptions> = {
  name: anything,
  version: anything,
  models: listOf(text, "a list of the names of models, such as ['Owner']"),
  on: listOf(anything, 'a list of handlers, as on(…) gives them'),
  rows: having('apply', 'what rows(…) gives, spread into the options'),
  onError: anything,
  key: callable,
  partitions: anything,
  tags: anything,
}

/** A projection: made by `defineProjection`, for a `ProjectionRunner` or for the option `inline` of an application. */
export interface Projection {
  /** By it its position is kept. */
  readonly name: string
  /** From 1; a greater one is built anew. */
  readonly version: number
  /** The Prisma models that it writes. */
  readonly models: readonly string[]
  /** What becomes of an event that fails again and again. */
  readonly onError: 'block' | 'park'
  /** How many parts of it can be worked on at the same time. */
  readonly partitions: number
  /** The topics that it takes; undefined where any may be one. */
  readonly topics: readonly string[] | undefined
  /** Those that its events have, all of them; undefined where it takes events whatever their tags. */
  readonly tags: readonly Tag[] | undefined
  /** In the order in which they are run. */
  readonly handlers: readonly ProjectionHandler[]
  /** How its rows are folded; undefined for the free form. */
  readonly rows: RowsFold | undefined
  /** The key of an event. */
  readonly keyOf: (event: DomainEvent) => string
  /** Deletes all its rows, by the client of the current transaction; undefined where its models are not known. */
  readonly empty: ((client: unknown) => Promise<void>) | undefined
  /** Handles events in order, in the current transaction. */
  readonly apply: ApplyEvents
  /** What makes it a reaction, as `defineReaction` does; undefined for what builds rows. */
  readonly reaction?: ReactionTraits | undefined
}

/** What a reaction has beyond a projection. */
export interface ReactionTraits {
  /** Where it begins when nobody has run it: at the end of the log as it is then, or at the beginning. */
  readonly from: 'now' | 'start'
  /** What it does outside of transactions; undefined where its handlers run in the transaction of the batch. */
  readonly outside: OutsideWork | undefined
  /** The timers that it takes. */
  readonly timers: readonly TimerHandler[]
}

/** Handles events outside of any transaction, at least once: the position moves when it has succeeded. */
export interface OutsideWork {
  /** How many events it is given at once, at most. */
  readonly maxEvents: number
  /**
   * Handles events in order; what it throws has them handled again.
   *
   * @param log - the name of the log that they are of
   * @param signal - aborts when the runner stops: events that are given up then are handled again by the next one
   */
  readonly handle: (events: readonly PositionedEvent[], log: string, signal: AbortSignal) => Promise<void>
  /** Whether a failure has nothing to do with an event: it is repeated for ever then. Beside those of the database. */
  readonly mayPass?: ((error: unknown) => boolean) | undefined
  /** Whether calls that it does not await are reported, as those of handlers; default false, since publishing to a broker in this process runs its consumers. */
  readonly isAttended?: boolean
}

/**
 * Defines a projection.
 *
 * @throws `TypeError` for tags that are none
 * @throws `ProgrammingError` for a name, version or number of partitions that cannot be, and where it has no handlers
 *
 * @example
 * export const owners = defineProjection({
 *   name: 'owners',
 *   models: ['Owner'],
 *   on: [on(Dog, Registered, async ({ originatorId, data }) => await db.owner.create({ data: { dog: originatorId, name: data.name } }))],
 * })
 */
export function defineProjection(options: ProjectionOptions): Projection {
  checkOptions(() => `define the projection ${options.name}`, options, optionTypes)
  checkNumbers(options)
  const { name, version = 1, partitions = 1, onError = 'block', rows } = options
  const handlers = (options.on ?? []).flat()
  if (handlers.length === 0) throw cannot(name, 'it has no handlers')
  if (handlers.some(({ timer }) => timer !== undefined)) throw cannot(name, 'onTimer() stands in defineReaction()')
  return Object.freeze({
    name,
    version,
    models: options.models ?? [],
    onError,
    partitions,
    topics: topicsOf(handlers),
    tags: options.tags === undefined ? undefined : queriedTags(options.tags, `define the projection ${name}`),
    handlers,
    rows,
    keyOf: options.key === undefined ? originatorIdOf : checkedKeyOf(name, options.key),
    apply: rows?.apply ?? applierOf(handlers),
    reaction: undefined,
    empty: emptierOf(options),
  })
}

/** @throws `ProgrammingError` for what cannot be */
export function checkNumbers({
  name,
  version = 1,
  partitions = 1,
  onError = 'block',
}: Pick<ProjectionOptions, 'name' | 'version' | 'partitions' | 'onError'>): void {
  if (typeof name !== 'string' || !/^[\w.-]{1,100}$/.test(name)) {
    throw cannot(name, "its name has 1 to 100 letters, digits, '_', '-' and '.'")
  }
  if (!Number.isSafeInteger(version) || version < 1 || version > 2 ** 31 - 1) {
    throw cannot(name, 'its version is a whole number from 1')
  }
  if (!Number.isSafeInteger(partitions) || partitions < 1 || partitions > 1024) {
    throw cannot(name, 'it has 1 to 1,024 partitions')
  }
  if (onError !== 'block' && onError !== 'park') throw cannot(name, "onError is 'block' or 'park'")
}

/** Undefined where any may be one. */
export function topicsOf(handlers: readonly ProjectionHandler[]): readonly string[] | undefined {
  if (handlers.some(({ topics }) => topics === undefined)) return undefined
  return [...new Set(handlers.flatMap(({ topics }) => topics ?? []))]
}

/** What MariaDB keeps of one. */
const longestKey = 255

/** A function that gives the keys of events, whose texts are checked: one that cannot be kept would be at fault when an event is put aside. */
export function checkedKeyOf(name: string, keyOf: Projection['keyOf']): Projection['keyOf'] {
  return (event) => {
    const key: unknown = keyOf(event)
    if (typeof key === 'string' && key.length <= longestKey && isStorableText(key)) return key
    throw new TypeError(
      `The key of ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}, in '${name}' has to be a text of up to ${longestKey} ` +
        `characters without a NUL, not ${typeof key === 'string' ? JSON.stringify(key.slice(0, 100)) : String(key)}. Mend the option \`key\`.`,
    )
  }
}

/** The key of events where nothing else is said. */
export function originatorIdOf({ originatorId }: DomainEvent): string {
  return originatorId
}

/** Deletes the rows of models, of the last one first, since they may refer to those before. */
function emptierOf({ name, models, rows }: ProjectionOptions): Projection['empty'] {
  if (models === undefined) return rows?.empty
  return async (client) => {
    const delegates = client as Readonly<Record<string, { deleteMany?: () => PromiseLike<unknown> } | undefined>>
    for (const model of models.toReversed()) {
      const delegate = delegates[`${model.charAt(0).toLowerCase()}${model.slice(1)}`]
      if (typeof delegate?.deleteMany !== 'function') {
        throw new ProgrammingError(
          `Could not empty the models of projection '${name}': the client has no model '${model}'.`,
        )
      }
      await delegate.deleteMany()
    }
  }
}

function cannot(name: string, why: string): ProgrammingError {
  return new ProgrammingError(`Could not define the projection '${name}': ${why}.`)
}

/** Handles events one by one. @param around - runs the handlers of each */
export function applierOf(
  handlers: readonly ProjectionHandler[],
  around?: (event: ProjectedEvent, handle: () => unknown) => unknown,
): Projection['apply'] {
  return async (events, { log, isOver = () => false } = {}) => {
    let handled = 0
    for (const { event, position } of events) {
      for (const { read, handle } of handlers) {
        const present = read(event)
        if (present === undefined) continue
        const given = projected(present, position, log)
        // In order, since an event may build on the rows of the one before.
        await (around === undefined ? handle(given) : around(given, () => handle(given)))
      }
      handled += 1
      if (isOver()) break
    }
    return handled
  }
}
