/** Tables like those of a projection in a second schema or database, with positions and leases of their own. */
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { LeaseLostError, NotSupportedError } from '../errors.js'
import type {
  OpenShadowOptions,
  ProjectionKey,
  ProjectionLease,
  ProjectionRecorder,
  ProjectionShadow,
} from '../persistence/projection-recorder.js'
import type { StatementRunner } from './connections.js'
import type { ProjectionTableNames, ShadowDialect, ShadowTables } from './dialect.js'
import { type Engine, runIn } from './engine.js'
import type { ShadowClient } from './shadow-client.js'

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
export async function newProjectionShadow(engine: Engine, options: ShadowOptions): Promise<ProjectionShadow> {
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
