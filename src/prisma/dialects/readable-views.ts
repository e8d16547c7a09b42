/** Views that show the states of events as JSON, for psql, Prisma Studio and others who know nothing of this library. */
import type { ViewedTable } from '../dialect.js'
import { checked as mariadbName } from './mariadb-tables.js'
import { qualified } from './postgresql-tables.js'
import { checked as sqliteName } from './sqlite-tables.js'

const hidden = '(compressed or encrypted)'

/** The statements that make the view on PostgreSQL: with a function, since a cast of what is no JSON is an error. */
export function postgresqlReadableView({ name, schema, withLog }: ViewedTable): string[] {
  const [table, view] = [qualified(name, { schema }), qualified(viewName(name), { schema })]
  const reader = qualified('readable_state', { schema })
  return [
    `CREATE OR REPLACE FUNCTION ${reader}(state bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS $$
BEGIN
    RETURN convert_from(state, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
    RETURN to_jsonb('${hidden}'::text);
END
$$`,
    `CREATE OR REPLACE VIEW ${view} AS SELECT ${columns(withLog)}, ${reader}(state) AS state, metadata, recorded_at FROM ${table}`,
  ]
}

/** The statement that makes the view on SQLite. */
export function sqliteReadableView({ name, withLog }: ViewedTable): string[] {
  const text = 'CAST(state AS TEXT)'
  const state = `CASE WHEN json_valid(${text}) THEN json(${text}) ELSE json_quote('${hidden}') END`
  const view = sqliteName(viewName(name))
  return [
    `CREATE VIEW IF NOT EXISTS ${view} AS SELECT ${columns(withLog)}, ${state} AS state, metadata, recorded_at FROM ${sqliteName(name)}`,
  ]
}

/** The statement that makes the view on MariaDB and MySQL. */
export function mariadbReadableView({ name, withLog }: ViewedTable): string[] {
  const text = 'CONVERT(state USING utf8mb4)'
  const state = `CASE WHEN JSON_VALID(${text}) THEN ${text} ELSE JSON_QUOTE('${hidden}') END`
  const view = mariadbName(viewName(name))
  return [
    `CREATE OR REPLACE VIEW ${view} AS SELECT ${columns(withLog)}, ${state} AS state, metadata, recorded_at FROM ${mariadbName(name)}`,
  ]
}

function viewName(table: string): string {
  return `${table}_readable`
}

function columns(withLog: boolean): string {
  return `${withLog ? 'id, ' : ''}originator_id, originator_version, topic`
}
