/** Applications that variables set up alone: the configuration table of the README, on every database. */
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { TrainingSchool } from '../../examples/school.js'
import {
  type Application,
  DatabaseError,
  Environment,
  EnvironmentError,
  type EnvironmentVariables,
  PrismaAggregateRecorder,
  PrismaApplicationRecorder,
  PrismaFactory,
  PrismaProcessRecorder,
  PrismaTrackingRecorder,
  ProgrammingError,
} from '../../src/index.js'
import type { DatastoreFactory } from '../../src/prisma/datastore-factory.js'
import { PrismaSubjectKeyRecorder } from '../../src/recorders.js'
import { Dog } from '../application/dogs.js'
import { databases, databasesOf, type TestDatabase } from '../support/databases.js'
import { closeShared, DogCounts, openShared, useDatabase } from './fixtures/configured.js'

const fixtures = fileURLToPath(new URL('fixtures/configured.ts', import.meta.url))
const named = (name: string): string => `${fixtures}#${name}`

describe.each(databases)('on $name', (kind) => {
  let database: TestDatabase
  let schools: Application[] = []
  beforeEach(async () => {
    database = await kind.createDatabase()
    useDatabase(database)
  })
  afterEach(async () => {
    for (const school of schools) await school.close()
    schools = []
    await closeShared()
    await database.drop()
  })

  const open = (env: EnvironmentVariables): TrainingSchool => {
    const school = new TrainingSchool({ env: { PERSISTENCE_MODULE: 'eventsourcing-prisma', ...env } })
    schools.push(school)
    return school
  }
  const train = async (school: TrainingSchool): Promise<void> => {
    await school.register('Fido')
    await school.addTrick('Fido', 'roll over')
    await school.addTrick('Fido', 'play dead')
    expect(await school.getTricks('Fido')).toEqual(['roll over', 'play dead'])
  }
  const stored = async (table = 'trainingschool_events'): Promise<number> =>
    Number((await database.query(`SELECT count(*) AS n FROM ${table}`))[0]?.['n'])

  it('quick start: a module and a URL', async () => {
    await train(open({ PRISMA_URL: database.url }))
    expect(await stored()).toBe(3)
  })

  it('makes its table where it is told to', async () => {
    await database.query('DROP TABLE trainingschool_events')
    await expect(open({ PRISMA_URL: database.url }).register('Fido')).rejects.toThrow()
    await train(open({ PRISMA_URL: database.url, CREATE_TABLE: 'yes' }))
    expect(await stored()).toBe(3)
  })

  it('takes the variable with the name of the application in front first', async () => {
    await train(open({ PRISMA_URL: 'nonsense:', TRAININGSCHOOL_PRISMA_URL: database.url }))
    expect(await stored()).toBe(3)
  })

  it('has autoflush on by default, and off by environment [256]', async () => {
    for (const [value, expected] of [
      [undefined, true],
      ['yes', true],
      ['no', false],
    ] as const) {
      const school = await open({ PRISMA_URL: database.url, PRISMA_AUTOFLUSH: value }).ready()
      await school.recorder.transaction(async (tx) => expect(tx.autoflush).toBe(expected))
    }
    await expect(open({ PRISMA_URL: database.url, PRISMA_AUTOFLUSH: 'perhaps' }).ready()).rejects.toThrow(
      EnvironmentError,
    )
  })

  it('uses a driver adapter that a function of the user makes, and passes its error on [260]', async () => {
    await train(open({ PRISMA_ADAPTER_TOPIC: named('adapter') }))
    expect(await stored()).toBe(3)
    await expect(open({ PRISMA_ADAPTER_TOPIC: named('failingAdapter') }).ready()).rejects.toThrow(
      'the instance is not there',
    )
    await expect(open({ PRISMA_ADAPTER_TOPIC: named('useDatabase') }).ready()).rejects.toThrow(EnvironmentError)
    await expect(open({ PRISMA_ADAPTER_TOPIC: named('missing') }).ready()).rejects.toThrow(EnvironmentError)
  })

  it('uses a datastore of the user, and leaves it open', async () => {
    const school = open({ PRISMA_DATASTORE_TOPIC: named('datastore') })
    await train(school)
    await school.close()
    await openShared().transaction(async () => {})
    expect(await stored()).toBe(3)
  })

  it('gives transactions the client of the user', async () => {
    const provider = kind.provider
    const client = fileURLToPath(new URL(`../support/generated/${provider}/client.ts`, import.meta.url))
    const school = await open({ PRISMA_URL: database.url, PRISMA_CLIENT_TOPIC: `${client}#PrismaClient` }).ready()
    const undo = new Error('undo')
    const transaction = school.recorder.transaction(async (tx) => {
      await school.register('Rex')
      const owners: { create(args: object): Promise<unknown> } = Reflect.get(Object(tx.client), 'owner')
      await owners.create({ data: { name: 'Ann', dog: 'Rex' } })
      throw undo
    })
    await expect(transaction).rejects.toBe(undo)
    expect(await stored()).toBe(0)
    expect(await stored('owners')).toBe(0)
  })

  it('says what is missing', async () => {
    await expect(open({}).ready()).rejects.toThrow('TRAININGSCHOOL_PRISMA_URL, PRISMA_URL')
    await expect(open({ PRISMA_URL: 'oracle://x' }).ready()).rejects.toThrow(EnvironmentError)
  })

  it('makes recorders of every kind, without their tables unless it is told to [88]', async () => {
    const factory = (env: EnvironmentVariables): PrismaFactory =>
      new PrismaFactory(new Environment('kennel', { PRISMA_URL: database.url, ...env }))
    const [without, making] = [factory({ CREATE_TABLE: 'f' }), factory({ CREATE_TABLE: 'y' })]
    await without.prepare()
    expect(without.aggregateRecorder('events')).toBeInstanceOf(PrismaAggregateRecorder)
    expect(without.aggregateRecorder('snapshots')).toBeInstanceOf(PrismaAggregateRecorder)
    expect(without.applicationRecorder()).toBeInstanceOf(PrismaApplicationRecorder)
    expect(without.processRecorder()).toBeInstanceOf(PrismaProcessRecorder)
    expect(without.trackingRecorder()).toBeInstanceOf(PrismaTrackingRecorder)
    expect(without.subjectKeyRecorder()).toBeInstanceOf(PrismaSubjectKeyRecorder)
    await expect(without.processRecorder().maxNotificationId()).rejects.toBeInstanceOf(DatabaseError)
    await expect(without.trackingRecorder().maxTrackingId('up')).rejects.toBeInstanceOf(DatabaseError)
    await expect(without.subjectKeyRecorder()?.selectKeys(['Ann'])).rejects.toBeInstanceOf(DatabaseError)
    await making.prepare()
    const tracking = { applicationName: 'up', notificationId: 1n }
    expect(await without.processRecorder().insertEvents([], { tracking })).toEqual([])
    expect(await without.trackingRecorder().maxTrackingId('up')).toBe(1n)
    expect(await without.aggregateRecorder('snapshots').selectEvents(Dog.createId('Fido'))).toEqual([])
    expect(await without.subjectKeyRecorder()?.selectKeys(['Ann'])).toEqual([])
    await without.close()
    await making.close()
  })

  it('makes the tracking recorder that is named [89]', async () => {
    const env = new Environment('', { PRISMA_URL: database.url, TRACKING_RECORDER_TOPIC: named('DogCounts') })
    const factory = new PrismaFactory(env)
    await factory.prepare()
    const recorder = factory.trackingRecorder()
    expect(recorder).toBeInstanceOf(DogCounts)
    await recorder.insertTracking({ applicationName: 'up', notificationId: 3n })
    expect(await recorder.hasTrackingId('up', 2n)).toBe(true)
    await factory.close()
    const given = openShared().infrastructureFactory(new Environment(''))
    expect((given as DatastoreFactory<object>).trackingRecorder(DogCounts)).toBeInstanceOf(DogCounts)
    const wrong = new Environment('', { PRISMA_URL: database.url, TRACKING_RECORDER_TOPIC: named('useDatabase') })
    await expect(new PrismaFactory(wrong).prepare()).rejects.toThrow(/TRACKING_RECORDER_TOPIC/)
  })

  it('closes what it has opened [97]', async () => {
    const school = open({ PRISMA_URL: database.url })
    await train(school)
    await school.close()
    await expect(school.register('Rex')).rejects.toThrow(ProgrammingError)
    if (kind.provider === 'postgresql') {
      const others = `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = '' AND state = 'idle' AND query NOT LIKE '%count(*)%' AND query NOT LIKE 'CREATE%'`
      await vi.waitFor(async () => expect(await database.query(others)).toEqual([]), { timeout: 10_000 })
    }
  })

  it('encrypts and compresses', async () => {
    const school = open({
      PRISMA_URL: database.url,
      COMPRESSOR_TOPIC: 'eventsourcing-prisma#ZlibCompressor',
      CIPHER_TOPIC: 'eventsourcing-prisma#AESCipher',
      CIPHER_KEY: Buffer.alloc(32, 7).toString('base64'),
    })
    await train(school)
    const rows = await database.query('SELECT state FROM trainingschool_events')
    expect(rows).toHaveLength(3)
    for (const { state } of rows) expect(Buffer.from(state as Uint8Array).toString('latin1')).not.toContain('roll over')
  })
})

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it('uses a named schema, by variable [20, 261]', async () => {
    const database = await kind.createDatabase()
    const school = new TrainingSchool({
      env: {
        PERSISTENCE_MODULE: 'eventsourcing-prisma',
        PRISMA_URL: database.url,
        PRISMA_SCHEMA: 'dogs',
        CREATE_TABLE: 'yes',
      },
    })
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    expect(await school.getTricks('Fido')).toEqual(['sit'])
    expect(await database.query('SELECT id FROM dogs.trainingschool_events')).toHaveLength(2)
    expect(await database.query('SELECT id FROM public.trainingschool_events')).toHaveLength(0)
    await school.close()
    await database.drop()
  })

  it('connects as the Cloud SQL connector has it', async () => {
    const database = await kind.createDatabase()
    useDatabase(database)
    const school = new TrainingSchool({
      env: { PERSISTENCE_MODULE: 'eventsourcing-prisma', PRISMA_ADAPTER_TOPIC: named('cloudSqlAdapter') },
    })
    await school.register('Fido')
    expect(await school.getTricks('Fido')).toEqual([])
    await school.close()
    await database.drop()
  })
})
