/** The names of events without their class: how decisions by tags know events, of whatever class or decider. */
import { checkEventName, type EventDeclaration } from './event-definition.js'

/** The name of the event in a topic: what follows the last dot. */
export function nameInTopic(topic: string): string {
  return topic.slice(topic.lastIndexOf('.') + 1)
}

/** Names of events, given as names or as definitions. @throws `TypeError` for what is neither */
export function eventNames(events: ReadonlyArray<EventDeclaration | string>): string[] {
  return [...new Set(events.map((event) => checkEventName(typeof event === 'string' ? event : event?.name)))]
}
