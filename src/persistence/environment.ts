/** The configuration variables of an application, with and without its name in front, and the port of what makes its recorders from them. */
import { described, nearestName } from '../checked-options.js'
import { EnvironmentError } from '../errors.js'
import type { ProjectionRecorder } from './projection-recorder.js'
import type {
  ManagedAggregateRecorder,
  ManagedApplicationRecorder,
  ManagedProcessRecorder,
  ManagedSubjectKeyRecorder,
  ManagedTrackingRecorder,
} from './recorder.js'
import type { InboxRecorder, TimerRecorder } from './side-recorders.js'

/** Names and values, like `process.env`. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>

const trueWords: readonly string[] = ['y', 'yes', 't', 'true', 'on', '1']
const falseWords: readonly string[] = ['n', 'no', 'f', 'false', 'off', '0']

/**
 * Reads variables for one application: `TRAININGSCHOOL_CIPHER_KEY` before `CIPHER_KEY`.
 *
 * @see Python's `Environment`
 */
export class Environment {
  /** The application's name, empty when it has none. */
  readonly name: string
  readonly #variables: EnvironmentVariables

  /**
   * @param name - of the application; upper-cased it is the prefix; without a name there are no prefixed variables
   * @param sources - variables; what a later one has, even if it is empty, hides what the earlier ones have
   */
  constructor(name: string = '', ...sources: ReadonlyArray<EnvironmentVariables | undefined>) {
    this.name = name
    const variables: Record<string, string | undefined> = {}
    for (const source of sources) {
      for (const [key, value] of Object.entries(source ?? {})) if (value !== undefined) variables[key] = value
    }
    this.#variables = variables
  }

  /** The same variables as they count for an application of another name. */
  named(name: string): Environment {
    return new Environment(name, this.#variables)
  }

  /** The names under which a variable is looked up, in this order. */
  names(key: string): string[] {
    return this.name === '' ? [key] : [`${this.name.toUpperCase()}_${key}`, key]
  }

  /**
   * The value of a variable. One that is set with the prefix hides the one without, even if it is empty.
   *
   * @param key - without the prefix
   * @returns undefined when it is not set
   */
  get(key: string): string | undefined {
    for (const name of this.names(key)) {
      if (Object.hasOwn(this.#variables, name)) return this.#variables[name]
    }
    return undefined
  }

  /**
   * The value of a variable that is a whole number from 0.
   *
   * @param key - without the prefix
   * @returns undefined when it is not set, or empty
   * @throws `EnvironmentError` for a value that is none
   */
  getWholeNumber(key: string): number | undefined {
    const value = this.get(key)
    if (value === undefined || value === '') return undefined
    const number = Number(value)
    if (/^\d+$/.test(value) && Number.isSafeInteger(number)) return number
    throw new EnvironmentError(
      `The variable ${this.names(key).join(', ')} is '${value}': set it to a whole number from 0`,
    )
  }

  /**
   * The value of a variable that says yes or no.
   *
   * @param key - without the prefix
   * @returns undefined when it is not set, or empty
   * @throws `EnvironmentError` for a value that is neither
   */
  getBoolean(key: string): boolean | undefined {
    const value = this.get(key)
    if (value === undefined || value === '') return undefined
    try {
      return toBoolean(value)
    } catch (error) {
      throw new EnvironmentError(
        `The variable ${this.names(key).join(', ')} is '${value}': set it to one of ${[...trueWords, ...falseWords].join(', ')}`,
        { cause: error },
      )
    }
  }
}

/** Those that this library reads, without the prefix. */
export const knownVariables: readonly string[] = [
  'PERSISTENCE_MODULE',
  'INFRASTRUCTURE_FACTORY',
  'FACTORY_TOPIC',
  'PRISMA_URL',
  'PRISMA_SCHEMA',
  'PRISMA_CLIENT_TOPIC',
  'PRISMA_ADAPTER_TOPIC',
  'PRISMA_DATASTORE_TOPIC',
  'PRISMA_SCOPED_CLIENT_TOPIC',
  'PRISMA_AUTOFLUSH',
  'TRACKING_RECORDER_TOPIC',
  'CREATE_TABLE',
  'ORIGINATOR_ID_TYPE',
  'LOG_ORDER',
  'COMPRESSOR_TOPIC',
  'CIPHER_TOPIC',
  'CIPHER_KEY',
  'CIPHER_KEYS',
  'TAG_KEY',
  'IS_SNAPSHOTTING_ENABLED',
  'AGGREGATE_CACHE_MAXSIZE',
  'AGGREGATE_CACHE_FASTFORWARD',
  'AGGREGATE_CACHE_FASTFORWARD_SKIPPING',
  'DEEPCOPY_FROM_AGGREGATE_CACHE',
]

/**
 * Checks variables that somebody has written for an application. Others than those of this library are for modules that its
 * variables name; one that is nearly one of them is a mistake. What the process has as well was not written here.
 *
 * @param what - what they are of, such as `the application Dogs`
 * @throws `EnvironmentError` for a value that is no text, and for a name that is nearly one of `knownVariables`
 */
export function checkVariables(name: string, what: string, variables: EnvironmentVariables | undefined): void {
  const prefix = name === '' ? '' : `${name.toUpperCase()}_`
  for (const [key, value] of Object.entries(variables ?? {})) {
    if (value === undefined || value === process.env[key]) continue
    if (typeof value !== 'string') {
      throw new EnvironmentError(
        `Could not set up ${what}: the variable ${key} is ${described(value)}; variables are texts, so give '${String(value)}'.`,
      )
    }
    const bare = prefix !== '' && key.startsWith(prefix) ? key.slice(prefix.length) : key
    if (knownVariables.includes(bare)) continue
    const meant = nearestName(bare, knownVariables)
    if (meant === undefined) continue
    throw new EnvironmentError(
      `Could not set up ${what}: there is no variable ${key}; did you mean ${key.slice(0, key.length - bare.length)}${meant}?`,
    )
  }
}

/**
 * Reads a text that says yes (y, yes, t, true, on, 1) or no (n, no, f, false, off, 0), in upper or lower case.
 *
 * @throws `EnvironmentError` for any other text; `TypeError` for anything but a text
 */
export function toBoolean(value: string): boolean {
  if (typeof value !== 'string') throw new TypeError(`Expected a text that says yes or no, not ${typeof value}`)
  const word = value.toLowerCase()
  if (trueWords.includes(word)) return true
  if (falseWords.includes(word)) return false
  throw new EnvironmentError(
    `'${value}' says neither yes nor no: use one of ${[...trueWords, ...falseWords].join(', ')}`,
  )
}

/** What an aggregate recorder is for: an application's events, or its snapshots. */
export type RecorderPurpose = 'events' | 'snapshots'

/** Makes the recorders of one application, all on the same database. */
export interface InfrastructureFactory<Client = unknown> {
  /** Makes a recorder without a log. */
  aggregateRecorder(purpose: RecorderPurpose): ManagedAggregateRecorder<Client>
  /** Makes a recorder with a log. */
  applicationRecorder(): ManagedApplicationRecorder<Client>
  /** Makes a recorder of how far other applications' logs were processed. */
  trackingRecorder(): ManagedTrackingRecorder<Client>
  /** Makes a recorder with a log, and of how far other applications' logs were processed. */
  processRecorder(): ManagedProcessRecorder<Client>
  /** Makes what keeps the keys of personal data; a factory without it makes no application that can have such data. */
  subjectKeyRecorder?(): ManagedSubjectKeyRecorder<Client> | undefined
  /** Makes what keeps the positions of projections; an application whose factory is without it has no projections. */
  projectionRecorder?(): ProjectionRecorder<Client> | undefined
  /** Makes what keeps which messages were processed; an application whose factory is without it has no inbox. */
  inboxRecorder?(): InboxRecorder | undefined
  /** Makes what keeps timers; an application whose factory is without it has none. */
  timerRecorder?(): TimerRecorder | undefined
  /** Awaited once before the application first uses its recorders, for what cannot be done at once, such as `CREATE_TABLE`. */
  prepare?(): Promise<void>
  /** Gives up what the factory opened itself. */
  close(): Promise<void>
}

/** A class of factories: what `PERSISTENCE_MODULE` names, or the module that it names exports. */
export type InfrastructureFactoryClass = new (environment: Environment) => InfrastructureFactory

/** A database that makes the factory for an application: what the option `datastore` takes. */
export interface InfrastructureSource<Client = unknown> {
  /** Makes the factory of the application whose environment this is. */
  infrastructureFactory(environment: Environment): InfrastructureFactory<Client>
}
