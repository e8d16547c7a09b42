/** The statements over a table of subject keys on SQLite. */
import type { TrackingTableOptions } from '../dialect.js'
import { subjectKeysTableStatements } from './sqlite-tables.js'
import { KeysTable } from './subject-keys-table.js'

/** One transaction writes at a time, and sees what was written before it. */
export function sqliteSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `"${name}"`,
    subject: 'subject',
    key: '"key"',
    parameter: () => '?',
    onConflict: 'ON CONFLICT (subject) DO NOTHING',
  })
}
