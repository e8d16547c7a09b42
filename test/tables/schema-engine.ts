/** Prisma's schema engine as the package of WebAssembly has it, since the native one is in no npm package. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  bindMigrationAwareSqlAdapterFactory,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils'
import type { DiffTarget, MigrationList, SchemaEngine } from '@prisma/schema-engine-wasm'
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

/** What the engine says about a folder of migrations and the history in its database. */
export async function judgeHistory(
  engine: SchemaEngine,
  migrations: ReadonlyArray<{ readonly name: string; readonly sql: string }>,
): Promise<{ readonly applied: string[]; readonly edited: string[]; readonly failed: string[]; readonly history: unknown }> {
  const migrationsList: MigrationList = {
    baseDir: '/migrations',
    lockfile: { path: 'migration_lock.toml', content: 'provider = "sqlite"\n' },
    shadowDbInitScript: '',
    migrationDirectories: migrations.map(({ name, sql }) => ({
      path: name,
      migrationFile: { path: 'migration.sql', content: { tag: 'ok', value: sql } },
    })),
  }
  const filters = nothingFiltered
  const diagnosed = await engine.diagnoseMigrationHistory({ migrationsList, optInToShadowDatabase: false, filters })
  const { appliedMigrationNames } = await engine.applyMigrations({ migrationsList, filters })
  return {
    applied: appliedMigrationNames,
    edited: diagnosed.editedMigrationNames,
    failed: diagnosed.failedMigrationNames,
    history: diagnosed.history,
  }
}
