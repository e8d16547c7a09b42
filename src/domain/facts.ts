/** Facts: what a decision beyond one aggregate is made from, folded from the events with certain tags. */
import type { DomainEvent } from './event.js'
import {
  assertPlainFunction,
  checkEventName,
  type EventDeclaration,
  type EventDefinition,
  isEventDefinition,
} from './event-definition.js'
import { type EventShapes, presentEvent } from './event-shapes.js'
import { queriedTags, type Tag, type Tags } from './tags.js'

/** The value after an event: a pure function. */
export type FactsHandler<Value, Data extends object> = (value: Value, data: Data, event: DomainEvent<Data>) => Value

/** Says what the events of one definition do to a value; what `facts` hands to its third argument. */
export type When<Value> = <Input extends object, Data extends object>(
  definition: EventDefinition<string, Input, Data>,
  handler: FactsHandler<Value, Data>,
) => FactsCase<Value>

/** One case of facts, made by `when`. */
export interface FactsCase<Value> {
  /** The definition of the events. */
  readonly definition: EventDeclaration
  /** The value after one of them. A method, so that facts of any value are facts. */
  handle(value: Value, data: never, event: DomainEvent<never>): Value
}

/** How facts are read. */
export interface FactsOptions {
  /**
   * Whether the last of the events is enough, default false: for values that each event says anew, such as the number of the last
   * invoice. Only that one is read.
   */
  readonly onlyLast?: boolean
}

/** A value that follows from the events with all of certain tags; made by `facts`. */
export interface Facts<Value> {
  /** The tags that an event has to have, all of them. */
  readonly tags: readonly Tag[]
  /** The value before the first event. */
  readonly initial: Value
  /** By the name of the event. */
  readonly cases: ReadonlyMap<string, FactsCase<Value>>
  /** Whether only the last event counts. */
  readonly onlyLast: boolean
}

/**
 * Declares what a decision is made from: the events that have all of these tags, whatever stream they are in, and what they come to.
 * Events are known by the names of their definitions. What is read is what is guarded: an event of this kind that somebody else
 * stores before the decision is stored makes it an `AppendConditionError`.
 *
 * @param tags - at least one; `{ invoices: 2026 }` for a rule about all
 * @param initial - the value before the first event
 * @param cases - gives the cases, made by the function that it is given: `(when) => [when(Definition, (value, data) => …)]`
 * @throws `TypeError` without a tag or a case, and for two cases of one event
 *
 * @example
 * const taken = (course: string) => facts({ course }, 0, (when) => [when(StudentSubscribed, (count) => count + 1)])
 */
export function facts<Value>(
  tags: Tags,
  initial: Value,
  cases: (when: When<Value>) => ReadonlyArray<FactsCase<Value>>,
  { onlyLast = false }: FactsOptions = {},
): Facts<Value> {
  const when: When<Value> = (definition, handler) => {
    if (!isEventDefinition(definition)) throw new TypeError('when() takes what defineEvent() gives, and a function')
    assertPlainFunction(handler, `when(${definition.name})`)
    return { definition, handle: handler }
  }
  const byName = new Map<string, FactsCase<Value>>()
  for (const each of cases(when)) {
    const { name } = each.definition
    if (byName.has(name)) throw new TypeError(`Facts have two cases of '${name}': events are known by their names`)
    byName.set(name, each)
  }
  if (byName.size === 0)
    throw new TypeError('Facts need the events that they follow from: (when) => [when(Definition, …)]')
  return Object.freeze({ tags: queriedTags(tags, 'declare facts'), initial, cases: byName, onlyLast })
}

/** The value that events come to. */
export function factsOf<Value>({ initial, cases }: Facts<Value>, events: readonly DomainEvent[]): Value {
  let value = initial
  for (const stored of events) {
    const found = cases.get(nameInTopic(stored.topic))
    if (found === undefined) continue
    const { definition } = found
    const event = presentEvent(stored, { upcasts: undefined, definition, personal: definition.personal })
    // The data are of the definition, which has given them their type.
    value = found.handle(value, event.data as never, event as never)
  }
  return value
}

/** The first part of the topics of events that were decided from facts: they belong to no class. */
const factsTopic = 'Facts'

/** What the events of a definition are like that belong to no class or decider. */
export function shapesOfFacts(definition: EventDeclaration): EventShapes {
  const known = shapesByDefinition.get(definition)
  if (known !== undefined) return known
  const name = checkEventName(definition.name)
  const shapes: EventShapes = {
    topic: factsTopic,
    formerTopics: undefined,
    nameOf: (topic) => (nameInTopic(topic) === name ? name : undefined),
    upcastsOf: () => undefined,
    definitionOf: () => definition,
    personalOf: () => definition.personal,
    tagsOf: () => definition.tags,
    endings: new Set(),
  }
  shapesByDefinition.set(definition, shapes)
  return shapes
}

const shapesByDefinition = new WeakMap<EventDeclaration, EventShapes>()

/** The name of the event in a topic: what follows the last dot. */
function nameInTopic(topic: string): string {
  return topic.slice(topic.lastIndexOf('.') + 1)
}

/** Names of events, given as names or as definitions. @throws `TypeError` for what is neither */
export function eventNames(events: ReadonlyArray<EventDeclaration | string>): string[] {
  return [...new Set(events.map((event) => checkEventName(typeof event === 'string' ? event : event?.name)))]
}
