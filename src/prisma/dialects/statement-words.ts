/** Reads SQL text as far as it takes to tell which statements are in it: as their words, without texts, names in quotes and comments. */

/** How a database spells what is passed over. */
export interface Lexis {
  /** Whether a backslash escapes the next character, in every text in quotes. */
  readonly hasBackslashes: boolean
  /** Whether `#` begins a comment, `--` does only before white space, and what stands in `/*!` is carried out. */
  readonly hasMysqlComments: boolean
  /** Whether there are comments inside of comments, texts between `$tag$`, and texts `E'…'` with backslashes. */
  readonly hasDollarQuotes: boolean
}

/** The words of one statement, in upper case. */
export type StatementWords = readonly string[]

/** Makes the function that gives the statements in a text. */
export function statementReader(lexis: Lexis): (sql: string) => StatementWords[] {
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
