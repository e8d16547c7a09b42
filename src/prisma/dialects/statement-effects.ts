/** What statements of users do to the transaction that they are sent in. */
import type { StatementEffect } from '../dialect.js'
import { type Lexis, type StatementWords, statementReader } from './statement-words.js'

/** Judges one statement by its words. */
type Judge = (words: StatementWords) => StatementEffect

/** Makes the function that judges a text of SQL: the worst of its statements counts. */
function effectsBy(lexis: Lexis, judge: Judge): (sql: string) => StatementEffect {
  const read = statementReader(lexis)
  return (sql) => {
    if (isPlain(sql)) return 'none'
    const effects = new Set(read(sql).map(judge))
    return worstFirst.find((effect) => effects.has(effect)) ?? 'none'
  }
}

const worstFirst: readonly StatementEffect[] = ['controls', 'commits', 'mayCommit']

/** Nearly every statement of Prisma's is of this kind, and there is one of them in a text. */
function isPlain(sql: string): boolean {
  return /^\s*(?:SELECT|INSERT|UPDATE|DELETE)\b/i.test(sql) && !sql.includes(';')
}

/** Begins, ends or divides a transaction: the same on all databases, where they know it. */
function controls([first = '', second]: StatementWords): boolean {
  switch (first) {
    case 'BEGIN':
      // A block of MariaDB.
      return second !== 'NOT'
    case 'COMMIT':
    case 'ROLLBACK':
      // These act on what was prepared, outside of any transaction.
      return second !== 'PREPARED'
    case 'START':
    case 'PREPARE':
      return second === 'TRANSACTION'
    case 'SET':
      return false
    default:
      return controllers.has(first)
  }
}

const controllers = new Set(['END', 'ABORT', 'SAVEPOINT', 'RELEASE', 'XA'])

const judgeControl: Judge = (words) => (controls(words) ? 'controls' : 'none')

/** @see https://www.postgresql.org/docs/current/sql-commands.html Procedures cannot commit inside of a transaction there. */
export const postgresqlEffect: (sql: string) => StatementEffect = effectsBy(
  { hasBackslashes: false, hasMysqlComments: false, hasDollarQuotes: true },
  judgeControl,
)

/** @see https://www.sqlite.org/lang_transaction.html */
export const sqliteEffect: (sql: string) => StatementEffect = effectsBy(
  { hasBackslashes: false, hasMysqlComments: false, hasDollarQuotes: false },
  judgeControl,
)

/** These run nothing that commits; what else there is may, such as procedures and prepared statements. */
const harmless = new Set('SELECT INSERT UPDATE DELETE REPLACE WITH VALUES SHOW EXPLAIN DESCRIBE DESC DO USE'.split(' '))

/** Each commits first, whatever follows. */
const committing = new Set(
  'ALTER BACKUP CACHE CHANGE CHECK FLUSH GRANT IMPORT INSTALL LOCK OPTIMIZE RENAME REPAIR RESET REVOKE SHUTDOWN START STOP TRUNCATE UNINSTALL UNLOCK'.split(
    ' ',
  ),
)

/** @see https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/ */
export const mariadbEffect: (sql: string) => StatementEffect = effectsBy(
  { hasBackslashes: true, hasMysqlComments: true, hasDollarQuotes: false },
  (words) => {
    // END belongs to blocks there.
    if ((words[0] !== 'END' && controls(words)) || setsAutocommit(words)) return 'controls'
    if (commitsFirst(words)) return 'commits'
    return harmless.has(words[0] ?? '') ? 'none' : 'mayCommit'
  },
)

function setsAutocommit([first, ...others]: StatementWords): boolean {
  return first === 'SET' && others.some((word) => /(^|[@.])AUTOCOMMIT$/.test(word))
}

function commitsFirst([first = '', second = '', third, fourth]: StatementWords): boolean {
  switch (first) {
    case 'CREATE':
      // CREATE OR REPLACE TEMPORARY TABLE is possible, too.
      return second !== 'TEMPORARY' && !(second === 'OR' && fourth === 'TEMPORARY')
    case 'DROP':
      return second !== 'TEMPORARY' && second !== 'PREPARE'
    case 'ANALYZE':
      return second === 'TABLE' || third === 'TABLE'
    case 'LOAD':
      return second === 'INDEX'
    case 'SET':
      return second === 'PASSWORD'
    default:
      return committing.has(first)
  }
}
