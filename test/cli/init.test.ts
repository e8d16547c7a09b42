import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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

  test('finds the datasource in a folder below, and takes the main file for its folder', async () => {
    mkdirSync(join(folder, 'main'))
    datasource('sqlite', 'main/db.prisma')
    expect(await init('--schema', join(folder, 'main', 'db.prisma'))).toBe(0)
    expect(readFileSync(join(folder, 'main', 'eventsourcing.prisma'), 'utf8')).toContain('model StoredEvent')
    expect(await init()).toBe(0)
    expect(readFileSync(file(), 'utf8')).toContain('model StoredEvent')
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
      'KennelsEvent',
      'KennelsEventTag',
      'KennelsSnapshot',
      'KennelsTracking',
      'KennelsSubjectKey',
      'KennelsProjection',
      'KennelsProjectionState',
      'KennelsParkedEvent',
      'IdempotencyKey',
      'NotificationPosition',
    ])
    expect(readFileSync(file(), 'utf8')).toContain('@@map("trainingschool_events")')
  })

  test('writes text ids and a PostgreSQL schema on request', async () => {
    expect(await init('--provider', 'postgresql', '--originator-id-type', 'text', '--postgres-schema', 'dogs')).toBe(0)
    expect(readFileSync(file(), 'utf8')).not.toContain('@db.Uuid')
    expect(readFileSync(file(), 'utf8').match(/@@schema\("dogs"\)/g)).toHaveLength(9)
  })

  test('has nothing to do when the file is there', async () => {
    datasource('sqlite')
    await init()
    expect(await init()).toBe(0)
    expect(printed.at(-1)).toContain('nothing to do')
  })

  test('leaves a file alone that differs', async () => {
    datasource('sqlite')
    writeFileSync(file(), 'mine')
    expect(await init()).toBe(1)
    expect(readFileSync(file(), 'utf8')).toBe('mine')
    expect(complained.join('\n')).toContain('exists and differs')
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
