/** The doctor finds what is wrong with the tables of a database, and says what to do. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { doctor, type Finding } from '../../src/cli/doctor.js'
import { migrate } from '../../src/cli/migrations.js'
import { run } from '../../src/cli/program.js'
import { PrismaDatastore, PrismaProcessRecorder, PrismaTrackingRecorder } from '../../src/index.js'
import { PrismaProjectionRecorder } from '../../src/prisma/projection-recorder.js'
import { PrismaTimerRecorder } from '../../src/prisma/side-recorders.js'
import { tableNames } from '../../src/prisma/table-names.js'
import { storedEvent } from '../contracts/stored-events.js'
import { newGate } from '../prisma/gate.js'
import { databasesOf, oneOfEach, type TestDatabase } from '../support/databases.js'

let database: TestDatabase
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'es-doctor-'))
})
afterEach(async () => {
  rmSync(folder, { recursive: true })
  await database.drop()
})

const look = async (applications: readonly string[] = ['']): Promise<Finding[]> =>
  await doctor({ url: database.url, migrations: folder, applications })

/** What is not in order, as lines. */
const faults = (findings: readonly Finding[]): string[] =>
  findings
    .filter(({ status }) => status !== 'ok')
    .map(({ status, check, subject, message, cure }) => `${status} ${check} ${subject}: ${message} ${cure ?? ''}`)

describe.each(oneOfEach)('on $name', (kind) => {
  it('finds tables that are in order, missing tables, and a position beyond the end of a log', async () => {
    database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const recorder = new PrismaProcessRecorder(datastore)
    await recorder.insertEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', 1)])
    await new PrismaProjectionRecorder(datastore, { names: tableNames('') }).createTable()
    await new PrismaTimerRecorder(datastore).createTable()
    const school = new PrismaProcessRecorder(datastore, {
      eventsTable: 'school_events',
      trackingTable: 'school_tracking',
    })
    await school.createTable()
    await school.insertEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', 1)])
    for (const applicationName of ['School', 'Elsewhere']) {
      await school.insertTracking({ applicationName, notificationId: 5n })
    }
    const letters = new PrismaTrackingRecorder(datastore, { trackingTable: 'school_tracking', reader: 'letters' })
    await letters.insertTracking({ applicationName: 'School', notificationId: 7n })
    await datastore.close()
    const isAboutMigrations = ({ check }: Finding): boolean => check === 'migrations'
    const sound = await look()
    expect(faults(sound.filter((finding) => !isAboutMigrations(finding)))).toEqual([])
    expect(sound.filter(({ subject }) => subject === 'stored_events').map(({ check }) => check)).toEqual(
      expect.arrayContaining(['table', 'ids', 'settled position']),
    )
    const missing = await look(['Nobody'])
    expect(faults(missing)).toContainEqual(expect.stringMatching(/^error table nobody_events: it does not exist/))
    expect(faults(missing)).toContainEqual(expect.stringMatching(/^warning table nobody_snapshots: .*for snapshots/))

    const schools = faults(await look(['School'])).filter((fault) => fault.includes('tracking'))
    expect(schools).toEqual([
      expect.stringMatching(
        /^error tracking school_tracking, School: it says that 5 was processed, and the log ends at 1/,
      ),
      expect.stringMatching(
        /^error tracking school_tracking, letters@School: it says that 7 was processed, and the log ends at 1/,
      ),
    ])
  })

  it('tells how projections are doing, who has their leases and until when, and what stands still', async () => {
    database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const log = new PrismaProcessRecorder(datastore)
    await log.insertEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', 1)])
    const projections = new PrismaProjectionRecorder(datastore, { names: tableNames('') })
    await projections.createTable()
    const keyOf = (name: string) => ({ name, version: 1, upstream: '', partition: 0 })
    for (const name of ['beyond', 'blocked', 'idle', 'leased']) await projections.add(keyOf(name), 1)
    const before = Date.now()
    await projections.claim(keyOf('leased'), 'host-1', 600_000)
    const lease = await projections.claim(keyOf('beyond'), 'host-2', 600_000)
    if (lease === undefined) throw new Error('nobody has the lease, and it was refused')
    await projections.reposition(keyOf('beyond'), lease.epoch, 4n)
    await projections.change('blocked', 1, { status: 'blocked', reason: 'Error: no owner', failedPosition: 1n })
    await projections.park('leased', 1, { notificationId: 1n, key: 'a', attempts: 2, error: 'Error: late' })
    await datastore.close()
    const found = (await look()).filter(({ subject }) => subject.startsWith('projections, '))
    expect(faults(found)).toEqual([
      expect.stringMatching(/^error projection projections, beyond, version 1, .*: it is at position 4, .*ends at 1/),
      expect.stringMatching(
        /^error projection projections, blocked, .*: it stands still at event 1: Error: no owner; .*projections retry blocked/,
      ),
      expect.stringMatching(/^warning projection projections, idle, .*nobody works on it.*building, at 0, nobody has/),
      expect.stringMatching(/^warning parked events projections, leased, .*: 1 event put aside/),
    ])
    const leased = found.find(({ status }) => status === 'ok')
    const [, until = ''] = /^building, at 0, the lease of host-1 lasts until (\S+Z)$/.exec(leased?.message ?? '') ?? []
    expect(Math.abs(Date.parse(until) - before - 600_000)).toBeLessThan(300_000)
  })

  it('tells which timers are late, and which were put aside', async () => {
    database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const timers = new PrismaTimerRecorder(datastore)
    await timers.createTable()
    const state = new Uint8Array([1])
    for (const [id, minutes] of Object.entries({ late: -5, later: -2, early: 5, broken: -5 })) {
      const topic = id === 'broken' ? 'broken' : 'alarm'
      await timers.setTimer({ id, topic, dueAt: new Date(Date.now() + minutes * 60_000), state })
    }
    const taken = await timers.reserveTimer(['broken'], 60_000)
    if (taken === undefined) throw new Error('the timer was not due')
    await timers.failTimer(taken, { attempts: 5, delayMs: undefined, error: 'Error: no such alarm' })
    await datastore.close()
    expect(faults((await look()).filter(({ check }) => check.endsWith('timers')))).toEqual([
      expect.stringMatching(/^warning parked timers timers: 1 timer put aside, such as broken .*no such alarm .*retry/),
      expect.stringMatching(/^warning late timers timers, 'alarm': 2 timers due .*onTimer\('alarm'/),
    ])
  })

  it('prints the same as text and as JSON, and exits with 1 for an error', async () => {
    database = await kind.createDatabase()
    const lines: string[] = []
    const output = { print: (line: string) => lines.push(line), complain: (line: string) => lines.push(line) }
    const args = ['doctor', '--url', database.url, '--migrations', folder]
    expect(await run(args, output)).toBe(0)
    expect(lines.at(-1)).toMatch(/^0 errors, \d+ warnings, \d+ in order$/)
    lines.length = 0
    expect(await run([...args, '--json', '--app', 'Nobody'], output)).toBe(1)
    expect(JSON.parse(lines.join('\n'))).toMatchObject({ ok: false, errors: 1 })
  })
})

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it('finds a sequence that is behind or cached, a missing index, and a table that Python made', async () => {
    database = await kind.createDatabase()
    await database.query(
      `INSERT INTO stored_events (id, originator_id, originator_version, topic, state) VALUES (9, gen_random_uuid(), 1, 't', '')`,
    )
    expect(faults(await look())).toContainEqual(expect.stringMatching(/^error ids stored_events: .*setval/))
    await database.query(`SELECT setval('stored_events_id_seq', 9)`)
    await database.query('ALTER SEQUENCE stored_events_id_seq CACHE 5')
    expect(faults(await look())).toContainEqual(expect.stringMatching(/^error ids stored_events: .*CACHE 5/))
    await database.query('ALTER SEQUENCE stored_events_id_seq CACHE 1')
    await database.query('DROP INDEX stored_events_originator_id_originator_version_key')
    expect(faults(await look())).toContainEqual(expect.stringMatching(/^error index stored_events/))
    await database.query('ALTER TABLE stored_events DROP COLUMN metadata, DROP COLUMN recorded_at')
    const fault = faults(await look()).find((line) => line.includes('stored_events'))
    expect(fault).toMatch(/no column metadata, recorded_at, as a table that Python made/)
    for (const sql of fault?.match(/ALTER TABLE[^;]*;/g) ?? []) await database.query(sql)
    const recorder = new PrismaProcessRecorder(new PrismaDatastore({ adapter: database.adapter() }))
    await recorder.insertEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', 1)])
    expect(await recorder.selectNotifications(null, 10)).toHaveLength(2)
    await new PrismaProjectionRecorder(recorder.datastore, { names: tableNames('') }).createTable()
    await database.query('ALTER TABLE projections DROP COLUMN owner')
    expect(faults(await look())).toContainEqual(
      expect.stringMatching(/^error columns projections: it has no column owner: every statement fails/),
    )
    if (recorder.datastore instanceof PrismaDatastore) await recorder.datastore.close()
  })

  it('meets a plain INSERT that is under way, as a foreign writer', async () => {
    database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const inserted = newGate()
    const mayEnd = newGate()
    const recorder = new PrismaProcessRecorder(datastore)
    const foreign = (await database.adapter().connect()) as Awaited<
      ReturnType<ReturnType<typeof database.adapter>['connect']>
    >
    const transaction = await foreign.startTransaction()
    const sql = `INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (gen_random_uuid(), 1, 't', '')`
    await transaction.executeRaw({ sql, args: [], argTypes: [] })
    expect(faults(await look())).toContainEqual(
      expect.stringMatching(/^warning foreign writers stored_events: process \d+ .*without the lock of this library/),
    )
    await transaction.executeRaw({ sql: 'ROLLBACK', args: [], argTypes: [] })
    await transaction.rollback()
    await foreign.dispose()
    const own = datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', 1)])
      await tx.flush()
      inserted.open()
      await mayEnd.opened
    })
    await inserted.opened
    expect(faults(await look()).filter((fault) => fault.includes('writers'))).toEqual([])
    mayEnd.open()
    await own
    await datastore.close()
  })

  it('finds migrations that are not applied, that have failed, and none', async () => {
    database = await kind.createDatabase()
    await database.query('DROP SCHEMA public CASCADE')
    await database.query('CREATE SCHEMA public')
    const write = (name: string, script: string): void => {
      mkdirSync(join(folder, name), { recursive: true })
      writeFileSync(join(folder, name, 'migration.sql'), script)
    }
    write('1_dogs', 'CREATE TABLE dogs (id INTEGER)')
    await migrate({ url: database.url, migrations: folder })
    const aboutMigrations = async (): Promise<Finding[]> => (await look()).filter(({ check }) => check === 'migrations')
    expect(await aboutMigrations()).toMatchObject([{ status: 'ok' }])
    write('2_cats', 'SELECT nonsense')
    expect(await aboutMigrations()).toMatchObject([{ status: 'error', message: 'not applied: 2_cats' }])
    await expect(migrate({ url: database.url, migrations: folder })).rejects.toThrow()
    expect(await aboutMigrations()).toMatchObject([
      { status: 'error', message: expect.stringMatching(/2_cats has failed/) },
    ])
  })
})

describe.each(databasesOf('mysql'))('on $name', (kind) => {
  it('finds a counter row that is behind its table, and says how to move it', async () => {
    database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const recorder = new PrismaProcessRecorder(datastore)
    const insert = async (version: number): Promise<unknown> =>
      await recorder.insertEvents([storedEvent('1e1d7398-8986-57af-bb01-11a89b2f8b02', version)])
    await insert(1)
    await database.query('UPDATE stored_events SET id = 9')
    const [fault = '', ...others] = faults(await look()).filter((line) => line.includes('stored_events:'))
    expect(others).toEqual([])
    expect(fault).toMatch(/^error ids stored_events: /)
    const [cure = ''] = /UPDATE notification_positions SET [^;.]*/.exec(fault) ?? []
    await database.query(cure)
    expect(faults(await look()).filter((line) => line.includes('stored_events:'))).toEqual([])
    await insert(2)
    expect(await recorder.maxNotificationId()).toBe(10n)
    await datastore.close()
  })
})
