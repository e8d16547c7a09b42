/** Topics: the stable names of event types, `<class>.<event>`, and the former ones that stored rows may still have. */

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
    const name = names.get(topic) ?? eventNameOf(owner, topic, isKnown)
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
