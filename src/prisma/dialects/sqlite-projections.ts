/** The tables of projections on SQLite. */
import type { ProjectionTablesOptions } from '../dialect.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './projection-table-columns.js'
import { ProjectionStatements } from './projection-tables.js'
import { checked, timeText } from './sqlite-tables.js'

const quote = (name: string): string => `"${name}"`

const types: ProjectionColumnTypes = {
  quote,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'DATETIME',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (_table, columns) => `PRIMARY KEY (${columns.map(quote).join(', ')})`,
  empty: '',
  options: '',
}

/** One transaction writes at a time. The clock is that of this machine, where all have the file. */
export function sqliteProjectionTables({ names }: ProjectionTablesOptions): ProjectionStatements {
  return new ProjectionStatements({
    createStatements: projectionTablesStatements(names, types, checked),
    projections: checked(names.projections),
    states: checked(names.projectionStates),
    parked: checked(names.parkedEvents),
    quote,
    parameter: () => '?',
    now(args) {
      args.push(timeText(Date.now()))
      return '?'
    },
    later(args, ms) {
      args.push(timeText(Date.now() + ms))
      return '?'
    },
    // As text, since one of the drivers refuses to read integers beyond 2^53.
    wide: (column) => `CAST(${column} AS TEXT)`,
    ifNew: 'ON CONFLICT DO NOTHING',
    guarded: () => '',
  })
}
