/** What the events of a decider are like: read from it and checked at its first use, once. */
import { nearestName } from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import { assertPlainFunction, checkEventName, type EventDeclaration } from './event-definition.js'
import type { EventShapes, Upcasts } from './event-shapes.js'
import { type FormerTopics, namesOfTopics } from './names.js'
import { checkFields, type PersonalData, type PersonalFields } from './personal-data.js'
import { checkSnapshotPolicy } from './snapshot-policy.js'
import type { TagsOf } from './tags.js'

/** A decider as far as its events go. Projections read events with less of it than commands need. */
interface ShapedDecider {
  readonly name: string
  readonly formerTopics?: FormerTopics
  readonly upcasts?: Upcasts
  readonly snapshots?: unknown
  readonly events?: readonly EventDeclaration[]
  readonly personal?: PersonalData
  readonly tags?: object
  readonly initialState?: unknown
  readonly decide?: object
  readonly evolve: object
}

const shapesByDecider = new WeakMap<object, EventShapes>()

/**
 * What the events of a decider are like.
 *
 * @throws `TypeError` for a decider without a name, functions that do not work at once, definitions and personal fields of events
 *   that it does not have, and a policy of snapshots that is none
 */
export function eventShapesOf(decider: ShapedDecider): EventShapes {
  let shapes = shapesByDecider.get(decider)
  if (shapes === undefined) {
    shapes = readShapes(decider)
    shapesByDecider.set(decider, shapes)
  }
  return shapes
}

function readShapes(decider: ShapedDecider): EventShapes {
  const { name, formerTopics, upcasts = {} } = decider
  const label = `the decider ${name}`
  if (typeof name !== 'string' || name === '')
    throw new TypeError('A decider needs a name, which its topics begin with')
  checkFunctions(decider, label)
  checkSnapshotPolicy(decider.snapshots, `${label}: snapshots`)
  for (const [eventName, steps] of Object.entries(upcasts)) {
    assertKnown(decider, eventName, `upcasts of ${label}`)
    for (const step of steps) assertPlainFunction(step, `upcasts.${eventName} of ${label}`)
  }
  const definitions = definitionsOf(decider, label)
  const marks = marksOf(decider, definitions)
  const tags = tagsIn(decider, label)
  return {
    topic: name,
    formerTopics,
    nameOf: namesOfTopics({ topic: name, formerTopics }, (eventName) => Object.hasOwn(decider.evolve, eventName)),
    upcastsOf: (eventName) => (Object.hasOwn(upcasts, eventName) ? upcasts[eventName] : undefined),
    definitionOf: (eventName) => definitions.get(eventName),
    personalOf: (eventName) => marks.get(eventName) ?? definitions.get(eventName)?.personal,
    tagsOf: (eventName) => tags.get(eventName) ?? definitions.get(eventName)?.tags,
    endings: new Set([...definitions.values()].filter(({ ends }) => ends).map((definition) => definition.name)),
  }
}

function checkFunctions({ initialState, evolve, decide = {} }: ShapedDecider, label: string): void {
  if (initialState !== undefined) assertPlainFunction(initialState, `initialState of ${label}`)
  for (const [name, body] of Object.entries(evolve)) {
    checkEventName(name)
    assertPlainFunction(body, `evolve.${name} of ${label}`)
  }
  for (const [name, command] of Object.entries(decide)) assertPlainFunction(command, `decide.${name} of ${label}`)
}

function definitionsOf(decider: ShapedDecider, label: string): ReadonlyMap<string, EventDeclaration> {
  const definitions = new Map<string, EventDeclaration>()
  for (const definition of decider.events ?? []) {
    const { name } = definition
    assertKnown(decider, name, `events of ${label}`)
    if (definitions.has(name)) throw new TypeError(`events of ${label} has two definitions of '${name}'`)
    definitions.set(name, definition)
  }
  return definitions
}

/** The personal fields that the decider marks, with those of the definition. */
function marksOf(
  decider: ShapedDecider,
  definitions: ReadonlyMap<string, EventDeclaration>,
): ReadonlyMap<string, PersonalFields> {
  const marks = new Map<string, PersonalFields>()
  for (const [name, fields] of Object.entries(decider.personal ?? {})) {
    const label = `personal.${name} of the decider ${decider.name}`
    assertKnown(decider, name, `personal of the decider ${decider.name}`)
    marks.set(name, checkFields({ ...definitions.get(name)?.personal, ...fields }, label))
  }
  return marks
}

function tagsIn(decider: ShapedDecider, label: string): ReadonlyMap<string, TagsOf> {
  const tags = new Map<string, TagsOf>()
  for (const [name, tagsOf] of Object.entries(decider.tags ?? {}) as Iterable<[string, unknown]>) {
    assertKnown(decider, name, `tags of ${label}`)
    assertPlainFunction(tagsOf, `tags.${name} of ${label}`)
    tags.set(name, tagsOf as TagsOf) // what it takes is for the caller to say
  }
  return tags
}

function assertKnown({ evolve }: ShapedDecider, eventName: string, label: string): void {
  if (!Object.hasOwn(evolve, eventName))
    throw new TypeError(`${label} names '${eventName}', which evolve does not have`)
}

const parts = ['name', 'initialState', 'evolve', 'decide']

/** @throws `ProgrammingError` for a part of a decider that is not there, with the name that stands in its place */
export function assertDefinition(decider: object): void {
  const missing = parts.find((part) => Reflect.get(decider, part) === undefined)
  if (missing === undefined) return
  const near = Object.keys(decider).find((name) => !parts.includes(name) && nearestName(name, [missing]) !== undefined)
  const hint = near === undefined ? '' : `; \`${near}\` is no part of one`
  throw new ProgrammingError(
    `Could not define a decider without \`${missing}\`: give { name, initialState, evolve, decide }${hint}.`,
  )
}
