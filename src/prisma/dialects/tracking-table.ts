/** The statements over one table of tracking positions: each position moves on by one conditional upsert. */
import type { Tracking } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { TrackingTable } from '../dialect.js'
import { statement } from '../driver.js'
import { toBigInt } from './event-rows.js'

/** What differs between the databases. */
export interface TrackingStatements {
  readonly createStatements: readonly string[]
  /** Takes a name and a position, and changes a row only where the position is greater than the one stored. */
  readonly advance: string
  /** Takes a name. */
  readonly select: string
  /** Gives names and positions. */
  readonly selectAll: string
}

/** For databases that count an upsert only when it has changed a row. */
export class UpsertTrackingTable implements TrackingTable {
  readonly createStatements: readonly string[]
  readonly #statements: TrackingStatements

  constructor(statements: TrackingStatements) {
    this.createStatements = statements.createStatements
    this.#statements = statements
  }

  async advance(runner: StatementRunner, { applicationName, notificationId }: Tracking): Promise<boolean> {
    return (await runner.execute(statement(this.#statements.advance, [applicationName, notificationId]))) > 0
  }

  async all(runner: StatementRunner): Promise<Tracking[]> {
    const { rows } = await runner.query(statement(this.#statements.selectAll))
    return rows.map(([name, id]) => ({ applicationName: String(name), notificationId: toBigInt(id) }))
  }

  async lastPosition(runner: StatementRunner, applicationName: string): Promise<bigint | null> {
    const { rows } = await runner.query(statement(this.#statements.select, [applicationName]))
    return rows[0] === undefined ? null : toBigInt(rows[0][0])
  }
}
