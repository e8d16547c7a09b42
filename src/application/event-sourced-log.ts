/** Event-sourced logs: sequences of events that belong to no aggregate, such as the ids of all aggregates of a kind. */
import { checkOptions, text } from '../checked-options.js'
import { type DomainEvent, dataOfObject, domainEvent } from '../domain/event.js'
import { checkEventName } from '../domain/event-definition.js'
import { pinned } from '../domain/kept-values.js'
import { assertStorableText, eventTopic } from '../domain/names.js'
import { createTimestamp } from '../domain/timestamp.js'
import type { EventStore } from '../persistence/event-store.js'
import type { SelectEventsRange } from '../persistence/recorder.js'

/** Which log it is. */
export interface EventSourcedLogOptions {
  /** The originator id of its events; each log needs one of its own. */
  readonly id: string
  /** The first part of its events' topics, such as `DogNames`. */
  readonly topic: string
}

/** What can be logged: the data of each event, by its name. */
export type LoggedEvents = Readonly<Record<string, object>>

/** Where a log is kept; an `Application` is one. */
export interface LogStore {
  /** Reads and writes the events. */
  eventStore(): Promise<EventStore>
}

/**
 * A log kept in an application's store. Its events are saved together with aggregates, so that neither is stored without
 * the other.
 *
 * @typeParam Events - the data of each event, by its name
 *
 * @example
 * const names = new EventSourcedLog<{ Registered: { name: string } }>(school, { id: uuid5(NAMESPACE_URL, '/dog-names'), topic: 'DogNames' })
 * await school.save(new Dog('Fido'), await names.trigger('Registered', { name: 'Fido' }))
 * for (const { data } of await names.get()) console.log(data.name)
 */
export class EventSourcedLog<Events extends { readonly [Name in keyof Events]: object } = LoggedEvents> {
  readonly #store: LogStore
  readonly #id: string
  readonly #topic: string

  constructor(store: LogStore, options: EventSourcedLogOptions) {
    checkOptions<EventSourcedLogOptions>('make an event-sourced log', options, { id: text, topic: text })
    this.#store = store
    this.#id = options.id
    this.#topic = options.topic
  }

  /**
   * Makes the next event. It is logged when the application saves it; of two that were made at the same time, one can be.
   *
   * @param version - its position; default after the last one that is stored. Give it for several events of one save.
   * @throws `TypeError` for a name that is none, or data that is no plain object; `DataError` for a value that could not be read again
   */
  async trigger<Name extends keyof Events & string>(
    name: Name,
    data: Events[Name],
    version?: number,
  ): Promise<DomainEvent<Events[Name]>> {
    const topic = eventTopic({ topic: this.#topic }, checkEventName(name))
    const attempted = (): string => `trigger ${topic} of ${this.#id}`
    assertStorableText({ originatorId: this.#id, topic }, attempted)
    // A frozen copy of the same shape, made at once.
    const own = pinned(dataOfObject(topic, [data]), attempted) as Events[Name]
    return domainEvent({
      originatorId: this.#id,
      originatorVersion: version ?? ((await this.last())?.originatorVersion ?? 0) + 1,
      topic,
      timestamp: createTimestamp(),
      data: own,
    })
  }

  /** Reads events, oldest first unless the range says otherwise. */
  async get(range?: SelectEventsRange): Promise<Array<DomainEvent<Events[keyof Events]>>> {
    const events = await (await this.#store.eventStore()).get(this.#id, range)
    // What is stored under this id was triggered by this log.
    return events as Array<DomainEvent<Events[keyof Events]>>
  }

  /** The first event, undefined for an empty log. */
  async first(): Promise<DomainEvent<Events[keyof Events]> | undefined> {
    return (await this.get({ limit: 1 }))[0]
  }

  /** The last event, undefined for an empty log. */
  async last(): Promise<DomainEvent<Events[keyof Events]> | undefined> {
    return (await this.get({ desc: true, limit: 1 }))[0]
  }
}
