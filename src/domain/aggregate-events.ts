/** Which events a class of aggregates has: read from its decorators and its static members, once per class. */
import { classOf, eventStaticsOf, initialVersionOf, lineOf, ownBodies, topicsOfClass } from './aggregate-statics.js'
import type { EventData } from './event.js'
import { argumentsOfEvent, type Signature } from './event-data.js'
import { checkEventName, type EventDeclaration } from './event-definition.js'
import type { EventShapes } from './event-shapes.js'
import { checkFields, type PersonalFields } from './personal-data.js'
import { checkSnapshotPolicy } from './snapshot-policy.js'
import type { Timestamp } from './timestamp.js'
import { namesOfTopics } from './topic.js'

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
      const result: unknown = Reflect.apply(body, aggregate, argumentsOfEvent(parameterNames, data, timestamp))
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
