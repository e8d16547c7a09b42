import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { run } from '../../src/cli/program.js'

let folder: string
let printed: string[]
let complained: string[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'es-init-'))
  printed = []
  complained = []
})

afterEach(() => rmSync(folder, { recursive: true }))

const file = (): string => join(folder, 'eventsourcing.prisma')

async function init(...args: string[]): Promise<number> {
  const output = { print: (line: string) => printed.push(line), complain: (line: string) => complained.push(line) }
  return await run(['init', '--schema', folder, ...args], output)
}

function datasource(provider: string, name: string = 'schema.prisma'): void {
  writeFileSync(
    join(folder, name),
    `// datasource db { provider = "mongodb" }\ngenerator client {\n  provider = "prisma-client"\n}\ndatasource db {\n  provider = "${provider}"\n}\n`,
  )
}

describe('init', () => {
  test.each([
    { provider: 'sqlite', id: /id +Int +@id @default\(autoincrement\(\)\)/ },
    { provider: 'postgresql', id: /id +BigInt +@id @default\(autoincrement\(\)\)/ },
    { provider: 'postgres', id: /originatorId +String +@map\("originator_id"\) @db\.Uuid/ },
    { provider: 'mysql', id: /model NotificationPosition/ },
  ])('writes the models for the datasource of the schema: $provider', async ({ provider, id }) => {
    datasource(provider)
    expect(await init()).toBe(0)
    expect(readFileSync(file(), 'utf8')).toMatch(id)
    expect(readFileSync(file(), 'utf8')).toContain('@@map("stored_events")')
    expect(printed.at(-1)).toContain('npx prisma migrate dev --name eventsourcing')
    expect(complained).toEqual([])
  })

  test('finds the datasource in a folder below', async () => {
    mkdirSync(join(folder, 'main'))
    datasource('sqlite', 'main/db.prisma')
    expect(await init()).toBe(0)
    expect(readFileSync(file(), 'utf8')).toContain('model StoredEvent')
  })

  test('adds the models to a schema of one file, which stays as it is before them', async () => {
    datasource('sqlite')
    const single = join(folder, 'schema.prisma')
    const before = readFileSync(single, 'utf8')
    expect(await init('--schema', single)).toBe(0)
    const text = readFileSync(single, 'utf8')
    expect(text.startsWith(before)).toBe(true)
    expect(text).toContain('model StoredEvent')
    expect(readdirSync(folder)).toEqual(['schema.prisma'])
    expect(await init('--schema', single)).toBe(0)
    expect(readFileSync(single, 'utf8')).toBe(text)
  })

  test('adds the models of a further application later', async () => {
    datasource('sqlite')
    expect(await init('--app', 'Dogs')).toBe(0)
    expect(await init('--app', 'Cats')).toBe(0)
    const models = [...readFileSync(file(), 'utf8').matchAll(/^model (\w+)/gm)].map(([, name]) => name)
    expect(models).toEqual(expect.arrayContaining(['DogsEvent', 'CatsEvent']))
    expect(new Set(models).size).toBe(models.length)
    expect(models.filter((name) => name === 'IdempotencyKey')).toHaveLength(1)
  })

  test('writes models for several applications', async () => {
    expect(await init('--provider', 'mysql', '--app', 'TrainingSchool', '--app', 'kennels')).toBe(0)
    const models = [...readFileSync(file(), 'utf8').matchAll(/^model (\w+)/gm)].map(([, name]) => name)
    expect(models).toEqual([
      'TrainingSchoolEvent',
      'TrainingSchoolEventTag',
      'TrainingSchoolSnapshot',
      'TrainingSchoolTracking',
      'TrainingSchoolSubjectKey',
      'TrainingSchoolProjection',
      'TrainingSchoolProjectionState',
      'TrainingSchoolParkedEvent',
      'TrainingSchoolInboxMessage',
      'TrainingSchoolTimer',
      'KennelsEvent',
      'KennelsEventTag',
      'KennelsSnapshot',
      'KennelsTracking',
      'KennelsSubjectKey',
      'KennelsProjection',
      'KennelsProjectionState',
      'KennelsParkedEvent',
      'KennelsInboxMessage',
      'KennelsTimer',
      'IdempotencyKey',
      'NotificationPosition',
    ])
    expect(readFileSync(file(), 'utf8')).toContain('@@map("trainingschool_events")')
  })

  test('writes text ids and a PostgreSQL schema on request', async () => {
    expect(await init('--provider', 'postgresql', '--originator-id-type', 'text', '--postgres-schema', 'dogs')).toBe(0)
    expect(readFileSync(file(), 'utf8')).not.toContain('@db.Uuid')
    expect(readFileSync(file(), 'utf8').match(/@@schema\("dogs"\)/g)).toHaveLength(11)
  })

  test('has nothing to do when the file is there', async () => {
    datasource('sqlite')
    await init()
    expect(await init()).toBe(0)
    expect(printed.at(-1)).toContain('nothing to do')
  })

  test('leaves models alone: what is added stays, and what is missing is told', async () => {
    datasource('sqlite')
    await init()
    const text = readFileSync(file(), 'utf8')
    const extended = text
      .replaceAll('@@map("stored_events")', '@@map("stored_events")\n  @@ignore')
      .replaceAll('  ', '    ')
    writeFileSync(file(), extended)
    expect(await init()).toBe(0)
    const lacking = text.replace(/^ *metadata.*\n/m, '')
    writeFileSync(file(), lacking)
    expect(await init('--app', 'Dogs')).toBe(0)
    expect(await init()).toBe(1)
    expect(complained.join('\n')).toContain('model StoredEvent is there and lacks `metadata Json?`')
    expect(readFileSync(file(), 'utf8').startsWith(lacking.trimEnd())).toBe(true)
  })

  test.each([
    { args: ['--provider', 'sqlite', '--app', 'Training School'], reason: 'no name for a table' },
    { args: ['--provider', 'postgresql', '--app', 'a'.repeat(54)], reason: 'at most 63' },
    { args: ['--provider', 'sqlite', '--app', '_hidden'], reason: 'begins with a letter' },
    { args: ['--provider', 'sqlite', '--app', 'Dogs', 'dogs'], reason: 'twice' },
    { args: ['--provider', 'sqlite', '--postgres-schema', 'dogs'], reason: 'has no schemas' },
    { args: ['--provider', 'oracle'], reason: 'Allowed choices' },
    { args: [], reason: 'no datasource' },
    { args: ['--schema', '/nowhere'], reason: 'there is no /nowhere' },
  ])('refuses $args', async ({ args, reason }) => {
    expect(await init(...args)).toBe(1)
    expect(complained.join('\n')).toContain(reason)
    expect(() => readFileSync(file())).toThrow('ENOENT')
  })

  test('refuses a datasource that is not supported', async () => {
    datasource('sqlserver')
    expect(await init()).toBe(1)
    expect(complained.join('\n')).toContain("provider 'sqlserver'")
  })

  test('cannot choose between two datasources', async () => {
    datasource('sqlite')
    datasource('mysql', 'other.prisma')
    expect(await init()).toBe(1)
    expect(complained.join('\n')).toContain('more than one: ')
  })
})

describe('sql', () => {
  test('prints the statements for the tables of applications, and connects to nothing', async () => {
    datasource('postgresql')
    const output = { print: (line: string) => printed.push(line), complain: (line: string) => complained.push(line) }
    expect(await run(['sql', '--schema', folder, '--app', 'Dogs', 'Cats', '--postgres-schema', 'kennel'], output)).toBe(
      0,
    )
    const text = printed.join('\n')
    for (const table of ['dogs_events', 'dogs_event_tags', 'dogs_projections', 'cats_keys', 'idempotency_keys']) {
      expect(text).toContain(`CREATE TABLE IF NOT EXISTS "kennel"."${table}"`)
    }
    expect(complained).toEqual([])
  })
})

test('--version prints that of the package', async () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { readonly version: string }
  const output = { print: (line: string) => printed.push(line), complain: (line: string) => complained.push(line) }
  expect(await run(['--version'], output)).toBe(0)
  expect(printed).toEqual([version])
})
