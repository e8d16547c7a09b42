/** The statements over a table of subject keys on PostgreSQL. */
import type { TrackingTableOptions } from '../dialect.js'
import { qualified, subjectKeysTableStatements } from './postgresql-tables.js'
import { KeysTable } from './subject-keys-table.js'

/**
 * A second writer of one key waits for the first; each statement sees what was committed before it. DO NOTHING would leave
 * the row unlocked, and somebody else could delete it before the select.
 */
export function postgresqlSubjectKeysTable({ name, schema }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name, { schema }),
    table: qualified(name, { schema }),
    subject: 'subject',
    key: '"key"',
    parameter: (position, column) => `$${position}::${column === 'key' ? 'bytea' : 'text'}`,
    onConflict: 'ON CONFLICT (subject) DO UPDATE SET subject = excluded.subject',
  })
}
