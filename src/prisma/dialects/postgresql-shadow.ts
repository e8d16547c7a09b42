/** Shadows on PostgreSQL: a second schema. Enums are types of their own there, since Prisma names them with the schema. */
import type { StatementRunner } from '../connections.js'
import type { OutsideReference, ShadowDialect, ShadowTables } from '../dialect.js'
import { statement } from '../driver.js'
import { toText } from './event-rows.js'

interface Column {
  readonly name: string
  /** The name of its type where that is an enum of the schema. */
  readonly enumType: string | undefined
  readonly isList: boolean
  readonly isGenerated: boolean
  /** The sequence of an identity column. */
  readonly isIdentity: boolean
  readonly defaultValue: string | undefined
}

const quote = (name: string): string => `"${name.replaceAll('"', '""')}"`
const qualified = (schema: string, table: string): string => `${quote(schema)}.${quote(table)}`

export const postgresqlShadow: ShadowDialect = {
  qualified,
  quoted: quote,
  // What Prisma takes.
  defaultSchema: async () => 'public',
  exists: async (runner, shadow) =>
    (await texts(runner, 'SELECT nspname::text FROM pg_namespace WHERE nspname = $1', [shadow])).length > 0,
  async create(runner, shadow) {
    await run(runner, `CREATE SCHEMA ${quote(shadow)}`)
  },
  async furnish(runner, place) {
    await makeEnums(runner, place)
    for (const table of place.tables) await makeTable(runner, place, table)
    await makeForeignKeys(runner, place)
    await makeViews(runner, place)
  },
  outsideReferences,
  async replaceRows(runner, { live, shadow, tables }) {
    for (const table of tables.toReversed()) await run(runner, `DELETE FROM ${qualified(live, table)}`)
    for (const table of tables) {
      const columns = await columnsOf(runner, live, table)
      const copied = columns.filter(({ isGenerated }) => !isGenerated)
      const names = copied.map(({ name }) => quote(name)).join(', ')
      const values = copied.map((column) => valueIn(live, column)).join(', ')
      await run(
        runner,
        `INSERT INTO ${qualified(live, table)} (${names}) OVERRIDING SYSTEM VALUE SELECT ${values} FROM ${qualified(shadow, table)}`,
      )
      // A column with a default of its own shares the sequence; that of an identity column belongs to it alone.
      for (const { name } of columns.filter(({ isIdentity }) => isIdentity)) {
        const from = qualified(live, table)
        const sql =
          `SELECT setval(pg_get_serial_sequence($1, $2), max(${quote(name)})) FROM ${from} ` +
          `HAVING max(${quote(name)}) IS NOT NULL`
        await runner.query(statement(sql, [from, name]))
      }
    }
  },
  async drop(runner, shadow) {
    await run(runner, `DROP SCHEMA IF EXISTS ${quote(shadow)} CASCADE`)
  },
}

async function makeEnums(runner: StatementRunner, { live, shadow }: ShadowTables): Promise<void> {
  const sql =
    'SELECT t.typname::text, e.enumlabel::text FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid JOIN pg_namespace n ON n.oid = t.typnamespace ' +
    'WHERE n.nspname = $1 ORDER BY t.typname, e.enumsortorder'
  const { rows } = await runner.query(statement(sql, [live]))
  const enums = new Map<string, string[]>()
  for (const [name, label] of rows) {
    const labels = enums.get(toText(name)) ?? []
    labels.push(`'${toText(label).replaceAll("'", "''")}'`)
    enums.set(toText(name), labels)
  }
  for (const [name, labels] of enums) {
    await run(runner, `CREATE TYPE ${qualified(shadow, name)} AS ENUM (${labels.join(', ')})`)
  }
}

async function makeTable(runner: StatementRunner, { live, shadow }: ShadowTables, table: string): Promise<void> {
  const target = qualified(shadow, table)
  await run(runner, `CREATE TABLE ${target} (LIKE ${qualified(live, table)} INCLUDING ALL)`)
  for (const column of await columnsOf(runner, live, table)) {
    if (column.enumType === undefined) continue
    const name = quote(column.name)
    const type = typeIn(shadow, column)
    const changes = [`ALTER ${name} DROP DEFAULT`, `ALTER ${name} TYPE ${type} USING ${valueIn(shadow, column)}`]
    const { defaultValue } = column
    if (defaultValue !== undefined) changes.push(`ALTER ${name} SET DEFAULT ${castIn(shadow, column, defaultValue)}`)
    await run(runner, `ALTER TABLE ${target} ${changes.join(', ')}`)
  }
}

async function makeForeignKeys(runner: StatementRunner, { live, shadow, tables }: ShadowTables): Promise<void> {
  const sql = `SELECT r.relname::text, f.relname::text, c.conname::text, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
    JOIN pg_namespace n ON n.oid = r.relnamespace JOIN pg_namespace m ON m.oid = f.relnamespace
    WHERE c.contype = 'f' AND c.conparentid = 0 AND n.nspname = $1 AND m.nspname = $1`
  const { rows } = await runner.query(statement(sql, [live]))
  for (const [from, to, name, definition] of rows.map((row) => row.map(toText))) {
    if (from === undefined || to === undefined || name === undefined || definition === undefined) continue
    if (!tables.includes(from) || !tables.includes(to)) continue
    const there = definition.replace(/ REFERENCES .*?\(/, ` REFERENCES ${qualified(shadow, to)}(`)
    await run(runner, `ALTER TABLE ${qualified(shadow, from)} ADD CONSTRAINT ${quote(name)} ${there}`)
  }
}

/** With a second part that has no rows: PostgreSQL lets nobody write through that, and reads the first part as it would the table. */
async function makeViews(runner: StatementRunner, { live, shadow }: ShadowTables): Promise<void> {
  const sql = `SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
    AND NOT EXISTS (SELECT 1 FROM pg_class o JOIN pg_namespace p ON p.oid = o.relnamespace WHERE p.nspname = $2 AND o.relname = c.relname)`
  for (const table of await texts(runner, sql, [live, shadow])) {
    const columns = await columnsOf(runner, live, table)
    if (columns.length === 0) continue
    const values = columns.map((column) => `${valueIn(shadow, column)} AS ${quote(column.name)}`).join(', ')
    const select = `SELECT ${values} FROM ${qualified(live, table)}`
    await run(runner, `CREATE VIEW ${qualified(shadow, table)} AS ${select} UNION ALL ${select} WHERE false`)
  }
}

async function outsideReferences(runner: StatementRunner, place: ShadowTables): Promise<OutsideReference[]> {
  const sql = `SELECT n.nspname::text, r.relname::text, f.relname::text
    FROM pg_constraint c JOIN pg_class r ON r.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
    JOIN pg_namespace n ON n.oid = r.relnamespace JOIN pg_namespace m ON m.oid = f.relnamespace
    WHERE c.contype = 'f' AND m.nspname = $1`
  const { rows } = await runner.query(statement(sql, [place.live]))
  return rows
    .map(([schema, table, to]) => ({ schema: toText(schema), table: toText(table), to: toText(to) }))
    .filter(({ to }) => place.tables.includes(to))
    .filter(({ schema, table }) => schema !== place.live || !place.tables.includes(table))
}

async function columnsOf(runner: StatementRunner, schema: string, table: string): Promise<Column[]> {
  const sql = `SELECT a.attname::text, CASE WHEN e.typtype = 'e' AND en.nspname = $1 THEN e.typname::text END,
      t.typcategory = 'A' AND e.oid <> t.oid, a.attgenerated <> '', a.attidentity <> '',
      CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
    JOIN pg_namespace en ON en.oid = e.typnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`
  const { rows } = await runner.query(statement(sql, [schema, table]))
  return rows.map(([name, enumType, isList, isGenerated, isIdentity, defaultValue]) => ({
    name: toText(name),
    enumType: enumType === null ? undefined : toText(enumType),
    isList: isList === true,
    isGenerated: isGenerated === true,
    isIdentity: isIdentity === true,
    defaultValue: defaultValue === null ? undefined : toText(defaultValue),
  }))
}

function typeIn(schema: string, { enumType = '', isList }: Column): string {
  return `${qualified(schema, enumType)}${isList ? '[]' : ''}`
}

/** A value of a column, as the types of a schema have it. */
function valueIn(schema: string, column: Column): string {
  return column.enumType === undefined ? quote(column.name) : castIn(schema, column, quote(column.name))
}

function castIn(schema: string, column: Column, value: string): string {
  return `(${value})::text${column.isList ? '[]' : ''}::${typeIn(schema, column)}`
}

async function texts(runner: StatementRunner, sql: string, args: readonly unknown[]): Promise<string[]> {
  const { rows } = await runner.query(statement(sql, [...args]))
  return rows.map(([text]) => toText(text))
}

async function run(runner: StatementRunner, sql: string): Promise<void> {
  await runner.execute(statement(sql))
}
