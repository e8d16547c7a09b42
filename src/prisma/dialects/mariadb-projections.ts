/** The tables of projections on MariaDB and MySQL. */
import type { ProjectionTablesOptions } from '../dialect.js'
import { checked, tableCharacters } from './mariadb-tables.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './projection-table-columns.js'
import { ProjectionStatements } from './projection-tables.js'

const quote = (name: string): string => `\`${name}\``

const types: ProjectionColumnTypes = {
  quote,
  name: 'VARBINARY(255)',
  key: 'VARBINARY(1020)',
  word: 'VARCHAR(191)',
  text: 'TEXT',
  time: 'DATETIME(3)',
  timeNow: 'CURRENT_TIMESTAMP(3)',
  primaryKey: (_table, columns) => `PRIMARY KEY (${columns.map(quote).join(', ')})`,
  empty: ' NULL',
  options: ` ${tableCharacters}`,
}

/** A second writer of a position waits for the first, and then compares with what that one has stored. A schema is a database here. */
export function mariadbProjectionTables({ names, schema }: ProjectionTablesOptions): ProjectionStatements {
  const table = (name: string): string => (schema === undefined ? checked(name) : `${quote(schema)}.${checked(name)}`)
  return new ProjectionStatements({
    createStatements: projectionTablesStatements(names, types, table),
    projections: table(names.projections),
    states: table(names.projectionStates),
    parked: table(names.parkedEvents),
    quote,
    parameter: () => '?',
    now: () => 'UTC_TIMESTAMP(3)',
    later(args, ms) {
      args.push(Math.round(ms * 1000))
      return 'UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND'
    },
    wide: (column) => column,
    ifNew: 'ON DUPLICATE KEY UPDATE version = VALUES(version)',
    guarded: () => '',
  })
}
