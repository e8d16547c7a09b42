/** Names that are stored: topics of event types, ids of originators, and texts that every database keeps as they are. */
import { randomUUID } from 'node:crypto'
import { v5 } from 'uuid'
import { DataError, ProgrammingError } from '../errors.js'

/**
 * Names that stored events were given before: a list of former topics of the class, or a record that also renames
 * single events, from former topic to topic: `{ 'kennel:Dog': 'Dog', 'Dog.TrickLearned': 'Dog.TrickAdded' }`.
 */
export type FormerTopics = readonly string[] | Readonly<Record<string, string>>

/** What the topics of a class's or a decider's events are made of. */
export interface TopicOwner {
  /** The part before the dot, such as `Dog`. */
  readonly topic: string
  readonly formerTopics?: FormerTopics | undefined
}

/** The topic of one event of a class or decider, such as `Dog.TrickAdded`. */
export function eventTopic(owner: TopicOwner, eventName: string): string {
  return `${owner.topic}.${eventName}`
}

/** All topics that stored rows of one event may have: the present one, and the former ones. */
export function storedTopics(owner: TopicOwner, eventName: string): string[] {
  const present = eventTopic(owner, eventName)
  const { topic, formerTopics = [] } = owner
  if (isList(formerTopics)) return [present, ...formerTopics.map((former) => eventTopic({ topic: former }, eventName))]
  const renamed = Object.entries(formerTopics).filter(([, name]) => name === present)
  const names = [present, ...renamed.map(([former]) => former)]
  const owners = Object.entries(formerTopics).filter(([, name]) => name === topic)
  const moved = owners.flatMap(([former]) =>
    names.filter((name) => name.startsWith(`${topic}.`)).map((name) => former + name.slice(topic.length)),
  )
  return [...names, ...moved]
}

/** Whether a topic is that of the owner itself, today or formerly. */
export function isTopicOf({ topic, formerTopics }: TopicOwner, stored: unknown): boolean {
  if (stored === topic) return true
  if (formerTopics === undefined || typeof stored !== 'string') return false
  if (isList(formerTopics)) return formerTopics.includes(stored)
  return Object.hasOwn(formerTopics, stored) && formerTopics[stored] === topic
}

/**
 * Makes what finds the names that stored events have today.
 *
 * @param owner - the class or decider that the streams belong to
 * @param isKnown - tells whether an event of that name exists
 * @returns a function of the topic that an event was stored with, current or former: undefined where it belongs to something
 *   else, or names no known event
 */
export function namesOfTopics(
  owner: TopicOwner,
  isKnown: (eventName: string) => boolean,
): (topic: string) => string | undefined {
  // Streams have few different topics: each is resolved once. Unknown ones are not kept.
  const names = new Map<string, string>()
  return (topic) => {
    const known = names.get(topic)
    if (known !== undefined) return known
    const name = eventNameOf(owner, topic, isKnown)
    if (name !== undefined) names.set(topic, name)
    return name
  }
}

function eventNameOf(owner: TopicOwner, topic: string, isKnown: (eventName: string) => boolean): string | undefined {
  const prefix = `${owner.topic}.`
  for (const candidate of currentForms(owner, topic)) {
    const name = candidate.startsWith(prefix) ? candidate.slice(prefix.length) : undefined
    if (name !== undefined && isKnown(name)) return name
  }
  return undefined
}

function* currentForms(owner: TopicOwner, topic: string): Generator<string> {
  yield topic
  const former = owner.formerTopics
  if (former === undefined) return
  const renamed = isList(former) ? {} : former
  const exact = Object.hasOwn(renamed, topic) ? renamed[topic] : undefined
  if (exact !== undefined) yield exact
  const owners = isList(former) ? former : Object.keys(former).filter((key) => former[key] === owner.topic)
  for (const formerOwner of owners) {
    if (!topic.startsWith(`${formerOwner}.`)) continue
    const moved = owner.topic + topic.slice(formerOwner.length)
    yield moved
    const both = Object.hasOwn(renamed, moved) ? renamed[moved] : undefined
    if (both !== undefined) yield both
  }
}

// Array.isArray does not narrow a readonly list out of the union.
function isList(former: FormerTopics): former is readonly string[] {
  return Array.isArray(former)
}

/** The namespace for names that are domain names. @see RFC 9562, section 6.6 */
export const NAMESPACE_DNS: string = '6ba7b810-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are URLs or paths. @see RFC 9562, section 6.6 */
export const NAMESPACE_URL: string = '6ba7b811-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are ISO object identifiers. @see RFC 9562, section 6.6 */
export const NAMESPACE_OID: string = '6ba7b812-9dad-11d1-80b4-00c04fd430c8'

/** The namespace for names that are X.500 distinguished names. @see RFC 9562, section 6.6 */
export const NAMESPACE_X500: string = '6ba7b814-9dad-11d1-80b4-00c04fd430c8'

/**
 * Makes the same id for the same name in the same namespace, everywhere and in every language.
 *
 * @param namespace - a UUID: one of the `NAMESPACE_` constants or one of your own
 * @param name - any text
 * @returns the UUID in lower case
 * @throws `TypeError` when the namespace is not a UUID
 * @see RFC 9562, section 5.5; Python's `uuid.uuid5`
 */
export function uuid5(namespace: string, name: string): string {
  return v5(name, namespace)
}

let replacedSource: (() => string) | undefined

/**
 * Replaces the source of random ids, for tests.
 *
 * @returns puts it back
 * @throws `ProgrammingError` when it is replaced already
 */
export function setIdSource(source: () => string): () => void {
  if (replacedSource !== undefined) throw new ProgrammingError('Random ids are replaced already: restore them first.')
  replacedSource = source
  return () => {
    if (replacedSource === source) replacedSource = undefined
  }
}

/** Makes a random id. @see RFC 9562, section 5.4 */
export function randomId(): string {
  return replacedSource === undefined ? randomUUID() : replacedSource()
}

/** What the class's `createId` gives for these arguments, or a random UUID where it has none. */
export function newId(newTarget: NewableFunction, args: readonly unknown[]): unknown {
  const createId: unknown = Reflect.get(newTarget, 'createId')
  if (createId === undefined) {
    if (!Reflect.has(newTarget.prototype as object, 'createId')) return randomId()
    throw new TypeError(`${newTarget.name}.createId must be static: there is no aggregate yet when the id is made`)
  }
  if (typeof createId !== 'function') throw new TypeError(`${newTarget.name}.createId must be a static method`)
  return Reflect.apply(createId, newTarget, args)
}

/** Whether databases keep a text as it is: one with a NUL, or with half of a surrogate pair, some of them do not. */
export function isStorableText(text: string): boolean {
  // UTF-8 cannot have half of a surrogate pair. PostgreSQL has no NUL in texts, and SQLite drivers end a text at it.
  return text.isWellFormed() && !text.includes('\0')
}

/**
 * Checks texts.
 *
 * @param attempted - gives what is to be done, for messages
 * @throws `DataError` for one that databases do not keep as it is
 */
export function assertStorableText(texts: Readonly<Record<string, string>>, attempted: () => string): void {
  for (const name in texts) {
    const text = texts[name]
    if (text === undefined || isStorableText(text)) continue
    throw new DataError(
      `Cannot ${JSON.stringify(attempted()).slice(1, -1)}: its ${name} is ${JSON.stringify(text)}, with a NUL or half of a surrogate pair, ` +
        'which databases do not keep',
    )
  }
}

/** Events come in runs of one originator, or of one topic, and each is checked on its way more than once. */
let lastId = ''
let lastTopic = ''

/** The same for the id and the topic of an event. */
export function assertStorableIds(
  { originatorId, topic }: { readonly originatorId: string; readonly topic: string },
  attempted: () => string,
): void {
  if (originatorId === lastId && topic === lastTopic) return
  if (!isStorableText(`${originatorId} ${topic}`)) assertStorableText({ originatorId, topic }, attempted)
  lastId = originatorId
  lastTopic = topic
}
