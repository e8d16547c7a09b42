/** Keeps positions, leases and states of projections in tables of the Prisma schema, and those of a shadow in a second schema or database. */

import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { LeaseLostError, NotSupportedError } from '../errors.js'
import type {
  OpenShadowOptions,
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
  RunnerWork,
} from '../persistence/projection-recorder.js'
import { attended } from '../transaction/calls.js'
import { isTransient } from '../transaction/options.js'
import type { RecorderDatastore } from './aggregate-recorder.js'
import { bulkUpdate } from './bulk-update.js'
import type { StatementRunner } from './connections.js'
import type { ProjectionTableNames, ProjectionTables, ShadowDialect, ShadowTables } from './dialect.js'
import { readDriverError, type TransactionClient } from './driver.js'
import { createTables, type Engine, engineOf, runIn } from './engine.js'
import type { ShadowClient } from './shadow-client.js'
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

  beginWork(stop: () => Promise<void>): RunnerWork | undefined {
    return this.#engine.transactions.beginWork?.(stop)
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

  async attended(title: string, work: () => Promise<void>): Promise<void> {
    await attended(title, work)
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

/** What a shadow is of. */
export interface ShadowOptions {
  readonly projection: string
  readonly models: readonly string[]
  readonly names: ProjectionTableNames
  /** Makes what keeps the positions in a schema or database. */
  readonly recorderIn: (schema: string) => ProjectionRecorder
}

/** Who has made a schema or database has its lease a moment later. */
const untilLeasedMs = 2_000
const pollMs = 50

/** The tables are made with the lease in force; `live` is the status of a shadow whose tables are all there. */
const complete = 'live'

/** @throws `NotSupportedError` where there can be no shadow */
async function newProjectionShadow(engine: Engine, options: ShadowOptions): Promise<ProjectionShadow> {
  const { dialect, shadowClient } = engine
  const because = (why: string): NotSupportedError =>
    new NotSupportedError(`Could not make a shadow of projection ${options.projection}: ${why}`)
  if (dialect.shadow === undefined) {
    throw because(`${dialect.name} has one place for tables. Use way: 'in-place', or 'atomic' where the log is small.`)
  }
  if (shadowClient === undefined) {
    throw because("its datastore cannot make a second client. Give it the option `client`, or use way: 'atomic'.")
  }
  const { shadow } = dialect
  const defaultSchema = await runIn(engine, 'outside', 'ask where the tables are', (runner) =>
    shadow.defaultSchema(runner),
  )
  const said = (await engine.connectionSchema?.()) ?? defaultSchema
  const name = nameOf(said, options)
  const client = shadowClient(name, shadow.quoted(name))
  try {
    const tables: string[] = []
    for (const model of options.models) {
      const table = tableIn(await client.statementOf(model), shadow.quoted(name))
      if (table === undefined) throw because(`its model ${model} is in a schema of its own. Use way: 'atomic'.`)
      tables.push(table)
    }
    return new PrismaProjectionShadow({ engine, shadow, client, options, place: { live: said, shadow: name, tables } })
  } catch (error) {
    await client.close()
    throw error
  }
}

interface ShadowPlace {
  readonly engine: Engine
  readonly shadow: ShadowDialect
  readonly client: ShadowClient
  readonly options: ShadowOptions
  readonly place: ShadowTables
}

class PrismaProjectionShadow implements ProjectionShadow {
  readonly name: string
  readonly recorder: ProjectionRecorder
  readonly #of: ShadowPlace

  constructor(of: ShadowPlace) {
    this.#of = of
    this.name = of.place.shadow
    this.recorder = of.options.recorderIn(this.name)
  }

  async open(key: ProjectionKey, { owner, leaseMs, resumes }: OpenShadowOptions): Promise<ProjectionLease> {
    const { shadow, place } = this.#of
    await this.#refuseOutsideReferences()
    const left = (await this.#run('look for', (runner) => shadow.exists(runner, this.name)))
      ? await this.#takeOver(key, owner, leaseMs)
      : undefined
    if (left?.isWhole === true && resumes) return left.lease
    await this.drop()
    await this.#run('create', (runner) => shadow.create(runner, this.name))
    try {
      await this.recorder.createTable()
      await this.recorder.add(key, 1)
      const lease = await this.recorder.claim(key, owner, leaseMs)
      if (lease === undefined) throw this.#underWay()
      await this.#run('furnish', (runner) => shadow.furnish(runner, place))
      await this.recorder.change(key.name, key.version, { status: complete })
      return lease
    } catch (error) {
      if (!(error instanceof LeaseLostError)) await this.drop().catch(() => undefined)
      throw error
    }
  }

  async within<T>(work: () => Promise<T>): Promise<T> {
    return await this.#of.client.within(work)
  }

  async replaceRows(): Promise<void> {
    const { engine, shadow, place } = this.#of
    const attempted = `put the rows of ${this.name} in the place of those in use`
    await runIn(engine, 'repeatable', attempted, (runner) => shadow.replaceRows(runner, place))
  }

  async drop(): Promise<void> {
    await this.#run('drop', (runner) => this.#of.shadow.drop(runner, this.name))
  }

  async close(): Promise<void> {
    await this.#of.client.close()
  }

  /** Takes the lease of what another rebuild has left. @returns undefined where it has left nothing of use */
  async #takeOver(
    key: ProjectionKey,
    owner: string,
    leaseMs: number,
  ): Promise<{ readonly lease: ProjectionLease; readonly isWhole: boolean } | undefined> {
    const until = performance.now() + untilLeasedMs
    do {
      const [row] = await this.recorder.rows().catch(() => [])
      if (row !== undefined) {
        const lease = row.isLeased ? undefined : await this.recorder.claim(row, owner, leaseMs)
        if (lease === undefined) throw this.#underWay(row.owner)
        const isSame = row.version === key.version && row.upstream === key.upstream
        return { lease, isWhole: isSame && row.status === complete }
      }
      await delay(pollMs)
    } while (performance.now() < until)
    return undefined
  }

  #underWay(owner?: string): LeaseLostError {
    return new LeaseLostError(
      `Could not rebuild projection ${this.#of.options.projection} in ${this.name}: another rebuild of it is under way` +
        `${owner === undefined ? '' : `, by ${owner}`}. Wait for its end.`,
    )
  }

  async #refuseOutsideReferences(): Promise<void> {
    const { shadow, place, options } = this.#of
    const references = await this.#run('look at the foreign keys of', (runner) =>
      shadow.outsideReferences(runner, place),
    )
    const [first] = references
    if (first === undefined) return
    throw new NotSupportedError(
      `Could not rebuild projection ${options.projection}: the table ${first.table} refers to ${first.to}, and is not among its models, ` +
        'so its rows would be lost, or would keep those from being replaced. Name its model, too, if this projection writes it; ' +
        'else drop the foreign key.',
    )
  }

  async #run<T>(what: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    return await runIn(this.#of.engine, 'outside', `${what} the shadow ${this.name}`, work)
  }
}

/** The same for the same projection, so that the next rebuild finds what one has left. */
function nameOf(live: string, { names, projection }: ShadowOptions): string {
  const digest = createHash('sha256').update(`${live}/${names.projections}/${projection}`).digest('hex')
  return `shadow_${projection.replaceAll(/\W/g, '_').toLowerCase().slice(0, 40)}_${digest.slice(0, 10)}`
}

/** The table that a statement reads. */
function tableIn(sql: string, quoted: string): string | undefined {
  const from = `FROM ${quoted}.`
  const start = sql.indexOf(from)
  if (start < 0) return undefined
  const mark = sql.charAt(start + from.length)
  const rest = sql.slice(start + from.length + 1)
  let name = ''
  for (let index = 0; index < rest.length; index += 1) {
    const letter = rest.charAt(index)
    // A mark within a name is doubled.
    if (letter === mark && rest.charAt(index + 1) !== mark) break
    if (letter === mark) index += 1
    name += letter
  }
  return name
}
