/** Shadows on MariaDB and MySQL: a second database on the server. */
import type { StatementRunner } from '../connections.js'
import type { OutsideReference, ShadowDialect, ShadowTables } from '../dialect.js'
import { statement } from '../driver.js'
import { toText } from './event-rows.js'

const quote = (name: string): string => `\`${name.replaceAll('`', '``')}\``
const qualified = (schema: string, table: string): string => `${quote(schema)}.${quote(table)}`

export const mariadbShadow: ShadowDialect = {
  qualified,
  quoted: quote,
  async defaultSchema(runner) {
    const [database] = await texts(runner, 'SELECT DATABASE()', [])
    return database ?? ''
  },
  exists: async (runner, shadow) =>
    (await texts(runner, 'SELECT schema_name FROM information_schema.schemata WHERE schema_name = ?', [shadow]))
      .length > 0,
  async create(runner, shadow) {
    await run(runner, `CREATE DATABASE ${quote(shadow)}`)
  },
  async furnish(runner, place) {
    const { live, shadow, tables } = place
    for (const table of tables) {
      await run(runner, `CREATE TABLE ${qualified(shadow, table)} LIKE ${qualified(live, table)}`)
    }
    await makeForeignKeys(runner, place)
    await makeViews(runner, place)
  },
  async outsideReferences(runner, place) {
    const sql =
      'SELECT constraint_schema, table_name, referenced_table_name FROM information_schema.referential_constraints ' +
      'WHERE unique_constraint_schema = ?'
    const { rows } = await runner.query(statement(sql, [place.live]))
    return rows
      .map(([schema, table, to]) => ({ schema: toText(schema), table: toText(table), to: toText(to) }))
      .filter(({ to }) => place.tables.includes(to))
      .filter(({ schema, table }): boolean => schema !== place.live || !place.tables.includes(table))
      .map(({ table, to }): OutsideReference => ({ table, to }))
  },
  async replaceRows(runner, { live, shadow, tables }) {
    for (const table of tables.toReversed()) await run(runner, `DELETE FROM ${qualified(live, table)}`)
    for (const table of tables) {
      const columns = (await texts(runner, copiedColumns, [live, table])).map(quote).join(', ')
      await run(
        runner,
        `INSERT INTO ${qualified(live, table)} (${columns}) SELECT ${columns} FROM ${qualified(shadow, table)}`,
      )
    }
  },
  async drop(runner, shadow) {
    await run(runner, `DROP DATABASE IF EXISTS ${quote(shadow)}`)
  },
}

const copiedColumns =
  'SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ' +
  "AND coalesce(generation_expression, '') = '' ORDER BY ordinal_position"

interface ForeignKey {
  readonly table: string
  readonly to: string
  readonly rules: string
  readonly columns: string[]
  readonly toColumns: string[]
}

/** A table that is made like another one has all but its foreign keys. */
async function makeForeignKeys(runner: StatementRunner, { live, shadow, tables }: ShadowTables): Promise<void> {
  const sql =
    'SELECT k.constraint_name, k.table_name, k.referenced_table_name, k.column_name, k.referenced_column_name, r.delete_rule, r.update_rule ' +
    'FROM information_schema.key_column_usage k JOIN information_schema.referential_constraints r ' +
    'ON r.constraint_schema = k.constraint_schema AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name ' +
    'WHERE k.constraint_schema = ? AND k.referenced_table_schema = ? ORDER BY k.constraint_name, k.ordinal_position'
  const { rows } = await runner.query(statement(sql, [live, live]))
  const keys = new Map<string, ForeignKey>()
  for (const [name = '', table = '', to = '', column = '', toColumn = '', onDelete, onUpdate] of rows.map(asTexts)) {
    const key = keys.get(name) ?? {
      table,
      to,
      rules: `ON DELETE ${onDelete} ON UPDATE ${onUpdate}`,
      columns: [],
      toColumns: [],
    }
    key.columns.push(quote(column))
    key.toColumns.push(quote(toColumn))
    keys.set(name, key)
  }
  for (const [name, { table, to, rules, columns, toColumns }] of keys) {
    if (!tables.includes(table) || !tables.includes(to)) continue
    await run(
      runner,
      `ALTER TABLE ${qualified(shadow, table)} ADD CONSTRAINT ${quote(name)} FOREIGN KEY (${columns.join(', ')}) ` +
        `REFERENCES ${qualified(shadow, to)} (${toColumns.join(', ')}) ${rules}`,
    )
  }
}

/** With a second part that has no rows: nobody can write through that. */
async function makeViews(runner: StatementRunner, { live, shadow }: ShadowTables): Promise<void> {
  const sql =
    'SELECT table_name FROM information_schema.tables t WHERE table_schema = ? AND NOT EXISTS ' +
    '(SELECT 1 FROM information_schema.tables o WHERE o.table_schema = ? AND o.table_name = t.table_name)'
  for (const table of await texts(runner, sql, [live, shadow])) {
    const select = `SELECT * FROM ${qualified(live, table)}`
    await run(runner, `CREATE VIEW ${qualified(shadow, table)} AS ${select} UNION ALL ${select} WHERE false`)
  }
}

function asTexts(row: readonly unknown[]): string[] {
  return row.map(toText)
}

async function texts(runner: StatementRunner, sql: string, args: readonly unknown[]): Promise<string[]> {
  const { rows } = await runner.query(statement(sql, [...args]))
  return rows.map(([text]) => toText(text))
}

async function run(runner: StatementRunner, sql: string): Promise<void> {
  await runner.execute(statement(sql))
}
