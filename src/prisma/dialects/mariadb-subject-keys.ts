/** The statements over a table of subject keys on MariaDB. */
import type { TrackingTableOptions } from '../dialect.js'
import { subjectKeysTableStatements } from './mariadb-tables.js'
import { KeysTable } from './subject-keys-table.js'

/**
 * A second writer of one key waits for the first. Its transaction goes on reading the table as it was when it began, but for
 * the rows that it has changed itself: so it moves the time of the other's key on by the least that the column holds. An
 * update to the same value would change nothing, and the key would be there for no select of this transaction.
 *
 * @see https://dev.mysql.com/doc/refman/8.4/en/innodb-consistent-read.html
 */
export function mariadbSubjectKeysTable({ name }: TrackingTableOptions): KeysTable {
  return new KeysTable({
    createStatements: subjectKeysTableStatements(name),
    table: `\`${name}\``,
    subject: 'subject',
    key: '`key`',
    parameter: () => '?',
    onConflict: 'ON DUPLICATE KEY UPDATE created_at = created_at + INTERVAL 1000 MICROSECOND',
  })
}
