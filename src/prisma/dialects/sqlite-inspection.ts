/** How a database of SQLite is looked at. */
import { type Inspector, keysOf } from '../dialect.js'

export const sqliteInspector: Inspector = {
  addedColumns: {
    metadata: 'JSONB',
    recorded_at: `DATETIME NOT NULL DEFAULT '1970-01-01T00:00:00.000+00:00'`,
  },

  async columns(query, { table }) {
    return (await query(`SELECT name FROM pragma_table_info('${table}')`)).map(([name]) => String(name))
  },

  async uniqueKeys(query, { table }) {
    const indexes =
      `SELECT l.name, i.name FROM pragma_index_list('${table}') AS l, pragma_index_info(l.name) AS i ` +
      `WHERE l."unique" = 1 ORDER BY l.name, i.seqno`
    // The rowid is in no list.
    const rowid = `SELECT 'rowid', name FROM pragma_table_info('${table}') WHERE pk > 0 ORDER BY pk`
    return keysOf([...(await query(rowid)), ...(await query(indexes))])
  },

  // One transaction writes at a time, whoever it is.
  async writers() {
    return []
  },
}
