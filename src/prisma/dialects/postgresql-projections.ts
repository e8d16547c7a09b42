/** The tables of projections on PostgreSQL. */
import type { ProjectionTablesOptions } from '../dialect.js'
import { primaryKeyName } from '../table-names.js'
import { longestName, qualified, schemaStatements } from './postgresql-tables.js'
import { type ProjectionColumnTypes, projectionTablesStatements } from './projection-table-columns.js'
import { ProjectionStatements } from './projection-tables.js'

const quote = (name: string): string => `"${name}"`

const types: ProjectionColumnTypes = {
  quote,
  name: 'TEXT',
  key: 'TEXT',
  word: 'TEXT',
  text: 'TEXT',
  time: 'TIMESTAMPTZ(6)',
  timeNow: 'CURRENT_TIMESTAMP',
  primaryKey: (table, columns) =>
    `CONSTRAINT "${primaryKeyName(table, longestName).name}" PRIMARY KEY (${columns.map(quote).join(',')})`,
  empty: '',
  options: '',
}

const parameterTypes = { name: 'text', integer: 'integer', bigint: 'bigint', text: 'text' } as const

/**
 * A second writer of a position waits for the first and then compares anew. The server ends a batch whose process was stopped a
 * little before its lease is over, so that its lock on the row is gone when somebody else takes it.
 */
export function postgresqlProjectionTables({ names, schema }: ProjectionTablesOptions): ProjectionStatements {
  const table = (name: string): string => qualified(name, { schema })
  return new ProjectionStatements({
    createStatements: [...schemaStatements({ schema }), ...projectionTablesStatements(names, types, table)],
    projections: table(names.projections),
    states: table(names.projectionStates),
    parked: table(names.parkedEvents),
    quote,
    parameter: (position, type) => `$${position}::${parameterTypes[type]}`,
    now: () => 'clock_timestamp()',
    later: (args, ms) => `clock_timestamp() + $${args.push(ms)}::bigint * interval '1 millisecond'`,
    wide: (column) => column,
    ifNew: 'ON CONFLICT DO NOTHING',
    guarded: (limitMs) => {
      const ms = Math.max(1, Math.floor(limitMs * 0.8))
      return `set_config('idle_in_transaction_session_timeout', '${ms}', true), set_config('lock_timeout', '${ms}', true)`
    },
  })
}
