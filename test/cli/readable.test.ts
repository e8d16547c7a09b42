/** The views in which states are JSON: by `sql --readable`, and as a migration by `init --readable`. */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/program.js'
import { TrainingSchool } from '../application/dogs.js'
import { openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

async function command(...args: readonly string[]): Promise<{ code: number; out: string }> {
  const out: string[] = []
  const print = (line: string): void => void out.push(line)
  return { code: await run(args, { print, complain: print }), out: out.join('\n') }
}

describe.each(oneOfEach)('sql --readable on $name', ({ provider, ...kind }) => {
  it('makes views that show JSON, and say what is compressed', async () => {
    const open = await openDatabase({ provider, ...kind })
    try {
      const school = new TrainingSchool({ datastore: open.datastore })
      const small = new TrainingSchool({ datastore: open.datastore, name: 'Small', env: { COMPRESSOR_TOPIC: 'zlib' } })
      for (const each of [school, small]) {
        await each.recorder.createTable?.()
        await each.register('Fido')
      }
      const { out } = await command('sql', '--readable', '--provider', provider, '--app', 'TrainingSchool', 'Small')
      // The tables of snapshots are not made here.
      const statements = out.split(/;\n\n|;$/).filter((sql) => !sql.includes('_snapshots'))
      for (const sql of statements) if (sql.trim() !== '') await open.database.query(sql)
      const shown = async (view: string): Promise<unknown> => {
        const [row] = await open.database.query(`SELECT * FROM ${open.quoted(view)}`)
        const state = row?.['state']
        return {
          topic: row?.['topic'],
          state: typeof state === 'string' && /^[{"]/.test(state) ? JSON.parse(state) : state,
        }
      }
      expect(await shown('trainingschool_events_readable')).toMatchObject({
        topic: 'Dog.Registered',
        state: { name: 'Fido' },
      })
      expect(await shown('small_events_readable')).toEqual({
        topic: 'Dog.Registered',
        state: '(compressed or encrypted)',
      })
    } finally {
      await open.close()
    }
  })
})

describe('init --readable', () => {
  const before = process.cwd()
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'readable-'))
    await mkdir(join(folder, 'prisma'))
    await writeFile(join(folder, 'prisma/schema.prisma'), 'datasource db {\n  provider = "postgresql"\n}\n')
    process.chdir(folder)
  })
  afterEach(async () => {
    process.chdir(before)
    await rm(folder, { recursive: true })
  })

  it('writes a migration behind those that make the tables, once', async () => {
    const missing = await command('init', '--readable')
    expect([missing.code, missing.out]).toEqual([1, expect.stringContaining('no migration in prisma/migrations makes')])
    await mkdir('prisma/migrations/20260101000000_eventsourcing', { recursive: true })
    await writeFile(
      'prisma/migrations/20260101000000_eventsourcing/migration.sql',
      'CREATE TABLE "stored_events" ();\n',
    )
    expect((await command('init', '--readable')).out).toMatch(/^Wrote prisma.migrations.\d{14}_eventsourcing_readable/)
    const [, name = ''] = (await readdir('prisma/migrations')).sort()
    expect(await readFile(join('prisma/migrations', name, 'migration.sql'), 'utf8')).toContain(
      'CREATE OR REPLACE VIEW "stored_events_readable"',
    )
    expect((await command('init', '--readable')).out).toContain('nothing to do')
  })
})
