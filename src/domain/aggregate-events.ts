/** Which events a class of aggregates has: read from its decorators and its static members, and those of the classes that it extends, once per class. */
import { argumentsOfEvent, type EventData, type Signature } from './event.js'
import { assertPlainFunction, checkEventName, type EventDeclaration, isEventDefinition } from './event-definition.js'
import type { EventShapes, Upcast, Upcasts } from './event-shapes.js'
import { copied } from './kept-values.js'
import { type FormerTopics, namesOfTopics } from './names.js'
import { checkFields, type PersonalData, type PersonalFields } from './personal-data.js'
import { checkSnapshotPolicy, type SnapshotPolicy } from './snapshot-policy.js'
import type { TagsOf } from './tags.js'
import type { Timestamp } from './timestamp.js'

/** An event, and where it is declared. */
export interface DeclaredEvent extends Signature {
  readonly name: string
  /** Undefined where only a name was given. */
  readonly definition?: EventDeclaration | undefined
  /** Whether it ends its aggregate, as the decorator says; default as the definition says. */
  readonly ends?: boolean
}

/** A method or setter that an event was declared on. */
export interface MethodEvent extends DeclaredEvent {
  readonly body: (...args: unknown[]) => unknown
}

/** The event that a decorated constructor triggers. */
export interface CreationEvent extends DeclaredEvent {
  /** The prototype of the class whose constructor is decorated. */
  readonly owner: object
}

/** Changes an aggregate in the way that an event of one name asks for. */
export interface EventHandler {
  readonly name: string
  /** For messages, such as `Dog.addTrick`. */
  readonly label: string
  readonly definition: EventDeclaration | undefined
  readonly ends: boolean
  readonly parameterNames: readonly string[]
  /** @throws `TypeError` for an asynchronous body, and whatever the body throws */
  apply(aggregate: object, data: EventData, timestamp: Timestamp): unknown
}

/** Everything about the events of one class. */
export interface AggregateEvents extends EventShapes {
  readonly className: string
  /** The version of a new aggregate. */
  readonly initialVersion: number
  /** The event of the decorated constructor; undefined where no class of the line is decorated. */
  readonly creation: CreationEvent | undefined
  readonly handlers: ReadonlyMap<string, EventHandler>
  /** Why the constructor cannot be repeated from an event; undefined when it can. */
  readonly constructorProblem: string | undefined
}

/** The name of the event that a class without a decorated constructor triggers. */
export const defaultCreationName = 'Created'

const methodEvents = new WeakMap<object, MethodEvent>()
const creationEvents = new WeakMap<object, CreationEvent>()
const known = new WeakMap<object, AggregateEvents>()

/** Marks a function as the one that triggers an event where a class has it as a method or setter. */
export function markMethod(trigger: object, event: MethodEvent): void {
  methodEvents.set(trigger, event)
}

/** Whether a function was marked so. */
export function isMarked(method: object): boolean {
  return methodEvents.has(method)
}

/**
 * Marks the constructor of a class as decorated.
 *
 * @throws `TypeError` when it is decorated already, or the class has two events of one name
 */
export function markConstructor(event: CreationEvent): void {
  if (creationEvents.has(event.owner)) {
    throw new TypeError(`The constructor of ${event.label} has more than one @event decorator`)
  }
  creationEvents.set(event.owner, event)
  decoratedHandlers(event.owner, event.label)
}

/**
 * The events of a class, inherited ones included.
 *
 * @param prototype - the class's prototype, which a class and its decorated replacement share
 * @throws `TypeError` when the class declares two events of one name or static members that cannot be used
 */
export function eventsOf(prototype: object): AggregateEvents {
  let events = known.get(prototype)
  if (events === undefined) {
    events = readEvents(prototype)
    known.set(prototype, events)
  }
  return events
}

function readEvents(prototype: object): AggregateEvents {
  const line = lineOf(prototype)
  const aggregateClass = classOf(prototype)
  const className = aggregateClass.name
  const handlers = new Map<string, EventHandler>()
  for (const member of line.toReversed()) {
    for (const handler of ownHandlers(member)) handlers.set(handler.name, handler)
  }
  const owner = line.find((member) => creationEvents.has(member))
  const creation = owner === undefined ? undefined : creationEvents.get(owner)
  if (creation !== undefined && handlers.has(creation.name)) throw alreadyDefined(className, creation.name)
  const { topic, formerTopics } = topicsOfClass(aggregateClass)
  checkSnapshotPolicy(Reflect.get(aggregateClass, 'snapshots'), `${className}.snapshots`)
  const isKnown = (name: string): boolean =>
    handlers.has(name) || name === (creation === undefined ? defaultCreationName : creation.name)
  const { upcasts, personal, definitions, tags } = eventStaticsOf(line, isKnown)
  const definitionOf = (name: string): EventDeclaration | undefined =>
    definitions.get(name) ?? (name === creation?.name ? creation.definition : handlers.get(name)?.definition)
  const parameterNamesOf = (name: string): readonly string[] =>
    (name === creation?.name ? creation : handlers.get(name))?.parameterNames ?? []
  return {
    className: className || topic,
    topic,
    formerTopics,
    initialVersion: initialVersionOf(aggregateClass),
    creation,
    handlers,
    constructorProblem: constructorProblem(line, owner),
    upcastsOf: (name) => upcasts.get(name),
    definitionOf,
    personalOf: marksOf(className, { statics: personal, definitionOf, parameterNamesOf }),
    tagsOf: (name) => tags.get(name) ?? definitionOf(name)?.tags,
    endings: new Set(
      [...handlers.keys()].filter((name) => handlers.get(name)?.ends === true || definitionOf(name)?.ends === true),
    ),
    nameOf: namesOfTopics({ topic, formerTopics }, isKnown),
  }
}

interface Marks {
  readonly statics: ReadonlyMap<string, PersonalFields>
  readonly definitionOf: (eventName: string) => EventDeclaration | undefined
  readonly parameterNamesOf: (eventName: string) => readonly string[]
}

/** The personal fields of events: what definitions and classes say, together. @throws `TypeError`, here, for marks that fit no event */
function marksOf(className: string, marks: Marks): (eventName: string) => PersonalFields | undefined {
  const { statics, definitionOf, parameterNamesOf } = marks
  const merged = new Map<string, PersonalFields>()
  for (const [name, fields] of statics) {
    const names = parameterNamesOf(name)
    const all = { ...definitionOf(name)?.personal, ...fields }
    merged.set(name, checkFields(all, `${className}.personal.${name}`, names.length === 0 ? undefined : names))
  }
  return (name) => merged.get(name) ?? definitionOf(name)?.personal
}

function ownHandlers(prototype: object): EventHandler[] {
  const aggregateClass = classOf(prototype)
  const handlers = decoratedHandlers(prototype, aggregateClass.name)
  for (const [name, body] of ownBodies(aggregateClass)) {
    if (handlers.some((handler) => handler.name === name)) throw alreadyDefined(aggregateClass.name, name)
    const label = `${aggregateClass.name}.events.${name}`
    handlers.push(handlerOf({ name: checkEventName(name), label, parameterNames: [], body }))
  }
  return handlers
}

function decoratedHandlers(prototype: object, className: string): EventHandler[] {
  const creationName = creationEvents.get(prototype)?.name
  const handlers: EventHandler[] = []
  for (const key of Reflect.ownKeys(prototype)) {
    const descriptor: object = Object.getOwnPropertyDescriptor(prototype, key) ?? {}
    const member: unknown = Reflect.get(descriptor, 'set') ?? Reflect.get(descriptor, 'value')
    const event = typeof member === 'function' ? methodEvents.get(member) : undefined
    if (event === undefined) continue
    const isTaken = event.name === creationName || handlers.some((handler) => handler.name === event.name)
    if (isTaken) throw alreadyDefined(className, event.name)
    handlers.push(handlerOf({ ...event, label: `${className}.${event.label}` }))
  }
  return handlers
}

function handlerOf({ name, label, parameterNames, definition, body, ends = false }: MethodEvent): EventHandler {
  return {
    name,
    label,
    definition,
    ends,
    parameterNames,
    apply(aggregate, data, timestamp) {
      const args = parameterNames.length === 0 ? [copied(data)] : argumentsOfEvent(parameterNames, data, timestamp)
      const result: unknown = Reflect.apply(body, aggregate, args)
      if (!(result instanceof Promise)) return result
      // Its failure, if any, is of no interest beside the mistake reported here.
      result.catch(() => undefined)
      throw new TypeError(
        `${label} is asynchronous: look things up before, and let the event's body only change the aggregate`,
      )
    },
  }
}

function constructorProblem(line: readonly object[], owner: object | undefined): string | undefined {
  const undecorated = owner === undefined ? line : line.slice(0, line.indexOf(owner))
  const odd = undecorated.map(classOf).find((aggregateClass) => aggregateClass.length > 0)
  if (odd === undefined) return undefined
  return (
    `The constructor of ${odd.name} has parameters, and no event keeps them: decorate the class with ` +
    `@event('Registered', 'name', …), or give it a constructor without parameters and use ${odd.name}.create(…)`
  )
}

/** Says that a class has two events of one name. */
export function alreadyDefined(className: string, eventName: string): TypeError {
  return new TypeError(`The event '${eventName}' of ${className || 'a class'} is already defined: choose another name`)
}

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
function lineOf(prototype: object): object[] {
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
function classOf(prototype: object): NewableFunction {
  const aggregateClass: NewableFunction = Reflect.get(prototype, 'constructor')
  return aggregateClass
}

/** The bodies in a class's own `static events`, by name. @throws `TypeError` for what is no function, or works later */
function ownBodies(aggregateClass: NewableFunction): Array<[string, (...args: unknown[]) => unknown]> {
  return Object.entries(Object(ownStatic(aggregateClass, 'events')) as object).map(([name, body]) => {
    assertPlainFunction(body, `${aggregateClass.name}.events.${name}`)
    return [name, body]
  })
}

/** The names that a class gives itself and its events in the store. @throws `TypeError` for a class without a name */
function topicsOfClass(aggregateClass: NewableFunction): {
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
function initialVersionOf(aggregateClass: NewableFunction): number {
  const version: unknown = Reflect.get(aggregateClass, 'initialVersion') ?? 1
  if (Number.isSafeInteger(version) && (version as number) >= 0) return version as number // just checked
  throw new TypeError(`${aggregateClass.name}.initialVersion must be a whole number from 0, not ${String(version)}`)
}

/** What a line of classes says about single events. */
interface EventStatics {
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
function eventStaticsOf(line: readonly object[], isKnown: (name: string) => boolean): EventStatics {
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
