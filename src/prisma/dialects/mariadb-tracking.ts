/** The statements over a table of tracking positions on MariaDB. */
import type { Tracking } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { TrackingTable, TrackingTableOptions } from '../dialect.js'
import { statement } from '../driver.js'
import { toBigInt, toText } from './event-rows.js'
import { setInsertId } from './insert-id.js'
import { trackingTableStatements } from './mariadb-tables.js'

/**
 * The upsert has no condition here, and drivers count a row also when it was left as it was: so the statement itself
 * tells, by LAST_INSERT_ID, whether the position has moved.
 */
export class MariadbTrackingTable implements TrackingTable {
  readonly createStatements: readonly string[]
  readonly #table: string

  constructor({ name }: TrackingTableOptions) {
    this.createStatements = trackingTableStatements(name)
    this.#table = `\`${name}\``
  }

  async advance(runner: StatementRunner, { applicationName, notificationId }: Tracking): Promise<boolean> {
    const sql =
      `INSERT INTO ${this.#table} (application_name, notification_id) SELECT ?, ? + LAST_INSERT_ID(1) - 1 FROM DUAL ` +
      `ON DUPLICATE KEY UPDATE notification_id = IF(notification_id < ?, ? + LAST_INSERT_ID(1) - 1, notification_id + LAST_INSERT_ID(0))`
    const moved = await setInsertId(runner, sql, [applicationName, notificationId, notificationId, notificationId])
    return moved === 1n
  }

  async all(runner: StatementRunner): Promise<Tracking[]> {
    const { rows } = await runner.query(statement(`SELECT application_name, notification_id FROM ${this.#table}`))
    return rows.map(([name, id]) => ({ applicationName: toText(name), notificationId: toBigInt(id) }))
  }

  async lastPosition(runner: StatementRunner, applicationName: string): Promise<bigint | null> {
    const sql = `SELECT notification_id FROM ${this.#table} WHERE application_name = ?`
    const { rows } = await runner.query(statement(sql, [applicationName]))
    return rows[0] === undefined ? null : toBigInt(rows[0][0])
  }
}
