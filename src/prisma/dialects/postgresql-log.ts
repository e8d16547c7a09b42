/** The rule that keeps a log on PostgreSQL in order, and what it needs of the server and of the sequence behind the ids. */
import { NotSupportedError, ProgrammingError } from '../../errors.js'
import type { StatementRunner } from '../connections.js'
import type { TableFault } from '../dialect.js'
import { statement } from '../driver.js'
import type { LogBlocker, LogWatch } from '../log-signals.js'
import { withoutTable } from '../table-names.js'
import { toBigInt } from './event-rows.js'

/** Databases that speak the protocol of PostgreSQL and have other sequences and locks. */
const lookAlikes = /CockroachDB|YugabyteDB|-YB-|Redshift|Materialize|CrateDB|Greenplum/i

/** Which log it is. */
export interface PostgresqlLogOptions {
  /** What stands for the table in a statement. */
  readonly reference: string
  /** What writers notify. */
  readonly channels: readonly string[]
  readonly watch: LogWatch | undefined
}

/** What one look at the server tells. */
interface Look {
  readonly settled: bigint
  readonly last: bigint
  readonly isStandby: boolean
  /** How many ids a connection takes from the sequence at once. */
  readonly cache: number
  /** The greatest id that is visible; 0 where nobody has asked. */
  readonly greatest: bigint
}

/**
 * A reader of the log must not pass a position that a transaction still open may fill later. So each transaction first takes
 * a shared advisory lock whose key holds the table and its *floor*, the last id given out so far: all ids of that
 * transaction are greater. PostgreSQL releases the lock after the commit can be seen. A reader asks for the least floor
 * among the locks held (after it has read the last id given out: who locks later gets greater ids), and what is up to
 * there is final.
 *
 * @see https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
 */
export class PostgresqlLog {
  readonly #reference: string
  readonly #table: string
  readonly #notifications: string
  readonly #watch: LogWatch | undefined
  #sequence: Sequence | undefined

  constructor({ reference, channels, watch }: PostgresqlLogOptions) {
    this.#reference = reference
    this.#table = `'${reference}'::regclass::oid`
    this.#notifications = channels.map((channel) => `, pg_notify('${channel}', '')`).join('')
    this.#watch = watch
  }

  /**
   * The beginning of an insert: a row `floor`, and the lock. There is no row, and so nothing is inserted, where connections
   * take ids of the sequence in advance.
   *
   * One lock is enough for a transaction, since its later ids are greater still. A setting that lasts as long as the
   * transaction tells that it is held: whatever rolls back to a savepoint before the lock, releases the one and unsets the other.
   */
  floor(runner: StatementRunner): string | Promise<string> {
    const withFloor = (sequence: Sequence): string => this.#withFloor(sequence, runner.inTransaction)
    return this.#sequence === undefined ? this.#find(runner).then(withFloor) : withFloor(this.#sequence)
  }

  #withFloor({ name, asClass }: Sequence, inTransaction: boolean): string {
    const key = `(${this.#table}::bigint << 32) | (${lastIdOf} & 4294967295)`
    const lock = `pg_advisory_xact_lock_shared(${key})`
    const setting = `'eventsourcing.floor_' || ${this.#table}`
    const once = `CASE WHEN coalesce(current_setting(${setting}, true), '') = '' THEN set_config(${setting}, 'held' || ${lock}::text, true) END`
    return (
      `WITH floor AS MATERIALIZED (SELECT ${inTransaction ? once : lock}${this.#notifications} FROM ${name} ` +
      `WHERE (pg_sequence_parameters(${asClass})).cache_size = 1) `
    )
  }

  /**
   * What is up to there stays final, although the position may be smaller later: a writer may have read the end of the sequence long before
   * it gets its lock, whose floor is then below what others have been told. All of its ids are greater still.
   *
   * @param comparesIds - whether the ids are compared with the sequence in any case; else about once a minute
   * @throws `NotSupportedError` where the log cannot be read in order
   */
  async settledPosition(runner: StatementRunner, comparesIds: boolean): Promise<bigint> {
    const sequence = await this.#find(runner)
    const withGreatest = comparesIds || this.#watch?.isCheckDue === true
    const look = await this.#look(runner, sequence, withGreatest)
    const refusal = this.#refusalOf(look, sequence)
    if (refusal !== undefined) throw new NotSupportedError(`Could not read the log ${this.#reference}: ${refusal}`)
    if (withGreatest) this.#watch?.checked(look.greatest > look.last ? this.#behind(look, sequence) : undefined)
    if (this.#watch?.looked(look) === true) this.#watch.stalled(await this.#blockers(runner))
    return look.settled
  }

  /** The end of the sequence, or of the table where that is behind it. */
  async lastGivenPosition(runner: StatementRunner): Promise<bigint> {
    const { last, greatest } = await this.#look(runner, await this.#find(runner))
    return last > greatest ? last : greatest
  }

  /** What is wrong with the ids, or with the server. */
  async findFault(runner: StatementRunner): Promise<TableFault | undefined> {
    const sequence = await this.#find(runner)
    const look = await this.#look(runner, sequence)
    const refusal = this.#refusalOf(look, sequence)
    if (refusal !== undefined) return { message: refusal, isRefusal: true }
    return look.greatest > look.last ? { message: this.#behind(look, sequence), isRefusal: false } : undefined
  }

  async #find(runner: StatementRunner): Promise<Sequence> {
    if (this.#sequence !== undefined) return this.#sequence
    const sequence = await this.#findSequence(runner)
    const look = await this.#look(runner, sequence)
    const refusal = this.#refusalOf(look, sequence)
    if (refusal !== undefined) throw new NotSupportedError(`Could not use the log ${this.#reference}: ${refusal}`)
    this.#watch?.checked(look.greatest > look.last ? this.#behind(look, sequence) : undefined)
    this.#sequence = sequence
    return sequence
  }

  async #findSequence(runner: StatementRunner): Promise<Sequence> {
    // Looked up by name first: an error would end the caller's transaction.
    const sql = `SELECT version(), CASE WHEN to_regclass($1) IS NULL THEN NULL ELSE pg_get_serial_sequence($1, 'id') END`
    const { rows } = await runner.query(statement(sql, [this.#reference]))
    const [version, name] = rows[0] ?? []
    if (lookAlikes.test(String(version))) {
      throw new NotSupportedError(
        `Could not use the log ${this.#reference}: this database is ${String(version).slice(0, 40)}, whose sequences and locks are not ` +
          'those of PostgreSQL, so events would be missed. Keep the events in PostgreSQL; transactions without events work here.',
      )
    }
    if (typeof name === 'string') return { name, asClass: `'${name.replaceAll("'", "''")}'::regclass` }
    const [table = ''] = /\w+(?="$)/.exec(this.#reference) ?? []
    throw new ProgrammingError(
      `Could not use the log ${this.#reference}: ${withoutTable(table)}. A table of that name needs a generated id.`,
    )
  }

  /**
   * The own transaction's lock does not count: it sees its own events. A lock's key has room for 32 bits of the floor; the rest follows,
   * since no floor is further than 2^31 from the last id. It may be greater than that: locks are read after the sequence.
   */
  async #look(runner: StatementRunner, { name, asClass }: Sequence, withGreatest: boolean = true): Promise<Look> {
    const sql =
      `SELECT least(l.id, f.floor), l.id, pg_is_in_recovery(), (pg_sequence_parameters(${asClass})).cache_size, ` +
      `${withGreatest ? `(SELECT max(id) FROM ${this.#reference})` : 'NULL'} FROM (SELECT ${lastIdOf} AS id FROM ${name}) AS l, ` +
      `LATERAL (SELECT min(l.id - (((l.id - objid::bigint + 2147483648) & 4294967295) - 2147483648)) AS floor FROM pg_catalog.pg_locks ` +
      `WHERE ${this.#areFloors} AND l.id IS NOT NULL) AS f`
    const { rows } = await runner.query(statement(sql))
    const [settled, last, isStandby, cache, greatest] = rows[0] ?? []
    return {
      settled: toBigInt(settled ?? 0),
      last: toBigInt(last ?? 0),
      isStandby: isStandby === true,
      cache: Number(cache ?? 1),
      greatest: toBigInt(greatest ?? 0),
    }
  }

  get #areFloors(): string {
    return (
      `locktype = 'advisory' AND objsubid = 1 AND mode = 'ShareLock' AND classid = ${this.#table} ` +
      `AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()`
    )
  }

  /** The oldest first. */
  async #blockers(runner: StatementRunner): Promise<LogBlocker[]> {
    const sql =
      `SELECT pid, concat_ws(', ', state, 'application ' || nullif(application_name, ''), 'transaction since ' || ` +
      `date_trunc('second', xact_start)) FROM pg_catalog.pg_stat_activity WHERE pid IN ` +
      `(SELECT pid FROM pg_catalog.pg_locks WHERE ${this.#areFloors}) ORDER BY xact_start`
    const { rows } = await runner.query(statement(sql))
    return rows.map(([pid, what]) => ({ pid: Number(pid), what: String(what) }))
  }

  #refusalOf({ isStandby, cache }: Look, { name }: Sequence): string | undefined {
    if (isStandby) {
      return (
        'this server is a standby of another one (pg_is_in_recovery()), which knows neither the locks of the writers nor the exact ' +
        'end of the sequence, so events would be missed. Connect this datastore to the primary; single streams can be read here.'
      )
    }
    if (cache > 1) {
      return (
        `each connection takes ${cache} ids of the sequence ${name} in advance (CACHE ${cache}), so ids come in another order than ` +
        `commits, and events would be missed. Run ALTER SEQUENCE ${name} CACHE 1, then connect all writers anew: they use up what they have taken.`
      )
    }
    return undefined
  }

  #behind({ greatest, last }: Look, { name }: Sequence): string {
    return (
      `the sequence ${name} stands at ${last}, and the table ${this.#reference} has ids up to ${greatest}, as after an import with ids, ` +
      `a restore or a fail-over: new ids collide with those, and readers go no further than the sequence. ` +
      `Run SELECT setval('${name}', (SELECT max(id) FROM ${this.#reference})).`
    )
  }
}

/** Where ids come from. */
interface Sequence {
  /** As a statement names it. */
  readonly name: string
  readonly asClass: string
}

/** In a select from the sequence: the last id that it has given out. */
const lastIdOf = 'CASE WHEN is_called THEN last_value ELSE last_value - 1 END'
