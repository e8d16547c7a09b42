/**
 * Servers that are stopped and started while writers and subscriptions work: nothing is lost, and all go on by themselves.
 *
 * RESTARTS_SEED repeats the pauses of a run as far as chance in the servers allows it, RESTARTS_ROUNDS does more of it.
 */
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { afterEach, beforeAll, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { findMariadb } from '../../scripts/test-servers.mjs'
import { PrismaDatastore } from '../../src/index.js'
import type { TestClient } from '../prisma/open-database.js'
import type { TestDatabase } from '../support/databases.js'
import {
  assertAllOrNothing,
  assertCompanions,
  assertDelivered,
  assertInOrder,
  storedEvents,
  summary,
} from './accounts.js'
import { Load } from './load.js'
import { randomNumbers } from './random-numbers.js'
import { type RestartableServer, startMariadb, startPostgresql } from './servers.js'

const seed = Number(process.env['RESTARTS_SEED'] ?? Date.now() % 2 ** 31)
const rounds = Number(process.env['RESTARTS_ROUNDS'] ?? 1)
const told = `RESTARTS_SEED=${seed}`

/** So much is written between two restarts. */
const batchesBetween = 100
const longestMs = 180_000 * rounds
const isCI = process.env.CI === 'true'
const missing = 'mariadbd and mariadb-install-db are not installed here: package mariadb-server'

interface RestartedKind {
  readonly name: string
  readonly startServer: () => Promise<RestartableServer>
  /** The ways to stop it, one after the other. */
  readonly signals: readonly NodeJS.Signals[]
  /** Whether one of the subscriptions listens. */
  readonly listens: boolean
}

const kinds: readonly RestartedKind[] = [
  // Fast shutdown, immediate shutdown, and a crash.
  { name: 'PostgreSQL', startServer: startPostgresql, signals: ['SIGINT', 'SIGQUIT', 'SIGKILL'], listens: true },
  { name: 'MariaDB', startServer: startMariadb, signals: ['SIGTERM', 'SIGKILL'], listens: false },
]

// Where it is obligatory it fails, with the name of the missing package.
const isSkipped = (name: string): boolean => name === 'MariaDB' && findMariadb() === undefined && !isCI
for (const { name } of kinds.filter((kind) => isSkipped(kind.name))) {
  it.skip(`on ${name} is not run: ${missing}`, () => undefined)
}

describe.each(kinds.filter(({ name }) => !isSkipped(name)))('on $name', ({ name, startServer, signals, listens }) => {
  let server: RestartableServer
  let database: TestDatabase
  let warnings: MockInstance<typeof process.emitWarning>
  const opened: Array<PrismaDatastore<TestClient>> = []
  const unhandled: unknown[] = []
  const onUnhandled = (error: unknown): void => void unhandled.push(error)

  beforeAll(async () => {
    server = await startServer()
    return async () => await server.remove()
  })
  beforeEach(async () => {
    database = await server.kind.createDatabase()
    warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    process.on('unhandledRejection', onUnhandled)
    process.on('uncaughtExceptionMonitor', onUnhandled)
  })
  afterEach(async () => {
    for (const datastore of opened.splice(0)) await datastore.close()
    process.off('unhandledRejection', onUnhandled)
    process.off('uncaughtExceptionMonitor', onUnhandled)
    warnings.mockRestore()
    // After a failure the server may be down; it goes with its files anyway.
    await database.drop().catch(() => undefined)
  })

  const newDatastore = (isListening: boolean): PrismaDatastore<TestClient> => {
    const listen = (): pg.Client => new pg.Client({ connectionString: database.url })
    const datastore = new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => database.newClient(adapter) as TestClient,
      ...(isListening ? { listen } : {}),
    })
    opened.push(datastore)
    return datastore
  }
  const countWarnings = (code: string): number =>
    warnings.mock.calls.filter(([, options]) => typeof options === 'object' && options.code === code).length
  const isListening = async (): Promise<boolean> => {
    const sql = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`
    return (await database.query(sql)).length === 1
  }

  it('loses and repeats nothing while the server is stopped and started under load [233]', {
    timeout: longestMs,
  }, async () => {
    const following = [newDatastore(listens), newDatastore(false)]
    const load = new Load({ writing: newDatastore(listens), following, seed, told })
    const random = randomNumbers(seed)
    await load.goOn(batchesBetween)
    for (const signal of Array.from({ length: rounds }, () => signals).flat()) {
      const [waiting, deaf] = [countWarnings('ES_SUBSCRIPTION_WAITS'), countWarnings('ES_LISTEN_FAILED')]
      const areTold = load.writersAreTold()
      await delay(random() * 300)
      await server.stop(signal)
      // Nobody hangs silently: each subscription says that it waits, and each writer has an error.
      const areWaiting = (): boolean => countWarnings('ES_SUBSCRIPTION_WAITS') >= waiting + following.length
      await load.until(areWaiting, 'subscriptions say that they wait')
      if (listens) await load.until(() => countWarnings('ES_LISTEN_FAILED') > deaf, 'the listener says so too')
      await load.until(areTold, 'every writer is told')
      await delay(500 + random() * 500)
      await server.start()
      await load.goOn(batchesBetween)
      if (listens) await load.until(isListening, 'the subscription listens again')
    }
    await load.endWriters()
    const stored = await storedEvents(database)
    await load.endFollowers(stored.length)

    const batches = load.writers.flatMap((writer) => writer.batches)
    console.log(`${name}: ${summary(batches)}, ${stored.length} events, ${told}`)
    for (const { delivered } of load.followers) assertDelivered(delivered, stored, told)
    assertAllOrNothing(batches, stored, told)
    assertInOrder(stored, told)
    await assertCompanions(load.writers, stored, { database, told })
    expect(unhandled, told).toEqual([])
  })
})
