/** How applications are set up, what is to happen where another writer was first, and names that lead to the wrong tables. */
import {
  anything,
  count,
  either,
  flag,
  having,
  listOf,
  type OptionTypesOf,
  oneOf,
  optionsOf,
  text,
} from '../checked-options.js'
import { ProgrammingError } from '../errors.js'
import type { MapperParts } from '../persistence/configured.js'
import type { EnvironmentVariables, InfrastructureFactory, InfrastructureSource } from '../persistence/environment.js'
import type { LogOrder } from '../persistence/recorder.js'
import { type CacheOptions, cacheOptionTypes } from './originator-cache.js'
import type { InlineProjection } from './saves.js'

/** How an application is set up. Each option counts before the variable that means the same. */
export interface ApplicationOptions<Client = unknown> extends MapperParts {
  /**
   * The application's name, part of table names and the prefix of its variables; default: the name of the class. An `Application`
   * without a class of its own has none by default: its tables are those that `init` makes without `--app`.
   */
  readonly name?: string
  /** The database, such as a `PrismaDatastore`; default: what `PERSISTENCE_MODULE` names, else memory, with a warning outside of tests. */
  readonly datastore?: InfrastructureSource<Client>
  /** What makes the recorders, instead of a datastore. */
  readonly factory?: InfrastructureFactory<Client>
  /** `memory`: events are kept in memory, and are lost when the process ends. Variables count no more then. */
  readonly store?: 'memory'
  /**
   * Whether snapshots are taken and read: true for all classes and deciders, by `takeSnapshot` for those without a policy;
   * false for none; default for those that have a policy, `snapshots`. Variable `IS_SNAPSHOTTING_ENABLED`.
   */
  readonly snapshots?: boolean
  /**
   * Whether and how aggregates and states of deciders are cached; default not at all. Variables `AGGREGATE_CACHE_MAXSIZE` and
   * the others in `CacheOptions`.
   */
  readonly cache?: boolean | CacheOptions
  /** Variables that count before those of `process.env` and of the class. */
  readonly env?: EnvironmentVariables
  /**
   * Projections whose rows are written in the transaction of each save, right before its events: they are there when the save is
   * committed, and whatever their handlers throw fails the save. Default none. For rows that may come a little later, and are to
   * be rebuilt, use a `ProjectionRunner`.
   */
  readonly inline?: readonly InlineProjection[]
  /** How many notifications the log gives at once; default 10. */
  readonly sectionSize?: number
  /**
   * What keeps the log in order on PostgreSQL; default: the datastore's, then `floor-lock`. `table-lock` where a service in
   * Python reads the table as well. Variable `LOG_ORDER`.
   */
  readonly order?: LogOrder
}

const isProjection = having('apply', 'a projection')

/** What each option may be. */
export const applicationOptionTypes: OptionTypesOf<ApplicationOptions> = {
  name: text,
  datastore: having(
    'infrastructureFactory',
    'a datastore: new PrismaDatastore({ adapter, client: (adapter) => new PrismaClient({ adapter }) })',
  ),
  factory: having('applicationRecorder', 'an infrastructure factory'),
  store: { says: "'memory', or the database as `datastore`", fits: (value) => value === 'memory' },
  snapshots: flag,
  cache: either(flag, optionsOf(cacheOptionTypes)),
  env: {
    says: 'an object of texts, such as process.env',
    fits: (value) => typeof value === 'object' && value !== null,
  },
  inline: listOf(isProjection, 'a list of projections, as defineProjection gives them'),
  sectionSize: count,
  order: oneOf('floor-lock', 'table-lock'),
  transcoder: having('encode', 'a transcoder'),
  transcodings: listOf(anything, 'a list of transcodings'),
  compressor: having('compress', 'a compressor, such as new ZlibCompressor()'),
  cipher: having('encrypt', 'a cipher, such as new AESCipher({ key })'),
}

/** What a command asks for beside what it does. */
export interface ConflictOptions {
  /**
   * What to do where another writer was first: `fail` (default) throws a `ConcurrencyError`; `redecide` decides again, on the newer
   * events. For commands that commute, such as one more vote.
   */
  readonly onConflict?: 'fail' | 'redecide'
}

/** What `execute` asks for beside the command. */
export interface ExecuteOptions extends ConflictOptions {
  /** Whether an originator that an event has ended begins anew; default false, an `AggregateEndedError`. */
  readonly newLife?: boolean
}

/** Divides what was given to a command into its arguments and the options after them. */
export function withoutOptions(given: readonly unknown[]): [args: readonly unknown[], options: ExecuteOptions] {
  const last = given.at(-1)
  return isExecuteOptions(last) ? [given.slice(0, -1), last] : [given, {}]
}

function isExecuteOptions(value: unknown): value is ExecuteOptions {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value)
  if (keys.length === 0 || !keys.every((key) => key === 'onConflict' || key === 'newLife')) return false
  const { onConflict = 'fail', newLife = false }: { onConflict?: unknown; newLife?: unknown } = value
  return (onConflict === 'fail' || onConflict === 'redecide') && typeof newLife === 'boolean'
}

/**
 * Changes an aggregate, and gives it back.
 *
 * @throws `TypeError` for a function that acts later: it could not be called again
 */
export function actedOn<A extends object>(aggregate: A | undefined, change: (aggregate: A) => unknown): A {
  if (aggregate === undefined) throw new TypeError('There is no aggregate to change: it has no events')
  const result = change(aggregate)
  if (!(result instanceof Promise)) return aggregate
  result.catch(() => undefined)
  throw new TypeError(
    'The function given to change() is asynchronous: look things up before, and change the aggregate at once',
  )
}

/** What applications there are, by the first part of their tables' names. */
const known = new WeakMap<object, Map<string, Known>>()

interface Known {
  readonly name: string
  readonly applicationClass: object
  isTold: boolean
}

/**
 * Warns where another application of this process has the same tables: each would read the events of the other. Of one class
 * there may be as many as one likes.
 *
 * @param datastore - that both are on
 */
export function warnOfNamesake(datastore: object, name: string, applicationClass: object): void {
  const ofDatastore = known.get(datastore) ?? new Map<string, Known>()
  known.set(datastore, ofDatastore)
  const key = name.toLowerCase()
  const first = ofDatastore.get(key)
  if (first === undefined) {
    ofDatastore.set(key, { name, applicationClass, isTold: false })
    return
  }
  if (first.isTold || (first.name === name && isOne(first.applicationClass, applicationClass))) return
  first.isTold = true
  const called = first.name === name ? `called ${name}` : `${first.name} and ${name}`
  process.emitWarning(
    `The applications ${name === '' ? 'without a name' : called} have the same tables, so each reads the events of the other. Give one of them another name, by the ` +
      'option `name` or a `static name` of its class, and tables of its own.',
    { code: 'ES_SAME_NAME' },
  )
}

/** A system makes a leader of a class by extending it. */
function isOne(one: object, other: object): boolean {
  return (
    one === other || Object.prototype.isPrototypeOf.call(one, other) || Object.prototype.isPrototypeOf.call(other, one)
  )
}

/** @throws `ProgrammingError` for a name that a bundler has made, whose tables would be others after the next change of the code */
export function assertKeptName(applicationClass: { readonly name: string }, options: { readonly name?: string }): void {
  const { value, writable } = Object.getOwnPropertyDescriptor(applicationClass, 'name') ?? {}
  // The name that a class has by itself cannot be written; a static member can, or has a getter.
  if (options.name !== undefined || writable !== false || String(value).length > 2) return
  throw new ProgrammingError(
    `Could not set up the application ${String(value)}: a bundler seems to have shortened the name of its class, and its tables are named after ` +
      "it. Give the class a name that stays: `static override readonly name = 'TrainingSchool'`, or the option `name`.",
  )
}
