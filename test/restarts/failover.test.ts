/** A streaming standby takes the place of its primary, under load: what was acknowledged is delivered, once and in order. */
import { execFile } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { newPostgres } from '../../scripts/embedded-postgres.mjs'
import { NotSupportedError, PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import type { TestClient } from '../prisma/open-database.js'
import { postgresql, type TestDatabase } from '../support/databases.js'
import { PrismaClient } from '../support/generated/postgresql/client.js'
import { assertAllOrNothing, assertDelivered, assertInOrder, storedEvents, summary } from './accounts.js'
import { Load } from './load.js'

type Postgres = Awaited<ReturnType<typeof newPostgres>>

const seed = Number(process.env['RESTARTS_SEED'] ?? Date.now() % 2 ** 31)
const told = `RESTARTS_SEED=${seed}`
const dogId = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** One address for both servers: it leads to the one, then to the other. */
class Address {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #target: number

  constructor(target: number) {
    this.#target = target
    this.#server = createServer((near) => this.#join(near, connect(this.#target, '127.0.0.1')))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the address does not listen')
    return address.port
  }

  leadTo(target: number): void {
    this.#target = target
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }

  #join(near: Socket, far: Socket): void {
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(one)
      one.on('data', (data) => other.write(data))
      one.on('error', () => other.destroy())
      one.on('close', () => {
        this.#sockets.delete(one)
        other.destroy()
      })
    }
  }
}

describe('a standby of PostgreSQL', () => {
  let primary: Postgres
  let standby: Postgres
  let database: TestDatabase
  let addresses: readonly [writers: Address, readers: Address]
  const datastores: Array<PrismaDatastore<TestClient>> = []

  const open = (url: string): PrismaDatastore<TestClient> => {
    const datastore = new PrismaDatastore<TestClient>({
      adapter: new PrismaPg({ connectionString: url, connectionTimeoutMillis: 5_000 }),
      client: (adapter) => new PrismaClient({ adapter }),
    })
    datastores.push(datastore)
    return datastore
  }
  const at = (port: number | string): string => {
    const url = new URL(database.url)
    url.port = String(port)
    return url.href
  }
  const ask = async (postgres: Postgres, sql: string): Promise<Array<Record<string, unknown>>> => {
    const client = new pg.Client(postgres.url)
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows
    } finally {
      await client.end()
    }
  }

  beforeAll(async () => {
    primary = await newPostgres()
    standby = await newPostgres()
    await primary.server.initialise()
    await primary.server.start()
    database = await postgresql(primary.url).createDatabase()
    await primary.server.stop()
    // A copy at rest is a base backup.
    await promisify(execFile)('cp', ['-a', primary.folder, standby.folder])
    writeFileSync(join(standby.folder, 'standby.signal'), '')
    const { hostname, port, username, password } = new URL(primary.url)
    const info = `host=${hostname} port=${port} user=${username} password=${password} application_name=standby`
    appendFileSync(join(standby.folder, 'postgresql.auto.conf'), `primary_conninfo = '${info}'\n`)
    await primary.server.start()
    // The package waits for words that a standby does not say.
    void standby.server.start().catch(() => undefined)
    await vi.waitFor(async () => await ask(standby, 'SELECT 1'), { timeout: 60_000, interval: 200 })
    // What is acknowledged is on the standby, and can be seen there.
    await ask(primary, `ALTER SYSTEM SET synchronous_standby_names = 'standby'`)
    await ask(primary, `ALTER SYSTEM SET synchronous_commit = 'remote_apply'`)
    await ask(primary, 'SELECT pg_reload_conf()')
    addresses = [new Address(Number(port)), new Address(Number(port))]
    return async () => {
      for (const address of addresses) address.close()
      await primary.remove()
      await standby.remove()
    }
  })
  afterEach(async () => {
    for (const datastore of datastores.splice(0)) await datastore.close()
  })
  afterAll(() => {
    vi.restoreAllMocks()
  })

  it('is refused to whoever reads the log, and gives single streams', async () => {
    const writing = new PrismaApplicationRecorder(open(database.url))
    await writing.insertEvents([storedEvent(dogId(1), 1)])
    const reading = new PrismaApplicationRecorder(open(at(new URL(standby.url).port)))
    const attempts = [
      () => reading.selectNotifications(null, 10),
      () => reading.maxNotificationId(),
      () => reading.subscribe()[Symbol.asyncIterator]().next(),
      () => reading.insertEvents([storedEvent(dogId(2), 1)]),
    ]
    for (const attempt of attempts) {
      const refused = await attempt().catch((error: unknown) => error)
      expect(refused).toBeInstanceOf(NotSupportedError)
      expect(String(refused)).toMatch(/standby of another one .*Connect this datastore to the primary/)
    }
    expect(await reading.selectEvents(dogId(1))).toHaveLength(1)
  })

  it('takes over under load, and nothing that was acknowledged is lost, given twice or out of order', async () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const [writers, readers] = addresses
    const writing = open(at(await writers.listen()))
    const load = new Load({ writing, following: [open(at(await readers.listen()))], seed, told })
    await load.goOn(60)
    primary.server.process?.kill('SIGKILL')
    const port = Number(new URL(standby.url).port)
    // To readers the new primary is a standby for a while yet.
    readers.leadTo(port)
    const hasAsked = async (): Promise<boolean> => {
      const sql = `SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_is_in_recovery%' AND pid <> pg_backend_pid()`
      return (await ask(standby, sql)).length > 0
    }
    await load.until(hasAsked, 'the subscription has met the standby')
    await ask(standby, 'SELECT pg_promote()')
    writers.leadTo(port)
    await load.goOn(60)
    await load.endWriters()
    const pool = new pg.Pool({ connectionString: at(port), max: 1 })
    const stored = await storedEvents({
      ...database,
      query: async (sql, params = []) => (await pool.query(sql, params)).rows,
    })
    await pool.end()
    await load.endFollowers(stored.length)
    const batches = load.writers.flatMap((writer) => writer.batches)
    console.log(`fail-over: ${summary(batches)}, ${stored.length} events, ${told}`)
    for (const { delivered } of load.followers) assertDelivered(delivered, stored, told)
    assertAllOrNothing(batches, stored, told)
    assertInOrder(stored, told)
  }, 120_000)
})
