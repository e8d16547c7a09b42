/** Keeps positions, leases and states of projections in tables of the Prisma schema. */
import { LeaseLostError } from '../errors.js'
import type {
  ParkedEvent,
  ProjectionBatch,
  ProjectionKey,
  ProjectionLease,
  ProjectionMove,
  ProjectionRecorder,
  ProjectionRow,
  ProjectionShadow,
  ProjectionStateChange,
  ProjectionWanted,
} from '../persistence/projection-recorder.js'
import { isTransient } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import { bulkUpdate } from './bulk-update.js'
import type { StatementRunner } from './connections.js'
import type { ProjectionTableNames, ProjectionTables } from './dialect.js'
import { readDriverError } from './driver.js'
import { createTables, type Engine, engineOf, runIn } from './engine.js'
import type { TransactionClient } from './prisma-client.js'
import { newProjectionShadow } from './projection-shadow.js'
import { translateError } from './translate-error.js'

/** Which tables a recorder of projections uses. */
export interface ProjectionRecorderOptions {
  /** The names of the tables. */
  readonly names: ProjectionTableNames
  /** The schema that the tables are in, where the database has schemas; default: the datastore's, then the connection's. */
  readonly schema?: string
}

/** Milliseconds that work beside the batches may take. */
const besideDeadlineMs = 30_000

/** A `ProjectionRecorder` on a datastore. */
export class PrismaProjectionRecorder<Client extends object = object>
  implements ProjectionRecorder<TransactionClient<Client>>
{
  /** The datastore that it is on. */
  readonly datastore: RecorderDatastore<Client>
  readonly #engine: Engine
  readonly #tables: ProjectionTables
  readonly #names: ProjectionTableNames

  /**
   * @param datastore - a `PrismaDatastore`
   * @throws `ProgrammingError` when the name of a table is no identifier, or too long for one
   */
  constructor(datastore: RecorderDatastore<Client>, { names, schema }: ProjectionRecorderOptions) {
    this.datastore = datastore
    this.#engine = engineOf(datastore)
    this.#names = names
    this.#tables = this.#engine.dialect.projectionTables({ names, schema: schema ?? this.#engine.schema })
  }

  async createTable(): Promise<void> {
    await createTables(this.#engine, this.#tables.createStatements)
  }

  async rows(): Promise<ProjectionRow[]> {
    return await this.#outside('read the projections', (runner) => this.#tables.rows(runner))
  }

  async wanted(name: string, version: number): Promise<ProjectionWanted | undefined> {
    return await this.#outside(`read what is wanted of projection ${name}`, (runner) =>
      this.#tables.wanted(runner, name, version),
    )
  }

  async add(key: ProjectionKey, partitions: number, position?: bigint): Promise<void> {
    await this.#outside(`add projection ${key.name}`, (runner) => this.#tables.add(runner, key, partitions, position))
  }

  async repartition(projection: Omit<ProjectionKey, 'partition'>, partitions: number): Promise<boolean> {
    return await this.datastore.transaction(
      async () =>
        await this.#inside(`divide projection ${projection.name} into ${partitions} parts`, (runner) =>
          this.#tables.repartition(runner, projection, partitions),
        ),
      { propagation: 'requiresNew', deadlineMs: besideDeadlineMs, label: `projection ${projection.name}` },
    )
  }

  async claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    return await this.#outside(`take the lease of projection ${key.name}`, (runner) =>
      this.#tables.claim(runner, key, owner, { leaseMs, isSeized: false }),
    )
  }

  async seize(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    return await this.#outside(`take the lease of projection ${key.name}`, (runner) =>
      this.#tables.claim(runner, key, owner, { leaseMs, isSeized: true }),
    )
  }

  get singleWriter(): boolean {
    return this.#engine.dialect.singleWriter
  }

  async renew(owner: string, names: readonly string[], leaseMs: number, wanted?: ProjectionWanted): Promise<number> {
    return await this.#outside('keep the leases of projections', (runner) =>
      this.#tables.renew(runner, owner, names, { leaseMs, wanted }),
    )
  }

  async release(key: ProjectionKey, epoch: bigint): Promise<void> {
    await this.#outside(`give up the lease of projection ${key.name}`, (runner) =>
      this.#tables.release(runner, key, epoch),
    )
  }

  async supersede(name: string, version: number): Promise<void> {
    await this.#outside(`supersede the versions of projection ${name} before ${version}`, (runner) =>
      this.#tables.supersede(runner, name, version),
    )
  }

  async batch(
    key: ProjectionKey,
    move: ProjectionMove,
    work: (batch: ProjectionBatch<TransactionClient<Client>>) => Promise<void>,
  ): Promise<void> {
    const advance = async (step: ProjectionMove): Promise<void> => {
      if (await this.#inside(`move projection ${key.name} on`, (runner) => this.#tables.advance(runner, key, step)))
        return
      throw new LeaseLostError(
        `Could not move projection ${key.name} from ${step.from} to ${step.to}: another runner has taken it. Nothing of the batch was stored.`,
      )
    }
    await this.datastore.transaction(
      async (tx) => {
        await advance(move)
        await work({
          // Who writes nothing needs none: a relay runs on a datastore without a client.
          get client() {
            return tx.client
          },
          stopAt: (to) => advance({ ...move, from: move.to, to }),
          ...(this.#engine.dialect.overwriting === undefined
            ? {}
            : { changeRows: async (changes) => await bulkUpdate(tx.client as object, changes) }),
        })
      },
      { propagation: 'requiresNew', deadlineMs: move.deadlineMs, label: `projection ${key.name}` },
    )
  }

  async together(deadlineMs: number, work: (client: TransactionClient<Client>) => Promise<void>): Promise<void> {
    await this.datastore.transaction(async ({ client }) => await work(client), {
      propagation: 'requiresNew',
      deadlineMs,
      label: 'the rebuild of a projection',
    })
  }

  async beside(keys: readonly ProjectionKey[], work: () => Promise<void>): Promise<void> {
    await this.datastore.transaction(
      async () => {
        for (const key of keys) {
          await this.#inside(`lock projection ${key.name}`, (runner) => this.#tables.lock(runner, key))
        }
        await work()
      },
      { propagation: 'requiresNew', deadlineMs: besideDeadlineMs, label: 'parked events' },
    )
  }

  async change(name: string, version: number, change: ProjectionStateChange): Promise<void> {
    await this.#inside(`change the state of projection ${name}`, (runner) =>
      this.#tables.change(runner, name, version, change),
    )
  }

  async reposition(key: ProjectionKey, epoch: bigint, position: bigint): Promise<boolean> {
    return await this.#inside(`set projection ${key.name} to ${position}`, (runner) =>
      this.#tables.reposition(runner, key, epoch, position),
    )
  }

  async park(name: string, version: number, event: Omit<ParkedEvent, 'parkedAt'>): Promise<void> {
    await this.#inside(`park an event of projection ${name}`, (runner) =>
      this.#tables.park(runner, name, version, event),
    )
  }

  async parked(name: string, version: number): Promise<ParkedEvent[]> {
    return await runIn(this.#engine, 'read', `read the parked events of projection ${name}`, (runner) =>
      this.#tables.parked(runner, name, version),
    )
  }

  async unpark(name: string, version: number, notificationId?: bigint): Promise<number> {
    return await this.#inside(`take back an event of projection ${name}`, (runner) =>
      this.#tables.unpark(runner, name, version, notificationId),
    )
  }

  async shadow(projection: string, models: readonly string[]): Promise<ProjectionShadow> {
    const { datastore } = this
    const names = this.#names
    const recorderIn = (schema: string): ProjectionRecorder =>
      new PrismaProjectionRecorder(datastore, { names, schema })
    return await newProjectionShadow(this.#engine, { projection, models, names, recorderIn })
  }

  mayPass(error: unknown): boolean {
    // Prisma's own errors, which the calls of a handler throw, tell what the database said.
    return isTransient(
      readDriverError(error) === undefined ? error : translateError(this.#engine.dialect, error, 'run a batch'),
    )
  }

  async #outside<T>(attempted: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    return await runIn(this.#engine, 'outside', attempted, work)
  }

  async #inside<T>(attempted: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    return await runIn(this.#engine, 'repeatable', attempted, work)
  }
}
