/** Prisma's schema engine as the package of WebAssembly has it, since the native one is in no npm package. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  bindMigrationAwareSqlAdapterFactory,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils'
import type {
  DiagnoseMigrationHistoryOutput,
  DiffTarget,
  MigrationList,
  SchemaEngine,
} from '@prisma/schema-engine-wasm'
import * as bindings from '@prisma/schema-engine-wasm/schema_engine_bg'

const nothingFiltered = { externalTables: [], externalEnums: [] }

// The package's own entry point imports the WebAssembly as a module, which Node 20 cannot.
interface WebAssemblyGlobal {
  instantiate(
    bytes: Uint8Array,
    imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>,
  ): Promise<{ readonly instance: { readonly exports: Readonly<Record<string, unknown>> } }>
}

// Node's types name it as a namespace without its functions.
const webAssembly = Reflect.get(globalThis, 'WebAssembly') as WebAssemblyGlobal

let loaded: Promise<void> | undefined

async function load(): Promise<void> {
  const file = fileURLToPath(new URL('schema_engine_bg.wasm', import.meta.resolve('@prisma/schema-engine-wasm')))
  const { instance } = await webAssembly.instantiate(await readFile(file), { './schema_engine_bg.js': { ...bindings } })
  bindings.__wbg_set_wasm(instance.exports)
  const start = instance.exports['__wbindgen_start']
  if (typeof start === 'function') Reflect.apply(start, undefined, [])
}

/** Starts an engine on the database of the adapter. It knows SQLite and PostgreSQL. */
export async function schemaEngine(
  factory: SqlMigrationAwareDriverAdapterFactory,
  schema: string,
): Promise<SchemaEngine> {
  await (loaded ??= load())
  const options = { datamodels: [['schema.prisma', schema] as [string, string]] }
  return await bindings.SchemaEngine.new(options, () => undefined, bindMigrationAwareSqlAdapterFactory(factory))
}

/** A schema as a side of a comparison. */
export function ofSchema(content: string): DiffTarget {
  return { tag: 'schemaDatamodel', files: [{ path: 'schema.prisma', content }] }
}

/** The statements that lead from one side to the other. */
export async function diff(engine: SchemaEngine, from: DiffTarget, to: DiffTarget): Promise<string> {
  const result = await engine.diff({ from, to, script: true, exitCode: null, filters: nothingFiltered })
  return result.stdout ?? ''
}

/** A migration as the engine is given it. */
export interface MigrationSource {
  readonly name: string
  readonly sql: string
}

/** Has the engine apply what it finds pending. @returns the names of those migrations */
export async function applyByEngine(engine: SchemaEngine, migrations: readonly MigrationSource[]): Promise<string[]> {
  const input = { migrationsList: listOf(migrations), filters: nothingFiltered }
  return (await engine.applyMigrations(input)).appliedMigrationNames
}

/** What the engine says about a folder of migrations and the history in its database, which must have one. */
export async function diagnose(
  engine: SchemaEngine,
  migrations: readonly MigrationSource[],
): Promise<DiagnoseMigrationHistoryOutput> {
  const migrationsList = listOf(migrations)
  return await engine.diagnoseMigrationHistory({
    migrationsList,
    optInToShadowDatabase: false,
    filters: nothingFiltered,
  })
}

function listOf(migrations: readonly MigrationSource[]): MigrationList {
  return {
    baseDir: '/migrations',
    lockfile: { path: 'migration_lock.toml', content: 'provider = "sqlite"\n' },
    shadowDbInitScript: '',
    migrationDirectories: migrations.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: 'migration.sql', content: { tag: 'ok', value: sql } },
    })),
  }
}
