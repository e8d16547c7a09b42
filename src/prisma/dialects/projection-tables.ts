/** The statements over the three tables of projections, alike on all databases but for a few words. */
import type {
  ParkedEvent,
  ProjectionKey,
  ProjectionLease,
  ProjectionMove,
  ProjectionRow,
  ProjectionStateChange,
  ProjectionStatus,
  ProjectionWanted,
} from '../../persistence/projection-recorder.js'
import type { StatementRunner } from '../connections.js'
import type { ProjectionTables } from '../dialect.js'
import { type SqlQuery, statement } from '../driver.js'
import { partsOf, toBigInt, toDate, toText } from './event-rows.js'

/** The types of values. */
export type ProjectionValue = 'name' | 'integer' | 'bigint' | 'text'

/** What differs between the databases. */
export interface ProjectionWords {
  readonly createStatements: readonly string[]
  /** The tables, quoted. */
  readonly projections: string
  readonly states: string
  readonly parked: string
  readonly quote: (column: string) => string
  /** How the parameter at a position, from 1, is written. */
  readonly parameter: (position: number, type: ProjectionValue) => string
  /** The time by the clock that leases go by. */
  readonly now: (args: unknown[]) => string
  readonly later: (args: unknown[], ms: number) => string
  /** How a column of 64 bits is read. */
  readonly wide: (column: string) => string
  /** Ends an insert that leaves a row alone that is there. */
  readonly ifNew: string
  /** What else the statement that moves a position does: the server's guards for the transaction that it begins. */
  readonly guarded: (limitMs: number) => string
}

/** How many names or ids one statement lists. */
const longestList = 500

/** The tables of one application. */
export class ProjectionStatements implements ProjectionTables {
  readonly createStatements: readonly string[]
  readonly #words: ProjectionWords

  constructor(words: ProjectionWords) {
    this.createStatements = words.createStatements
    this.#words = words
  }

  async rows(runner: StatementRunner): Promise<ProjectionRow[]> {
    const { projections, states, now, wide } = this.#words
    const args: unknown[] = []
    const sql =
      `SELECT p.name, p.version, p.upstream, ${this.#part('p')}, p.partitions, ${wide('p.position')}, p.owner, ` +
      `CASE WHEN p.leased_until > ${now(args)} THEN 1 ELSE 0 END, p.leased_until, s.wanted, s.status, ${wide('s.target')}, s.reason, ` +
      `${wide('s.failed_position')} FROM ${projections} AS p JOIN ${states} AS s ON s.name = p.name AND s.version = p.version ` +
      `ORDER BY p.name, p.version, p.upstream, ${this.#part('p')}`
    const { rows } = await runner.query(statement(sql, args))
    return rows.map(toRow)
  }

  async wanted(runner: StatementRunner, name: string, version: number): Promise<ProjectionWanted | undefined> {
    const { args, put } = this.#parameters()
    const sql =
      `SELECT wanted FROM ${this.#words.states} ` +
      `WHERE name = ${put(name, 'name')} AND version = ${put(version, 'integer')}`
    const { rows } = await runner.query(statement(sql, args))
    return optional(rows[0]?.[0], toText) as ProjectionWanted | undefined // written by us
  }

  async add(runner: StatementRunner, key: ProjectionKey, partitions: number, position: bigint = 0n): Promise<void> {
    const { projections, states, parameter, ifNew, quote } = this.#words
    const types: ProjectionValue[] = ['name', 'integer', 'name', 'integer', 'integer', 'bigint']
    const values = types.map((type, index) => parameter(index + 1, type))
    const sql =
      `INSERT INTO ${projections} (name, version, upstream, ${quote('partition')}, partitions, position, epoch) ` +
      `VALUES (${values.join(', ')}, 0) ${ifNew}`
    const state = `INSERT INTO ${states} (name, version, wanted, status) VALUES (${values.slice(0, 2).join(', ')}, 'running', 'building') ${ifNew}`
    await runner.execute(statement(state, [key.name, key.version]))
    const row = [key.name, key.version, key.upstream, key.partition, partitions, position]
    await runner.execute(statement(sql, row))
  }

  async repartition(
    runner: StatementRunner,
    projection: Omit<ProjectionKey, 'partition'>,
    partitions: number,
  ): Promise<boolean> {
    const { projections, wide } = this.#words
    const isIts = (put: (value: unknown, type: ProjectionValue) => string): string =>
      `name = ${put(projection.name, 'name')} AND version = ${put(projection.version, 'integer')} ` +
      `AND upstream = ${put(projection.upstream, 'name')}`
    const send = (text: (condition: string) => string): SqlQuery => {
      const { args, put } = this.#parameters()
      return statement(text(isIts(put)), args)
    }
    await runner.execute(send((its) => `UPDATE ${projections} SET position = position WHERE ${its}`))
    const select = send((its) => `SELECT ${wide('position')}, ${wide('epoch')} FROM ${projections} WHERE ${its}`)
    const rows = (await runner.query(select)).rows.map(([position, epoch]) => [toBigInt(position), toBigInt(epoch)])
    const [position = 0n] = rows[0] ?? []
    const isPaused = (await this.wanted(runner, projection.name, projection.version)) === 'paused'
    if (!isPaused || rows.some(([other]) => other !== position)) return false
    const epoch = rows.reduce((greatest, [, each = 0n]) => (each > greatest ? each : greatest), 0n) + 1n
    await runner.execute(send((its) => `DELETE FROM ${projections} WHERE ${its}`))
    for (let partition = 0; partition < partitions; partition += 1) {
      const key = { ...projection, partition }
      await this.add(runner, key, partitions, position)
      const { args, put } = this.#parameters()
      const set = `epoch = ${put(epoch, 'bigint')}`
      await runner.execute(statement(`UPDATE ${projections} SET ${set} WHERE ${this.#isKey(key, put)}`, args))
    }
    return true
  }

  async claim(
    runner: StatementRunner,
    key: ProjectionKey,
    owner: string,
    { leaseMs, isSeized }: { readonly leaseMs: number; readonly isSeized: boolean },
  ): Promise<ProjectionLease | undefined> {
    const { projections, states, now, later, wide } = this.#words
    const { args, put } = this.#parameters()
    const update =
      `UPDATE ${projections} SET owner = ${put(owner, 'text')}, epoch = epoch + 1, leased_until = ${later(args, leaseMs)} ` +
      `WHERE ${this.#isKey(key, put)} ${isSeized ? '' : `AND (owner IS NULL OR leased_until <= ${now(args)}) `}` +
      `AND NOT EXISTS (SELECT 1 FROM ${states} WHERE name = ${put(key.name, 'name')} AND version > ${put(key.version, 'integer')})`
    if ((await runner.execute(statement(update, args))) === 0) return undefined
    const select = this.#parameters()
    const sql =
      `SELECT ${wide('position')}, ${wide('epoch')} FROM ${projections} ` +
      `WHERE ${this.#isKey(key, select.put)} AND owner = ${select.put(owner, 'text')}`
    const { rows } = await runner.query(statement(sql, select.args))
    return rows[0] === undefined ? undefined : { position: toBigInt(rows[0][0]), epoch: toBigInt(rows[0][1]) }
  }

  async lock(runner: StatementRunner, key: ProjectionKey): Promise<void> {
    const { args, put } = this.#parameters()
    const sql = `UPDATE ${this.#words.projections} SET position = position WHERE ${this.#isKey(key, put)}`
    await runner.execute(statement(sql, args))
  }

  async renew(
    runner: StatementRunner,
    owner: string,
    names: readonly string[],
    { leaseMs, wanted }: { readonly leaseMs: number; readonly wanted: ProjectionWanted | undefined },
  ): Promise<number> {
    const { projections, states, later } = this.#words
    let renewed = 0
    for (const part of partsOf(names, longestList)) {
      const { args, put } = this.#parameters()
      const update =
        `UPDATE ${projections} SET leased_until = ${later(args, leaseMs)} WHERE owner = ${put(owner, 'text')} ` +
        `AND name IN (${part.map((name) => put(name, 'name')).join(', ')})`
      const isWanted = (word: ProjectionWanted): string =>
        ` AND EXISTS (SELECT 1 FROM ${states} AS s WHERE s.name = ${projections}.name AND s.version = ${projections}.version ` +
        `AND s.wanted = ${put(word, 'text')})`
      renewed += await runner.execute(statement(wanted === undefined ? update : update + isWanted(wanted), args))
    }
    return renewed
  }

  async release(runner: StatementRunner, key: ProjectionKey, epoch: bigint): Promise<void> {
    const { args, put } = this.#parameters()
    const sql =
      `UPDATE ${this.#words.projections} SET owner = NULL, leased_until = NULL ` +
      `WHERE ${this.#isKey(key, put)} AND epoch = ${put(epoch, 'bigint')}`
    await runner.execute(statement(sql, args))
  }

  async supersede(runner: StatementRunner, name: string, version: number): Promise<void> {
    const { projections, states, parameter } = this.#words
    const isLower = `name = ${parameter(1, 'name')} AND version < ${parameter(2, 'integer')}`
    const fence = `UPDATE ${projections} SET epoch = epoch + 1, owner = NULL, leased_until = NULL WHERE ${isLower}`
    await runner.execute(statement(`UPDATE ${states} SET status = 'superseded' WHERE ${isLower}`, [name, version]))
    await runner.execute(statement(fence, [name, version]))
  }

  async advance(runner: StatementRunner, key: ProjectionKey, move: ProjectionMove): Promise<boolean> {
    const { projections, later, guarded } = this.#words
    const { args, put } = this.#parameters()
    const sql =
      `UPDATE ${projections} SET position = ${put(move.to, 'bigint')}, leased_until = ${later(args, move.leaseMs)} ` +
      `WHERE ${this.#isKey(key, put)} AND epoch = ${put(move.epoch, 'bigint')} AND position = ${put(move.from, 'bigint')}`
    return await changes(runner, statement(sql, args), guarded(move.leaseMs))
  }

  async reposition(runner: StatementRunner, key: ProjectionKey, epoch: bigint, position: bigint): Promise<boolean> {
    const { args, put } = this.#parameters()
    const sql =
      `UPDATE ${this.#words.projections} SET position = ${put(position, 'bigint')} ` +
      `WHERE ${this.#isKey(key, put)} AND epoch = ${put(epoch, 'bigint')}`
    return (await runner.execute(statement(sql, args))) > 0
  }

  async change(runner: StatementRunner, name: string, version: number, change: ProjectionStateChange): Promise<void> {
    const { states, now } = this.#words
    const { args, put } = this.#parameters()
    const set = (column: string, value: unknown, type: ProjectionValue): string[] =>
      value === undefined ? [] : [`${column} = ${value === null ? 'NULL' : put(value, type)}`]
    const assignments = [
      ...set('wanted', change.wanted, 'text'),
      ...this.#statusSet(change, (value) => put(value, 'text')),
      ...set('target', change.target, 'bigint'),
      ...set('reason', change.reason, 'text'),
      ...set('failed_position', change.failedPosition, 'bigint'),
    ]
    const sql =
      `UPDATE ${states} SET ${[...assignments, `updated_at = ${now(args)}`].join(', ')} ` +
      `WHERE name = ${put(name, 'name')} AND version = ${put(version, 'integer')}`
    await runner.execute(statement(sql, args))
  }

  /** Somebody may let it rest while its runner says what it does: what it is to do is read by the statement that changes it. */
  #statusSet({ status, wanted }: ProjectionStateChange, put: (value: unknown) => string): string[] {
    if (status === undefined) return []
    const rests = wanted === undefined && (status === 'live' || status === 'building')
    return [`status = ${rests ? `CASE WHEN wanted = 'paused' THEN 'paused' ELSE ${put(status)} END` : put(status)}`]
  }

  async park(
    runner: StatementRunner,
    name: string,
    version: number,
    event: Omit<ParkedEvent, 'parkedAt'>,
  ): Promise<void> {
    await this.unpark(runner, name, version, event.notificationId)
    const { args, put } = this.#parameters()
    const values = [
      put(name, 'name'),
      put(version, 'integer'),
      put(event.notificationId, 'bigint'),
      put(event.key, 'name'),
      put(event.attempts, 'integer'),
      put(event.error, 'text'),
    ]
    const columns = `name, version, notification_id, ${this.#words.quote('key')}, attempts, error`
    await runner.execute(
      statement(`INSERT INTO ${this.#words.parked} (${columns}) VALUES (${values.join(', ')})`, args),
    )
  }

  async parked(runner: StatementRunner, name: string, version: number): Promise<ParkedEvent[]> {
    const { parked, quote, wide } = this.#words
    const { args, put } = this.#parameters()
    const sql =
      `SELECT ${wide('notification_id')}, ${quote('key')}, attempts, error, parked_at FROM ${parked} ` +
      `WHERE name = ${put(name, 'name')} AND version = ${put(version, 'integer')} ORDER BY notification_id`
    const { rows } = await runner.query(statement(sql, args))
    return rows.map(([id, key, attempts, error, parkedAt]) => ({
      notificationId: toBigInt(id),
      key: toText(key),
      attempts: Number(attempts),
      error: toText(error),
      parkedAt: toDate(parkedAt),
    }))
  }

  async unpark(runner: StatementRunner, name: string, version: number, notificationId?: bigint): Promise<number> {
    const { args, put } = this.#parameters()
    const one = `WHERE name = ${put(name, 'name')} AND version = ${put(version, 'integer')}`
    const id = notificationId === undefined ? '' : ` AND notification_id = ${put(notificationId, 'bigint')}`
    return await runner.execute(statement(`DELETE FROM ${this.#words.parked} ${one}${id}`, args))
  }

  #parameters(): { readonly args: unknown[]; readonly put: (value: unknown, type: ProjectionValue) => string } {
    const args: unknown[] = []
    return { args, put: (value, type) => this.#words.parameter(args.push(value), type) }
  }

  #isKey(key: ProjectionKey, put: (value: unknown, type: ProjectionValue) => string): string {
    return (
      `name = ${put(key.name, 'name')} AND version = ${put(key.version, 'integer')} ` +
      `AND upstream = ${put(key.upstream, 'name')} AND ${this.#words.quote('partition')} = ${put(key.partition, 'integer')}`
    )
  }

  #part(alias: string): string {
    return `${alias}.${this.#words.quote('partition')}`
  }
}

/** Whether an update has met a row. Where it sets guards, too, it returns them, so that they are set by the same statement. */
async function changes(runner: StatementRunner, { sql, args }: SqlQuery, guards: string): Promise<boolean> {
  if (guards === '') return (await runner.execute(statement(sql, args))) > 0
  return (await runner.query(statement(`${sql} RETURNING ${guards}`, args))).rows.length > 0
}

function toRow(row: readonly unknown[]): ProjectionRow {
  const [name, version, upstream, partition, partitions, position, owner, isLeased, leasedUntil, ...state] = row
  const [wanted, status, target, reason, failedPosition] = state
  return {
    name: toText(name),
    version: Number(version),
    upstream: toText(upstream),
    partition: Number(partition),
    partitions: Number(partitions),
    position: toBigInt(position),
    owner: optional(owner, toText),
    isLeased: Number(isLeased) === 1,
    leasedUntil: optional(leasedUntil, toDate),
    wanted: toText(wanted) as ProjectionWanted, // written by us
    status: toText(status) as ProjectionStatus, // written by us
    target: optional(target, toBigInt),
    reason: optional(reason, toText),
    failedPosition: optional(failedPosition, toBigInt),
  }
}

function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === null || value === undefined ? undefined : read(value)
}
