/** The static members of a class of aggregates, and of the classes that it extends. */
import { type EventDeclaration, isEventDefinition } from './event-definition.js'
import { checkFields, type PersonalData, type PersonalFields } from './personal-data.js'
import { assertPlainFunction } from './plain-function.js'
import type { SnapshotPolicy } from './snapshot-policy.js'
import type { TagsOf } from './tags.js'
import type { FormerTopics } from './topic.js'
import type { Upcast, Upcasts } from './upcasting.js'

/** The static members that a class of aggregates may have. The base class has none of them, so none needs `override`. */
export interface AggregateStatics {
  /** The first part of the topics of this very class's events; default the class's name. Not inherited. */
  readonly topic?: string
  /** Topics that stored events of this very class may have from earlier times. Not inherited. */
  readonly formerTopics?: FormerTopics
  /** The version of a new aggregate, a whole number from 0; default 1. */
  readonly initialVersion?: number
  /**
   * For events whose data had another shape before: by name, functions that turn the data of version 1 into that of version 2,
   * of 2 into 3, and so on. A subclass adds to them or overrides them.
   */
  readonly upcasts?: Upcasts
  /** When snapshots are taken, and which of them are good. */
  readonly snapshots?: SnapshotPolicy
  /**
   * Which fields of events are about a person: by the event's name, what `personal` of a definition is. A subclass adds to
   * them or overrides them.
   */
  readonly personal?: PersonalData
  /**
   * Which tags events have: by the event's name, what `tags` of a definition is. A subclass adds to them or overrides them.
   */
  readonly tags?: object
  /** Definitions of the events in `events`, which are found by their names; a subclass adds to them or overrides them. */
  readonly definitions?: readonly EventDeclaration[]
  /** The bodies of events by name, for classes without decorators; a subclass adds to them or overrides them. */
  readonly events?: object
  /**
   * Makes a new aggregate's id; default a random UUID. Write one for ids that follow from a name, e.g. by `uuid5`.
   *
   * @param args - the arguments of the constructor, or the data given to `create`
   * @returns at once: an asynchronous function is refused
   */
  createId?(...args: never[]): string
}

/** The prototypes from a class up to the one below Object's. */
export function lineOf(prototype: object): object[] {
  const line: object[] = []
  for (
    let member: object | null = prototype;
    member !== null && member !== Object.prototype;
    member = Object.getPrototypeOf(member)
  ) {
    line.push(member)
  }
  return line
}

/** The class of a prototype, or the replacement that `@event` put in its place. */
export function classOf(prototype: object): NewableFunction {
  const aggregateClass: NewableFunction = Reflect.get(prototype, 'constructor')
  return aggregateClass
}

/** The bodies in a class's own `static events`, by name. @throws `TypeError` for what is no function, or works later */
export function ownBodies(aggregateClass: NewableFunction): Array<[string, (...args: unknown[]) => unknown]> {
  return Object.entries(Object(ownStatic(aggregateClass, 'events')) as object).map(([name, body]) => {
    assertPlainFunction(body, `${aggregateClass.name}.events.${name}`)
    return [name, body]
  })
}

/** The names that a class gives itself and its events in the store. @throws `TypeError` for a class without a name */
export function topicsOfClass(aggregateClass: NewableFunction): {
  topic: string
  formerTopics: FormerTopics | undefined
} {
  const topic = ownStatic(aggregateClass, 'topic') ?? aggregateClass.name
  const formerTopics = ownStatic(aggregateClass, 'formerTopics') as FormerTopics | undefined // typed by AggregateStatics
  if (typeof topic === 'string' && topic !== '') return { topic, formerTopics }
  throw new TypeError(
    `A class of aggregates needs a name or a static topic: ${aggregateClass.name || 'an anonymous class'} has none`,
  )
}

/** @throws `TypeError` for what is no version */
export function initialVersionOf(aggregateClass: NewableFunction): number {
  const version: unknown = Reflect.get(aggregateClass, 'initialVersion') ?? 1
  if (Number.isSafeInteger(version) && (version as number) >= 0) return version as number // just checked
  throw new TypeError(`${aggregateClass.name}.initialVersion must be a whole number from 0, not ${String(version)}`)
}

/** What a line of classes says about single events. */
export interface EventStatics {
  readonly upcasts: ReadonlyMap<string, readonly Upcast[]>
  readonly personal: ReadonlyMap<string, PersonalFields>
  readonly definitions: ReadonlyMap<string, EventDeclaration>
  readonly tags: ReadonlyMap<string, TagsOf>
}

/**
 * Reads what the classes say about their events; a subclass adds to its bases, or overrides them.
 *
 * @param line - the prototypes, the class's own first
 * @param isKnown - tells of a name whether the class has such an event
 * @throws `TypeError` for what names no event, or cannot be used
 */
export function eventStaticsOf(line: readonly object[], isKnown: (name: string) => boolean): EventStatics {
  const upcasts = new Map<string, readonly Upcast[]>()
  const personal = new Map<string, PersonalFields>()
  const definitions = new Map<string, EventDeclaration>()
  const tags = new Map<string, TagsOf>()
  for (const aggregateClass of line.toReversed().map(classOf)) {
    const entries = (member: string): Array<[string, unknown]> => {
      const own = Object.entries(Object(ownStatic(aggregateClass, member)) as object)
      for (const [name] of own) assertKnown(aggregateClass, member, name)
      return own
    }
    const assertKnown = (owner: NewableFunction, member: string, name: string): void => {
      if (!isKnown(name)) throw new TypeError(`${owner.name}.${member} names '${name}', which is no event of it`)
    }
    for (const [name, steps] of entries('upcasts'))
      upcasts.set(name, stepsOf(steps, `${aggregateClass.name}.upcasts.${name}`))
    for (const [name, fields] of entries('personal')) {
      const own = checkFields(fields, `${aggregateClass.name}.personal.${name}`)
      personal.set(name, { ...personal.get(name), ...own })
    }
    for (const [name, tagsOf] of entries('tags')) {
      assertPlainFunction(tagsOf, `${aggregateClass.name}.tags.${name}`)
      tags.set(name, tagsOf as TagsOf) // what it takes is for the caller to say
    }
    for (const definition of definitionsOf(aggregateClass)) {
      assertKnown(aggregateClass, 'definitions', definition.name)
      definitions.set(definition.name, definition)
    }
  }
  return { upcasts, personal, definitions, tags }
}

function ownStatic(aggregateClass: NewableFunction, name: string): unknown {
  return Object.hasOwn(aggregateClass, name) ? Reflect.get(aggregateClass, name) : undefined
}

function stepsOf(steps: unknown, label: string): readonly Upcast[] {
  if (Array.isArray(steps) && steps.every((step) => typeof step === 'function')) return steps as Upcast[]
  throw new TypeError(`${label} must be a list of functions, from version 1 to 2 first`)
}

function definitionsOf(aggregateClass: NewableFunction): readonly EventDeclaration[] {
  const definitions = ownStatic(aggregateClass, 'definitions') ?? []
  if (Array.isArray(definitions) && definitions.every(isEventDefinition)) return definitions
  throw new TypeError(`${aggregateClass.name}.definitions must be a list of what defineEvent() gives`)
}
