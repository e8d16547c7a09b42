/** Tracking on Prisma keeps the promises of all tracking recorders on every database, also between processes and in transactions. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  IntegrityError,
  PersistenceError,
  PrismaDatastore,
  PrismaTrackingRecorder,
  ProgrammingError,
  WaitTimeoutError,
} from '../../src/index.js'
import { trackingRecorderContract } from '../../src/testing/index.js'
import { bundled } from '../support/bundled.js'
import { databases, databasesOf, type TestDatabaseKind } from '../support/databases.js'
import { inMemorySqlites } from '../support/in-memory-sqlite.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const framework = { describe, it, expect }
const worker = new URL('./tracking-worker.ts', import.meta.url)
const undo = new Error('undo')
const up = (notificationId: number) => ({ applicationName: 'up', notificationId: BigInt(notificationId) })

function contractOn(datastore: () => PrismaDatastore, options: { readonly schema?: string } = {}): void {
  let tables = 0
  trackingRecorderContract(framework, 'PrismaTrackingRecorder', async () => {
    tables += 1
    const recorder = new PrismaTrackingRecorder(datastore(), { ...options, trackingTable: `tracking_${tables}` })
    await recorder.createTable()
    return { recorder }
  })
}

describe.each(inMemorySqlites)('on $name', ({ adapter }) => {
  let datastore: PrismaDatastore
  beforeAll(() => {
    datastore = new PrismaDatastore({ adapter: adapter() })
  })
  afterAll(async () => {
    await datastore.close()
  })

  contractOn(() => datastore)
})

describe.each(databasesOf('postgresql'))('in a named schema on $name [20]', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  contractOn(() => open.datastore, { schema: 'kennel' })

  it('has its table there', async () => {
    const tables = `SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'tracking%'`
    await new PrismaTrackingRecorder(open.datastore, { schema: 'kennel', trackingTable: 'tracking' }).createTable()
    expect(await open.database.query(tables)).toEqual([{ table_schema: 'kennel' }])
  })
})

/** The adapter of a kind of database, as another process makes it. */
function adapterArguments({ name, provider }: TestDatabaseKind, url: string): string[] {
  if (provider === 'postgresql') return ['@prisma/adapter-pg', 'PrismaPg', JSON.stringify({ connectionString: url })]
  if (provider === 'mysql') return ['@prisma/adapter-mariadb', 'PrismaMariaDb', JSON.stringify(url)]
  return name.includes('libsql')
    ? ['@prisma/adapter-libsql', 'PrismaLibSql', JSON.stringify({ url })]
    : ['@prisma/adapter-better-sqlite3', 'PrismaBetterSqlite3', JSON.stringify({ url })]
}

/** Starts a process, and tells when it is ready, lets it begin, and tells what it says at its end. */
function startWorker(args: readonly string[]) {
  const child = spawn(process.execPath, [bundled(worker), ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  let errors = ''
  child.stderr.on('data', (part: Buffer) => {
    errors += part.toString()
  })
  const nextLine = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error(`The process has ended:\n${errors}`)
    return value
  }
  return { nextLine, begin: () => void child.stdin.write('go\n'), stop: () => void child.kill() }
}

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaTrackingRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    recorder = new PrismaTrackingRecorder(open.datastore)
    await recorder.createTable()
  })
  afterEach(async () => {
    await open.database.query('DELETE FROM notification_tracking')
  })

  contractOn(() => open.datastore)

  it('lets one of several datastores and processes track each notification [66]', async () => {
    const count = 60
    const datastores = [1, 2].map(() => new PrismaDatastore({ adapter: open.database.adapter() }))
    const args = [...adapterArguments(kind, open.database.url), String(count)]
    const processes = [1, 2].map(() => startWorker(args))
    try {
      expect(await Promise.all(processes.map(({ nextLine }) => nextLine()))).toEqual(['ready', 'ready'])
      for (const { begin } of processes) begin()
      const [own, others] = await Promise.all([
        Promise.all(datastores.map((datastore) => trackAll(new PrismaTrackingRecorder(datastore), count))),
        Promise.all(processes.map(async ({ nextLine }) => JSON.parse(await nextLine()) as number[])),
      ])
      const won = [...own, ...others].flat().toSorted((one, other) => one - other)
      expect(won).toEqual(Array.from({ length: count }, (_, n) => n + 1))
      expect(await recorder.maxTrackingId('up')).toBe(BigInt(count))
    } finally {
      for (const { stop } of processes) stop()
      for (const datastore of datastores) await datastore.close()
    }
  }, 60_000)

  it('moves on with its transaction, or not at all', async () => {
    await recorder.insertTracking(up(1))
    const undone = open.datastore.transaction(async () => {
      await recorder.insertTracking(up(2))
      expect(await recorder.maxTrackingId('up')).toBe(2n)
      throw undo
    })
    await expect(undone).rejects.toBe(undo)
    expect(await recorder.maxTrackingId('up')).toBe(1n)
    await open.datastore.transaction(async () => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      await recorder.insertTracking(up(2))
    })
    expect(await recorder.maxTrackingId('up')).toBe(2n)
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('leaves a transaction usable in which it was refused [264]', async () => {
    await recorder.insertTracking(up(5))
    await open.datastore.transaction(async () => {
      await expect(recorder.insertTracking(up(5))).rejects.toBeInstanceOf(IntegrityError)
      await recorder.insertTracking(up(6))
    })
    expect(await recorder.maxTrackingId('up')).toBe(6n)
  })

  it('keeps nobody waiting who reads while a transaction has moved it on, and waits outside of transactions [40]', async () => {
    await recorder.insertTracking(up(1))
    const [written, mayEnd] = [newGate(), newGate()]
    const moving = open.datastore.transaction(async () => {
      await recorder.insertTracking(up(2))
      // Its own position is enough for the transaction itself.
      await recorder.wait('up', 2n, { timeoutMs: 100 })
      written.open()
      await mayEnd.opened
    })
    await written.opened
    expect(await recorder.maxTrackingId('up')).toBe(1n)
    await expect(recorder.wait('up', 2n, { timeoutMs: 150 })).rejects.toBeInstanceOf(WaitTimeoutError)
    mayEnd.open()
    await moving
    await recorder.wait('up', 2n)
  })

  it('fails before its table exists, instead of finding nothing [19]', async () => {
    const missing = new PrismaTrackingRecorder(open.datastore, { trackingTable: 'missing' })
    await expect(missing.insertTracking(up(1))).rejects.toBeInstanceOf(PersistenceError)
    await expect(missing.maxTrackingId('up')).rejects.toBeInstanceOf(PersistenceError)
    await expect(missing.hasTrackingId('up', 1n)).rejects.toBeInstanceOf(PersistenceError)
    await expect(missing.wait('up', 1n)).rejects.toBeInstanceOf(PersistenceError)
  })

  it('refuses ids that no notification has', async () => {
    for (const notificationId of [0n, -1n, 2n ** 63n]) {
      const tracking = { applicationName: 'up', notificationId }
      await expect(recorder.insertTracking(tracking)).rejects.toBeInstanceOf(ProgrammingError)
    }
    expect(await recorder.maxTrackingId('up')).toBeNull()
  })
})

/** Tracks notifications one after the other. @returns those that nobody else had tracked */
async function trackAll(recorder: PrismaTrackingRecorder, count: number): Promise<number[]> {
  const won: number[] = []
  for (let id = 1; id <= count; id += 1) {
    try {
      await recorder.insertTracking(up(id))
      won.push(id)
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
    }
  }
  return won
}
