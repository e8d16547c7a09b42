import { readFileSync } from 'node:fs'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterEach, describe, expect, test } from 'vitest'
import { migrate } from '../../src/cli/migrations.js'
import { modelTypes, renderModels } from '../../src/cli/schema-models.js'
import { PrismaAggregateRecorder } from '../../src/prisma/aggregate-recorder.js'
import { PrismaApplicationRecorder } from '../../src/prisma/application-recorder.js'
import { PrismaDatastore } from '../../src/prisma/datastore.js'
import type { OriginatorIdType } from '../../src/prisma/dialect.js'
import * as mariadb from '../../src/prisma/dialects/mariadb-tables.js'
import * as postgresql from '../../src/prisma/dialects/postgresql-tables.js'
import * as sqlite from '../../src/prisma/dialects/sqlite-tables.js'
import { adapterFromUrl } from '../../src/prisma/factory.js'
import { PrismaProjectionRecorder } from '../../src/prisma/projection-recorder.js'
import { PrismaTimerRecorder } from '../../src/prisma/side-recorders.js'
import { tableNames } from '../../src/prisma/table-names.js'
import {
  catalogOf,
  type EmptyDatabase,
  emptyDatabase,
  type Provider,
  providers,
  runAll,
} from '../support/empty-databases.js'
import { diff, ofSchema, schemaEngine } from './schema-engine.js'

const dialects = { sqlite, postgresql, mysql: mariadb }
const migration = (provider: Provider): string =>
  readFileSync(`prisma/${provider}/migrations/20261101000000_init/migration.sql`, 'utf8')
const exampleSchema = (provider: Provider): string => readFileSync(`prisma/${provider}/schema.prisma`, 'utf8')

const owner = `
model Owner {
  id   Int    @id @default(autoincrement())
  name String
  dog  String @unique
}
`

const opened: EmptyDatabase[] = []

afterEach(async () => {
  for (const database of opened.splice(0)) await database.drop()
})

async function open(provider: Provider): Promise<string> {
  const database = await emptyDatabase(provider)
  opened.push(database)
  return database.url
}

function typesOf(provider: Provider): (typeof modelTypes)[number] {
  const types = modelTypes.find((candidate) => candidate.provider === provider)
  if (types === undefined) throw new Error(`No models for ${provider}`)
  return types
}

/** What `createTable()` of the recorders makes, and the tables of tracking positions, subject keys, idempotency keys and messages. */
async function createTables(provider: Provider, url: string, options: Variant = {}): Promise<void> {
  const { application = '', schema, originatorIdType } = options
  const names = tableNames(application)
  const recorderOptions = {
    ...(schema === undefined ? {} : { schema }),
    ...(originatorIdType === undefined ? {} : { originatorIdType }),
  }
  await using datastore = new PrismaDatastore({ adapter: await adapterFromUrl(url) })
  const events = new PrismaApplicationRecorder(datastore, { eventsTable: names.events, ...recorderOptions })
  const snapshots = new PrismaAggregateRecorder(datastore, {
    eventsTable: names.snapshots,
    kind: 'snapshots',
    ...recorderOptions,
  })
  await events.createTable()
  await snapshots.createTable()
  await new PrismaTimerRecorder(datastore, {
    timersTable: names.timers,
    ...(schema === undefined ? {} : { schema }),
  }).createTable()
  await new PrismaProjectionRecorder(datastore, { names, ...(schema === undefined ? {} : { schema }) }).createTable()
  await runAll(url, dialects[provider].trackingTableStatements(names.tracking, { schema }))
  await runAll(url, dialects[provider].subjectKeysTableStatements(names.subjectKeys, { schema }))
  await runAll(url, dialects[provider].idempotencyKeysTableStatements('idempotency_keys', { schema }))
  await runAll(url, dialects[provider].inboxTableStatements(names.inbox, { schema }))
}

interface Variant {
  readonly application?: string
  readonly schema?: string
  readonly originatorIdType?: OriginatorIdType
}

describe.each(providers)('the tables on %s', (provider) => {
  test('the example schema has the models that init writes', () => {
    const models = renderModels({ types: typesOf(provider), applications: [''] })
    expect(exampleSchema(provider).slice(exampleSchema(provider).indexOf('/// '))).toBe(models)
  })

  test('the migration and createTable make the same', async () => {
    const migrated = await open(provider)
    await migrate({ url: migrated, migrations: `prisma/${provider}/migrations` })
    const created = await open(provider)
    await createTables(provider, created)
    const catalog = await catalogOf(provider, created)
    expect(JSON.stringify(catalog)).toContain('stored_snapshots')
    expect(catalog).toEqual(await catalogOf(provider, migrated))
  })

  test('createTable twice is harmless, also after the migration', async () => {
    const url = await open(provider)
    await migrate({ url, migrations: `prisma/${provider}/migrations` })
    const before = await catalogOf(provider, url)
    await createTables(provider, url)
    await createTables(provider, url)
    expect(await catalogOf(provider, url)).toEqual(before)
  })
})

describe.each(providers.filter((provider) => provider !== 'mysql'))('the engine of Prisma on %s', (provider) => {
  async function engine(schema: string): ReturnType<typeof schemaEngine> {
    const url = await open(provider)
    return await schemaEngine(provider === 'sqlite' ? new PrismaLibSql({ url }) : new PrismaPg(url), schema)
  }

  function schemaOf(models: string, postgresSchema?: string): string {
    const schemas = postgresSchema === undefined ? '' : `  schemas  = ["${postgresSchema}"]\n`
    return `datasource db {\n  provider = "${provider}"\n${schemas}}\n\n${models}`
  }

  test('makes the checked-in migration of the example schema', async () => {
    const schema = exampleSchema(provider)
    expect(await diff(await engine(schema), { tag: 'empty' }, ofSchema(schema))).toBe(migration(provider))
  })

  const longName = 'An_application_with_a_name_as_long_as_the_tables_allow'.slice(0, 45)
  const variants: Variant[] = [
    { application: 'TrainingSchool' },
    { application: longName.slice(0, 45) },
    { application: longName },
    { originatorIdType: 'text' },
    ...(provider === 'postgresql' ? [{ application: 'TrainingSchool', schema: 'dogs' }] : []),
  ]

  test.each(variants)('makes of the models what createTable makes: %o', async (variant) => {
    const { application = '', originatorIdType = 'uuid', schema: postgresSchema } = variant
    const types = typesOf(provider)
    const models = renderModels({
      types,
      applications: [application],
      originatorIdType,
      ...(postgresSchema === undefined ? {} : { schema: postgresSchema }),
    })
    const schema = schemaOf(models, postgresSchema)
    const statements = (await diff(await engine(schema), { tag: 'empty' }, ofSchema(schema)))
      .split(/;\s*$/m)
      .filter((sql) => sql.trim() !== '')
    const migrated = await open(provider)
    await runAll(migrated, statements)
    const created = await open(provider)
    await createTables(provider, created, variant)
    const catalog = await catalogOf(provider, created, postgresSchema)
    expect(JSON.stringify(catalog)).toContain(tableNames(application).events)
    expect(catalog).toEqual(await catalogOf(provider, migrated, postgresSchema))
  })

  test('leaves our tables alone when a model of the user comes in beside ours', async () => {
    const ours = exampleSchema(provider)
    const both = ours + owner
    const statements = await diff(await engine(both), ofSchema(ours), ofSchema(both))
    expect(statements).toContain('CREATE TABLE "Owner"')
    expect(statements).not.toMatch(/DROP|ALTER|stored_|notification_/)
  })
})

describe('a database that createTable filled, to the engine of Prisma on SQLite', () => {
  test('has no drift from the schema, and lacks only what the user adds', async () => {
    const url = await open('sqlite')
    await createTables('sqlite', url)
    const schema = exampleSchema('sqlite')
    const engine = await schemaEngine(new PrismaLibSql({ url }), schema)
    const files = [{ path: 'schema.prisma', content: schema }]
    const database = { tag: 'schemaDatasource' as const, files, configDir: '.' }
    expect(await diff(engine, database, ofSchema(schema))).toMatch(/^(-- This is an empty migration\.)?\s*$/)
    const missing = await diff(engine, database, ofSchema(schema + owner))
    expect(missing.match(/^(CREATE|ALTER|DROP).*/gm)).toEqual([
      'CREATE TABLE "Owner" (',
      'CREATE UNIQUE INDEX "Owner_dog_key" ON "Owner"("dog");',
    ])
  })
})
