/** Keeps a transaction on a connection from being ended by a statement, as the statement's words tell, and knows when that has happened all the same. */
import { ProgrammingError } from '../errors.js'
import type { Dialect, StatementEffect } from './dialect.js'
import {
  ownStatement,
  readDriverError,
  type SqlQuery,
  type SqlQueryable,
  type SqlResultSet,
  statement,
} from './driver.js'

/** What a statement may do that runs a procedure, say, is seen by whether this is still there afterwards. */
const probe = 'es_guard'

/**
 * Judges a statement.
 *
 * @param inTransaction - whether it is sent in a transaction
 * @throws `ProgrammingError` for a statement of a user that begins, ends or divides transactions, or would commit this one
 */
export function checkedEffect(dialect: Dialect, query: SqlQuery, inTransaction: boolean): StatementEffect {
  const effect = ownStatement in query ? 'none' : dialect.effectOf(query.sql)
  if (effect === 'controls') throw controlError(query)
  if (effect === 'commits' && inTransaction) throw commitError(query)
  return effect
}

/** A transaction that is watched over. */
export abstract class GuardedConnection {
  readonly inTransaction = true
  readonly givesInsertIds = true
  protected readonly dialect: Dialect
  readonly #connection: SqlQueryable
  /** Why the database has ended the transaction by itself. */
  #ended: { readonly cause: unknown } | undefined
  /** Whether it has. A field, as each commit asks; only this class writes it. */
  hasEnded = false

  /** @param connection - on which it has begun */
  constructor(dialect: Dialect, connection: SqlQueryable) {
    this.dialect = dialect
    this.#connection = connection
  }

  /** @throws as `#send` */
  query(query: SqlQuery): Promise<SqlResultSet> {
    return this.#send(query, () => this.#connection.queryRaw(query))
  }

  /** @throws as `#send` */
  execute(query: SqlQuery): Promise<number> {
    return this.#send(query, () => this.#connection.executeRaw(query))
  }

  /** @throws `ProgrammingError` when the database has ended the transaction: what is sent now would be stored at once */
  protected assertOpen(): void {
    if (this.#ended !== undefined) throw endedError(this.#ended.cause)
  }

  /** @throws `ProgrammingError` for a statement that must not be sent, and for one that has ended the transaction without failing */
  #send<T>(query: SqlQuery, send: () => Promise<T>): Promise<T> {
    if (this.#ended !== undefined) throw endedError(this.#ended.cause)
    if (checkedEffect(this.dialect, query, true) === 'mayCommit') return this.#probed(query, send)
    return this.dialect.hasEndedAfter === undefined ? send() : this.#sent(send)
  }

  async #probed<T>(query: SqlQuery, send: () => Promise<T>): Promise<T> {
    await this.#connection.executeRaw(statement(`SAVEPOINT ${probe}`))
    let result: T
    try {
      result = await this.#sent(send)
    } catch (error) {
      if (!this.hasEnded && (await this.#isProbeGone())) this.#end(error)
      throw error
    }
    if (!(await this.#isProbeGone())) return result
    const cause = committedError(query)
    this.#end(cause)
    throw cause
  }

  async #sent<T>(send: () => Promise<T>): Promise<T> {
    try {
      return await send()
    } catch (error) {
      if (await this.#endsWith(error)) this.#end(error)
      throw error
    }
  }

  async #endsWith(error: unknown): Promise<boolean> {
    const facts = readDriverError(error)
    // Where the error says so itself there is nobody to ask.
    if (this.dialect.damageOf(error, facts) === 'transaction') return true
    return (await this.dialect.hasEndedAfter?.(this.#connection, facts)) === true
  }

  #end(cause: unknown): void {
    this.#ended = { cause }
    this.hasEnded = true
  }

  async #isProbeGone(): Promise<boolean> {
    try {
      await this.#connection.executeRaw(statement(`RELEASE SAVEPOINT ${probe}`))
      return false
    } catch {
      return true
    }
  }
}

function shown({ sql }: SqlQuery): string {
  const text = sql.trim().replace(/\s+/g, ' ')
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

function controlError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `The statement was not sent: ${shown(query)} — it begins, ends or divides a transaction, which is the datastore's to do. ` +
      'Use datastore.transaction(); for a part that can fail alone, its propagation "nested"; to undo it, tx.rollbackOnly() or an error.',
  )
}

function commitError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `The statement was not sent: ${shown(query)} — this database commits before it runs such a statement, so the transaction could not ` +
      'be undone any more. Run it in a migration, or outside of transactions (propagation "notSupported").',
  )
}

function committedError(query: SqlQuery): ProgrammingError {
  return new ProgrammingError(
    `A statement has ended the transaction that it was sent in: ${shown(query)} — what was written before it may be stored for good, ` +
      'and nothing more is sent. Take COMMIT, ROLLBACK and what commits by itself out of the procedure.',
  )
}

function endedError(cause: unknown): ProgrammingError {
  return new ProgrammingError(
    'A statement was not sent: the database has ended the transaction, as the cause says, and would store it at once.',
    { cause },
  )
}

/** How a database spells what is passed over. */
interface Lexis {
  /** Whether a backslash escapes the next character, in every text in quotes. */
  readonly hasBackslashes: boolean
  /** Whether `#` begins a comment, `--` does only before white space, and what stands in `/*!` is carried out. */
  readonly hasMysqlComments: boolean
  /** Whether there are comments inside of comments, texts between `$tag$`, and texts `E'…'` with backslashes. */
  readonly hasDollarQuotes: boolean
}

/** The words of one statement, in upper case. */
type StatementWords = readonly string[]

/** Makes the function that gives the statements in a text. */
function statementReader(lexis: Lexis): (sql: string) => StatementWords[] {
  const token = tokenOf(lexis)
  return (sql) => statementsIn(sql, token, lexis.hasDollarQuotes)
}

function statementsIn(sql: string, token: RegExp, commentsNest: boolean): StatementWords[] {
  const statements: StatementWords[] = []
  let words: string[] = []
  let depth = 0
  const end = (): void => {
    if (words.length > 0) statements.push(words)
    words = []
    depth = 0
  }
  for (let at = 0; at < sql.length; ) {
    if (commentsNest && sql.startsWith('/*', at)) {
      at = afterComment(sql, at)
      continue
    }
    token.lastIndex = at
    const text = token.exec(sql)?.[0] ?? ''
    at += Math.max(1, text.length)
    if (text === ';' && depth <= 0) end()
    if (!/^[\w@]/.test(text) || text.endsWith("'")) continue
    const word = text.toUpperCase()
    words.push(word)
    depth += depthOf(word, words)
  }
  end()
  return statements
}

/** What is defined with a body ends at the END of that, not at the first semicolon. */
function depthOf(word: string, words: StatementWords): number {
  const isBlock = words[0] === 'BEGIN' && words[1] === 'NOT'
  if (words[0] !== 'CREATE' && !isBlock) return 0
  if (word === 'BEGIN' || word === 'CASE' || (isBlock && words.length === 2)) return 1
  return word === 'END' ? -1 : 0
}

function afterComment(sql: string, start: number): number {
  const mark = /\/\*|\*\//g
  mark.lastIndex = start
  for (let depth = 0; ; ) {
    const found = mark.exec(sql)
    if (found === null) return sql.length
    depth += found[0] === '/*' ? 1 : -1
    if (depth === 0) return mark.lastIndex
  }
}

function tokenOf({ hasBackslashes, hasMysqlComments, hasDollarQuotes }: Lexis): RegExp {
  const alternatives = [
    // What is carried out is read on: only its mark is passed over.
    ...(hasMysqlComments ? ['/\\*M?!\\d*', '--(?=\\s|$)[^\\n]*', '#[^\\n]*'] : ['--[^\\n]*']),
    '/\\*[^]*?\\*/',
    ...(hasDollarQuotes ? [dollarQuoted, `[eE]${quoted("'", true)}`] : [quoted('`', false)]),
    quoted("'", hasBackslashes),
    quoted('"', hasBackslashes),
    ...(hasMysqlComments || hasDollarQuotes ? [] : ['\\[[^\\]]*\\]']),
    '[A-Za-z_@\\x80-\\uffff][\\w$@.\\x80-\\uffff]*',
    '[^]',
  ]
  return new RegExp(alternatives.join('|'), 'y')
}

const dollarQuoted = '\\$(?<tag>(?:[A-Za-z_\\x80-\\uffff][\\w\\x80-\\uffff]*)?)\\$[^]*?\\$\\k<tag>\\$'

function quoted(quote: string, escapes: boolean): string {
  const plain = escapes ? `[^${quote}\\\\]*` : `[^${quote}]*`
  const special = escapes ? `(?:\\\\[^]|${quote}${quote})` : `${quote}${quote}`
  return `${quote}${plain}(?:${special}${plain})*${quote}`
}

/** Judges one statement by its words. */
type Judge = (words: StatementWords) => StatementEffect

/** Makes the function that judges a text of SQL: the worst of its statements counts. */
function effectsBy(lexis: Lexis, judge: Judge): (sql: string) => StatementEffect {
  const read = statementReader(lexis)
  return (sql) => {
    if (plainStatement.test(sql) && !sql.includes(';')) return 'none'
    const effects = new Set(read(sql).map(judge))
    return worstFirst.find((effect) => effects.has(effect)) ?? 'none'
  }
}

const worstFirst: readonly StatementEffect[] = ['controls', 'commits', 'mayCommit']

/** Begins nearly every statement of Prisma's. */
const plainStatement = /^\s*(?:SELECT|INSERT|UPDATE|DELETE)\b/i

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
