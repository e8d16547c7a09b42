/** Applications in memory, for tests of what they do without a database. */
import type { Application } from '../application/application.js'
import type { ApplicationOptions } from '../application/application-options.js'
import type { EnvironmentVariables } from '../persistence/environment.js'
import type { ScenarioEvent } from './scenario-outcome.js'

/**
 * Makes an application that keeps its events in memory, whatever `process.env` says: about persistence, ciphers, compressors,
 * snapshots and caches. What the class says in its `static env`, and the option `env`, count.
 *
 * There are no transactions in memory: what a `save` stores is stored together, and `recorder.transaction` is refused.
 *
 * @param applicationClass - its constructor has to give its options on to `Application`
 * @param options - as the application takes them, but for `datastore`, `factory` and `store`
 *
 * @example
 * const school = inMemory(TrainingSchool)
 * await school.register('Fido')
 * deepStrictEqual(await storedEvents(school), [{ id, version: 1, type: 'Dog.Registered', data: { name: 'Fido' } }])
 */
export function inMemory<Client, A extends Application<Client>>(
  applicationClass: new (options: ApplicationOptions<Client>) => A,
  options: Omit<ApplicationOptions<Client>, 'datastore' | 'factory' | 'store'> = {},
): A {
  const env = { ...withoutProcess(applicationClass), ...options.env }
  return new applicationClass({ ...options, env, store: 'memory' })
}

/** The variables that would change what an application with a factory does. */
const variables = [
  'CIPHER_TOPIC',
  'CIPHER_KEY',
  'CIPHER_KEYS',
  'COMPRESSOR_TOPIC',
  'IS_SNAPSHOTTING_ENABLED',
  'AGGREGATE_CACHE_MAXSIZE',
  'AGGREGATE_CACHE_FASTFORWARD',
  'AGGREGATE_CACHE_FASTFORWARD_SKIPPING',
  'DEEPCOPY_FROM_AGGREGATE_CACHE',
]

/** Hides what the process has of them, with any prefix, behind what the class has. */
function withoutProcess(applicationClass: object): EnvironmentVariables {
  const own = (applicationClass as typeof Application).env // a class of applications has it, or not
  const hidden: Record<string, string> = {}
  for (const key of Object.keys(process.env)) {
    const variable = variables.find((name) => key === name || key.endsWith(`_${name}`))
    if (variable !== undefined) hidden[key] = own?.[key] ?? own?.[variable] ?? ''
  }
  return hidden
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
export async function storedEvents<Client>(application: Application<Client>): Promise<RecordedEvent[]> {
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
