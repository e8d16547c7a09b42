/** How faults come about on SQLite. */

import type { FaultDialect } from '../dialect.js'
import { statement } from '../driver.js'
import { quotedName } from './quoted-names.js'

export const sqliteFaults: FaultDialect = {
  rowsQuery: (table) => statement(`SELECT * FROM ${quotedName(table, '"')}`),
  server: undefined,
  // No statement makes the database busy. This is what the adapters make of it; the transaction goes on.
  giveWay: async () => {
    const cause = { kind: 'SocketTimeout', originalCode: 'SQLITE_BUSY', originalMessage: 'database is locked' }
    return await Promise.reject(
      Object.assign(new Error('database is locked', { cause }), { name: 'DriverAdapterError' }),
    )
  },
}
