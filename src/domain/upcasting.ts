/** Upcasting: events that were stored with an older shape of their data are read in the present one. */
import { TopicError } from '../errors.js'
import { type DomainEvent, domainEvent } from './event.js'
import { frozen } from './kept-values.js'

// Each step knows the shapes before and after it; what they are is nobody else's business.
/** Turns the data of one version into that of the next. It gets a frozen object and gives a new one. */
export type Upcast = (data: never) => object

/** The steps of each event, by its name: the first from version 1 to 2, the next from 2 to 3, and so on. */
export type Upcasts = Readonly<Record<string, readonly Upcast[]>>

/** The version that an event is written with, undefined for the first: that is how rows without a version are. */
export function writtenVersion(steps: readonly Upcast[] | undefined): number | undefined {
  return steps === undefined || steps.length === 0 ? undefined : steps.length + 1
}

/**
 * Gives an event with the present shape of its data: itself when it has that.
 *
 * @throws `TopicError` for a version that is still to come
 */
export function upcastEvent(event: DomainEvent, steps: readonly Upcast[] = []): DomainEvent {
  const { classVersion = 1 } = event
  if (classVersion === steps.length + 1) return event
  if (classVersion > steps.length + 1) {
    throw new TopicError(
      `Cannot read ${event.topic}, version ${event.originatorVersion} of ${event.originatorId}: it was written in version ` +
        `${classVersion} of that event, and this program knows ${steps.length + 1}. Deploy the program that wrote it.`,
    )
  }
  const data = upcastData(event.data, steps.slice(classVersion - 1), event.topic)
  return domainEvent({ ...event, classVersion: steps.length + 1, data })
}

/** Runs the steps one after the other. @throws `TypeError` when one gives no object */
export function upcastData(data: object, steps: readonly Upcast[], label: string): Readonly<Record<string, unknown>> {
  let current: unknown = data
  for (const step of steps) {
    current = step(current as never) // the shape that the step before gave
    if (typeof current !== 'object' || current === null || current instanceof Promise) {
      throw new TypeError(`An upcast of ${label} must give the new data, at once: it gave ${String(current)}`)
    }
    current = frozen(current)
  }
  return current as Readonly<Record<string, unknown>> // just checked
}
