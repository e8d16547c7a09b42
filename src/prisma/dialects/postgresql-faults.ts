/** How faults come about on PostgreSQL. */

import { type FaultDialect, refused } from '../dialect.js'
import { statement } from '../driver.js'
import { quotedName } from './quoted-names.js'

const serialisationFailure = `DO $$ BEGIN
  RAISE EXCEPTION 'could not serialize access due to a fault of the test' USING ERRCODE = 'serialization_failure';
END $$`

export const postgresqlFaults: FaultDialect = {
  // As text, which all types have: the adapter refuses some.
  rowsQuery: (table) => statement(`SELECT t::text FROM ${quotedName(table, '"')} AS t`),
  server: {
    idQuery: statement('SELECT pg_backend_pid()'),
    endQuery: (connectionId) => statement(`SELECT pg_terminate_backend(${Number(connectionId)})`),
  },
  async giveWay(connection, atCommit) {
    if (atCommit) await connection.executeRaw(statement('ROLLBACK'))
    return await refused(connection, statement(serialisationFailure))
  },
}
