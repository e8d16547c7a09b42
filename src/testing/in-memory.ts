/** Applications in memory, for tests of what they do without a database. */
import type { Application, ApplicationOptions } from '../application/application.js'
import { InMemoryFactory } from '../persistence/in-memory-factory.js'
import type { ScenarioEvent } from './scenario.js'

/**
 * Makes an application that keeps its events in memory, whatever the environment says about persistence.
 *
 * There are no transactions in memory: what a `save` stores is stored together, and `recorder.transaction` is refused.
 *
 * @param applicationClass - its constructor has to give its options on to `Application`
 * @param options - as the application takes them, but for `datastore` and `factory`
 *
 * @example
 * const school = inMemory(TrainingSchool)
 * await school.register('Fido')
 * deepStrictEqual(await storedEvents(school), [{ id, version: 1, type: 'Dog.Registered', data: { name: 'Fido' } }])
 */
export function inMemory<A extends Application>(
  applicationClass: new (options: ApplicationOptions) => A,
  options: Omit<ApplicationOptions, 'datastore' | 'factory'> = {},
): A {
  return new applicationClass({ ...options, factory: new InMemoryFactory() })
}

/** An event as it was stored, as tests compare it. */
export interface RecordedEvent extends ScenarioEvent {
  /** The originator's id. */
  readonly id: string
  /** The event's version. */
  readonly version: number
  /** The topic: the name of the class or decider, a dot, the name of the event. */
  readonly type: string
  /** Its data. */
  readonly data: object
}

/** All events that an application has stored, in the order of its log; for tests, since they are all in memory. */
export async function storedEvents(application: Application): Promise<RecordedEvent[]> {
  const store = await application.eventStore()
  const recorded: RecordedEvent[] = []
  const pageSize = 500
  for (let start: bigint | null = null; ; ) {
    const page = await application.recorder.selectNotifications(start, pageSize, { inclusiveOfStart: false })
    for (const { originatorId, originatorVersion, topic, data } of await store.toDomainEvents(page)) {
      recorded.push({ id: originatorId, version: originatorVersion, type: topic, data: { ...data } })
    }
    const last = page.at(-1)
    if (last === undefined || page.length < pageSize) return recorded
    start = last.id
  }
}
