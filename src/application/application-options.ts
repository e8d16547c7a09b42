/** How applications are set up. */
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
import type { MapperParts } from '../persistence/configured-mapper.js'
import type { EnvironmentVariables } from '../persistence/environment.js'
import type { InfrastructureFactory, InfrastructureSource } from '../persistence/factory.js'
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
