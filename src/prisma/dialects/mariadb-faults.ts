/** How faults come about on MariaDB and MySQL. */

import { type FaultDialect, refused } from '../dialect.js'
import { statement } from '../driver.js'
import { quotedName } from './quoted-names.js'

const deadlock = `SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'Deadlock by a fault of the test'`

export const mariadbFaults: FaultDialect = {
  rowsQuery: (table) => statement(`SELECT * FROM ${quotedName(table, '`')}`),
  server: {
    idQuery: statement('SELECT CONNECTION_ID()'),
    endQuery: (connectionId) => statement(`KILL CONNECTION ${Number(connectionId)}`),
  },
  async giveWay(connection) {
    // A deadlock undoes the whole transaction, and what comes after it would be stored statement by statement.
    await connection.executeRaw(statement('ROLLBACK'))
    return await refused(connection, statement(deadlock))
  },
}
