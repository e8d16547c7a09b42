import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { MigrationHistory, migrate } from '../../src/cli/migrations.js'
import { EnvironmentError, IntegrityError } from '../../src/errors.js'
import {
  type EmptyDatabase,
  emptyDatabase,
  type Provider,
  providers,
  rowsOf,
  runAll,
} from '../support/empty-databases.js'
import { applyByEngine, diagnose, schemaEngine } from '../tables/schema-engine.js'

const scripts = {
  sqlite: `-- A trigger's body; has semicolons
CREATE TABLE dogs (id INTEGER PRIMARY KEY, name TEXT DEFAULT 'a;b', tricks INTEGER NOT NULL DEFAULT 0);
CREATE TRIGGER count_tricks AFTER INSERT ON dogs BEGIN
  UPDATE dogs SET tricks = tricks + 1 WHERE id = new.id;
  UPDATE dogs SET tricks = tricks + 1 WHERE id = new.id;
END;
PRAGMA foreign_keys=OFF;
INSERT INTO dogs (id) VALUES (1); /* the end; */
`,
  postgresql: `-- A function's body; has semicolons
CREATE TABLE dogs (id INTEGER PRIMARY KEY, name TEXT DEFAULT 'a;b', tricks INTEGER NOT NULL DEFAULT 0);
CREATE FUNCTION count_tricks() RETURNS trigger AS $body$
BEGIN
  new.tricks := new.tricks + 1;
  new.tricks := new.tricks + 1;
  RETURN new;
END;
$body$ LANGUAGE plpgsql;
CREATE TRIGGER count_tricks BEFORE INSERT ON dogs FOR EACH ROW EXECUTE FUNCTION count_tricks();
INSERT INTO dogs (id) VALUES (1); /* the end; */
`,
  mysql: `-- A trigger's body; has semicolons
CREATE TABLE dogs (id INTEGER PRIMARY KEY, name VARCHAR(20) DEFAULT 'a;b?', tricks INTEGER NOT NULL DEFAULT 0);
CREATE TRIGGER count_tricks BEFORE INSERT ON dogs FOR EACH ROW BEGIN
  SET new.tricks = new.tricks + 1;
  SET new.tricks = new.tricks + 1;
END;
INSERT INTO dogs (id) VALUES (1); /* the end; */
`,
}
const broken =
  'CREATE TABLE before_failure (id INTEGER);\nSELECT nonsense FROM nowhere;\nCREATE TABLE after_failure (id INTEGER);\n'

let folder: string
let database: EmptyDatabase | undefined

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'es-migrations-'))
})

afterEach(async () => {
  rmSync(folder, { recursive: true })
  await database?.drop()
  database = undefined
})

function write(name: string, script: string): void {
  mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, name, 'migration.sql'), script)
}

async function open(provider: Provider): Promise<string> {
  database = await emptyDatabase(provider)
  return database.url
}

const apply = async (url: string): Promise<string[]> => await migrate({ url, migrations: folder })

const history = async (url: string): Promise<unknown[][]> =>
  await rowsOf(
    url,
    'SELECT migration_name, checksum, finished_at IS NOT NULL, rolled_back_at, logs, applied_steps_count FROM _prisma_migrations ORDER BY started_at',
  )

const engineOn = async (url: string): ReturnType<typeof schemaEngine> =>
  await schemaEngine(new PrismaLibSql({ url }), 'datasource db {\n  provider = "sqlite"\n}\n')

describe.each(providers)('migrate on %s', (provider) => {
  test('applies what is pending in the order of the names, and nothing twice', async () => {
    const url = await open(provider)
    write('20260102000000_more', 'CREATE TABLE cats (id INTEGER);')
    write('20260101000000_dogs', scripts[provider])
    expect(await apply(url)).toEqual(['20260101000000_dogs', '20260102000000_more'])
    expect(await apply(url)).toEqual([])
    write('20260103000000_last', '-- This is an empty migration.')
    expect(await apply(url)).toEqual(['20260103000000_last'])
    expect(await rowsOf(url, 'SELECT tricks FROM dogs')).toEqual([[expect.toSatisfy((tricks) => Number(tricks) === 2)]])
  })

  test('keeps the history as Prisma does', async () => {
    const url = await open(provider)
    write('20260101000000_dogs', scripts[provider])
    await apply(url)
    const [row, ...others] = await history(url)
    const checksum = createHash('sha256')
      .update(readFileSync(join(folder, '20260101000000_dogs', 'migration.sql')))
      .digest('hex')
    expect(others).toEqual([])
    expect(row?.slice(0, 2)).toEqual(['20260101000000_dogs', checksum])
    expect(Number(row?.[2])).toBe(1)
    expect(row?.slice(3, 5)).toEqual([null, null])
    expect(Number(row?.[5])).toBe(1)
  })

  test('records a migration that fails, and refuses to go on until it is resolved', async () => {
    const url = await open(provider)
    write('20260101000000_dogs', scripts[provider])
    write('20260102000000_broken', broken)
    write('20260103000000_more', 'CREATE TABLE cats (id INTEGER);')
    await expect(apply(url)).rejects.toThrow(/20260102000000_broken.*nowhere/)
    const [, failed, ...others] = await history(url)
    expect(others).toEqual([])
    expect(failed?.[0]).toBe('20260102000000_broken')
    expect(Number(failed?.[2])).toBe(0)
    expect(failed?.[4]).toContain('nowhere')
    expect(Number(failed?.[5])).toBe(0)

    await expect(apply(url)).rejects.toThrow(/20260102000000_broken has failed before/)
    await expect(apply(url)).rejects.toBeInstanceOf(IntegrityError)

    await runAll(url, [
      'DROP TABLE IF EXISTS before_failure',
      'UPDATE _prisma_migrations SET rolled_back_at = CURRENT_TIMESTAMP WHERE finished_at IS NULL',
    ])
    write('20260102000000_broken', broken.replace('SELECT nonsense FROM nowhere;', ''))
    expect(await apply(url)).toEqual(['20260102000000_broken', '20260103000000_more'])
  })

  test('refuses a migration that was edited after it was applied, but not for its line ends', async () => {
    const url = await open(provider)
    write('20260101000000_dogs', scripts[provider])
    await apply(url)
    write('20260101000000_dogs', scripts[provider].replaceAll('\n', '\r\n'))
    expect(await apply(url)).toEqual([])
    write('20260101000000_dogs', `${scripts[provider]}-- edited`)
    write('20260102000000_more', 'CREATE TABLE cats (id INTEGER);')
    await expect(apply(url)).rejects.toThrow(/20260101000000_dogs was edited/)
    expect(await history(url)).toHaveLength(1)
  })

  test('refuses a database that has tables and no history', async () => {
    const url = await open(provider)
    await runAll(url, ['CREATE TABLE dogs (id INTEGER)'])
    write('20260101000000_dogs', scripts[provider])
    await expect(apply(url)).rejects.toThrow(/no history of migrations/)
    await expect(history(url)).rejects.toThrow(/_prisma_migrations|TableDoesNotExist/)
  })

  test('refuses migrations for another database', async () => {
    const url = await open(provider)
    write('20260101000000_dogs', scripts[provider])
    writeFileSync(join(folder, 'migration_lock.toml'), 'provider = "cockroachdb"\n')
    await expect(apply(url)).rejects.toThrow(EnvironmentError)
    writeFileSync(join(folder, 'migration_lock.toml'), `provider = "${provider}"\n`)
    expect(await apply(url)).toEqual(['20260101000000_dogs'])
  })

  test('applies each migration once when two begin together', async () => {
    const url = await open(provider)
    write('20260101000000_dogs', scripts[provider])
    write('20260102000000_more', 'CREATE TABLE cats (id INTEGER);')
    const applied = await Promise.all([apply(url), apply(url), apply(url)])
    expect(applied.flat().sort()).toEqual(['20260101000000_dogs', '20260102000000_more'])
    expect(await history(url)).toHaveLength(2)
  })
})

describe.runIf(providers.includes('postgresql'))('migrate on PostgreSQL', () => {
  test('works in the schema of the URL and makes it', async () => {
    const url = new URL(await open('postgresql'))
    url.searchParams.set('schema', 'the dogs\\"')
    write('20260101000000_dogs', 'CREATE TABLE dogs (id INTEGER);')
    expect(await apply(url.href)).toEqual(['20260101000000_dogs'])
    const tables = await rowsOf(
      url.href,
      `SELECT schemaname::text, tablename::text FROM pg_tables WHERE tablename IN ('dogs', '_prisma_migrations') ORDER BY 2`,
    )
    expect(tables).toEqual([
      ['the dogs\\"', '_prisma_migrations'],
      ['the dogs\\"', 'dogs'],
    ])
    expect(await apply(url.href)).toEqual([])
  })

  test('leaves nothing of a script that fails, as Prisma does', async () => {
    const url = await open('postgresql')
    write('20260101000000_broken', broken)
    await expect(apply(url)).rejects.toThrow('nowhere')
    expect(await rowsOf(url, `SELECT to_regclass('before_failure')::text`)).toEqual([[null]])
  })
})

describe('the history that migrate writes on SQLite', () => {
  const migrations = [
    { name: '20260101000000_dogs', sql: scripts.sqlite },
    { name: '20260102000000_cats', sql: 'CREATE TABLE cats (id INTEGER);' },
    { name: '20260103000000_empty', sql: '-- This is an empty migration.' },
  ]

  test('is accepted by the engine of Prisma, which applies nothing', async () => {
    const url = await open('sqlite')
    for (const { name, sql } of migrations) write(name, sql)
    await apply(url)
    const engine = await engineOn(url)
    expect(await diagnose(engine, migrations)).toEqual({
      editedMigrationNames: [],
      failedMigrationNames: [],
      hasMigrationsTable: true,
      history: null,
    })
    expect(await applyByEngine(engine, migrations)).toEqual([])
  })

  test('goes on where the engine stopped, and the engine where it stopped', async () => {
    const url = await open('sqlite')
    const engine = await engineOn(url)
    expect(await applyByEngine(engine, migrations.slice(0, 1))).toEqual(['20260101000000_dogs'])
    engine.free()
    for (const { name, sql } of migrations.slice(0, 2)) write(name, sql)
    expect(await apply(url)).toEqual(['20260102000000_cats'])
    const second = await engineOn(url)
    expect(await applyByEngine(second, migrations)).toEqual(['20260103000000_empty'])
    expect(await diagnose(second, migrations)).toMatchObject({ editedMigrationNames: [], history: null })
  })

  test('tells the engine which migration has failed', async () => {
    const url = await open('sqlite')
    write('20260101000000_broken', broken)
    await expect(apply(url)).rejects.toThrow('nowhere')
    const engine = await engineOn(url)
    const failed = [{ name: '20260101000000_broken', sql: broken }]
    expect((await diagnose(engine, failed)).failedMigrationNames).toEqual(['20260101000000_broken'])
    await expect(applyByEngine(engine, failed)).rejects.toThrow(/20260101000000_broken/)
  })

  test('is written through libsql too', async () => {
    const url = await open('sqlite')
    const adapter = await new PrismaLibSql({ url }).connect()
    const history = new MigrationHistory(adapter)
    await history.lock()
    await history.create()
    await history.apply({ name: '20260101000000_dogs', script: scripts.sqlite })
    await expect(history.apply({ name: '20260102000000_broken', script: broken })).rejects.toThrow('nowhere')
    const { attempts } = await history.read()
    await adapter.dispose()
    expect(attempts?.map(({ name, finished }) => [name, finished])).toEqual([
      ['20260101000000_dogs', true],
      ['20260102000000_broken', false],
    ])
  })
})

describe.each(providers)('a migration that has failed, on %s', (provider) => {
  test('is applied again when it is resolved as rolled back, and passed over when it is resolved as applied', async () => {
    const url = await open(provider)
    write('1_broken', 'SELECT nonsense FROM nowhere;')
    await expect(apply(url)).rejects.toThrow(/nonsense|nowhere/)
    await expect(apply(url)).rejects.toThrow(/--resolve 1_broken/)
    write('1_broken', 'CREATE TABLE mended (id INTEGER);')
    const resolve = { name: '1_broken', as: 'rolled back' } as const
    expect(await migrate({ url, migrations: folder, resolve })).toEqual(['1_broken'])
    await expect(migrate({ url, migrations: folder, resolve })).rejects.toThrow(/applied already/)
    write('2_broken', 'SELECT nonsense FROM nowhere;')
    await expect(apply(url)).rejects.toThrow(/nonsense|nowhere/)
    expect(await migrate({ url, migrations: folder, resolve: { name: '2_broken', as: 'applied' } })).toEqual([])
    expect(await apply(url)).toEqual([])
    await expect(migrate({ url, migrations: folder, resolve: { name: '3_none', as: 'applied' } })).rejects.toThrow(
      /none of that name/,
    )
  })

  test('is marked as applied in a database that has its tables and no history', async () => {
    const url = await open(provider)
    await runAll(url, ['CREATE TABLE dogs (id INTEGER)'])
    write('1_dogs', 'CREATE TABLE dogs (id INTEGER);')
    write('2_cats', 'CREATE TABLE cats (id INTEGER);')
    await expect(apply(url)).rejects.toThrow(/--resolve <name> --applied/)
    expect(await migrate({ url, migrations: folder, resolve: { name: '1_dogs', as: 'applied' } })).toEqual(['2_cats'])
  })
})

test.runIf(providers.includes('postgresql'))(
  'a script of pg_dump, which empties the search path, is a baseline',
  async () => {
    const url = await open('postgresql')
    const dumped =
      "\\restrict abc\nSET statement_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\nSET row_security = off;\n" +
      'CREATE TABLE public.dogs (id integer NOT NULL);\n\\unrestrict abc\n'
    write('1_baseline', dumped)
    write('2_cats', 'CREATE TABLE cats (id INTEGER);\nSELECT id FROM dogs;\n')
    expect(await apply(url)).toEqual(['1_baseline', '2_cats'])
    expect(await apply(url)).toEqual([])
    expect(await rowsOf(url, 'SELECT count(*) FROM public.cats')).toHaveLength(1)
  },
)
