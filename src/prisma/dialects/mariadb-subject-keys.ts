/** The statements over a table of subject keys on MariaDB. */
import type { TrackingTableOptions } from '../dialect.js'
import { subjectKeysTableStatements } from './mariadb-tables.js'
import { KeysTable } from './subject-keys-table.js'

/**
 * A second writer of one key waits for the first, and then has to read with a lock: a plain read would see the table as it
 * was when the transaction began.
 */
export function mariadbSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `\`${name}\``,
    subject: 'subject',
    key: '`key`',
    parameter: () => '?',
    onConflict: 'ON DUPLICATE KEY UPDATE subject = subject',
    latest: 'LOCK IN SHARE MODE',
  })
}
