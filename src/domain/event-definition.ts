/** Event definitions: events that have a declaration of their own, apart from the method that triggers them. */

/** A declared event, for `@event(TrickAdded)`. */
export interface EventDefinition {
  /** The event's name, the part of its topic after the dot. */
  readonly name: string
}

/**
 * Declares an event that `@event(…)` can be given instead of a name.
 *
 * @param name - not empty and without a dot
 * @throws `TypeError` for any other name
 */
export function defineEvent(name: string): EventDefinition {
  return Object.freeze({ name: checkEventName(name) })
}

/**
 * Gives back the name of an event when it can be part of a topic.
 *
 * @throws `TypeError` when it is not a text, empty, or has a dot or white space in it
 */
export function checkEventName(name: unknown): string {
  if (typeof name !== 'string') throw new TypeError(`An event needs a name or a definition, not ${String(name)}`)
  if (!/^[^\s.]+$/.test(name)) {
    throw new TypeError(`'${name}' cannot be the name of an event: it must not be empty nor contain dots or spaces`)
  }
  return name
}
