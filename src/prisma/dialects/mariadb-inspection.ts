/** How a database of MariaDB or MySQL is looked at. */
import { type Inspector, keysOf } from '../dialect.js'

export const mariadbInspector: Inspector = {
  addedColumns: {
    metadata: 'JSON NULL',
    recorded_at: 'DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)',
  },

  async columns(query, { table }) {
    const sql =
      'SELECT column_name FROM information_schema.columns WHERE table_schema = database() AND table_name = ? ORDER BY ordinal_position'
    return (await query(sql, [table])).map(([name]) => String(name))
  },

  async uniqueKeys(query, { table }) {
    const sql =
      'SELECT index_name, column_name FROM information_schema.statistics WHERE table_schema = database() AND table_name = ? ' +
      'AND non_unique = 0 ORDER BY index_name, seq_in_index'
    return keysOf(await query(sql, [table]))
  },

  // Who writes past the counter leaves ids beyond it, which is looked for anyway; readers wait for nobody.
  async writers() {
    return []
  },
}
