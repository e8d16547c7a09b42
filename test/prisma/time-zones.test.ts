/** The times of recording are instants, whatever time zone a session of the database or a driver has. */
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  PrismaDatastore,
  PrismaIdempotencyStore,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type Adapter, databasesOf, type TestDatabase } from '../support/databases.js'

const adapters: Record<string, Record<string, (url: string) => Adapter>> = {
  postgresql: {
    'Asia/Kolkata': (url) => new PrismaPg({ connectionString: url, options: '-c timezone=Asia/Kolkata' }),
    'America/Los_Angeles': (url) => new PrismaPg({ connectionString: url, options: '-c timezone=America/Los_Angeles' }),
  },
  mysql: {
    'the driver in +05:30': (url) => new PrismaMariaDb(withParameter(url, 'timezone', '+05:30')),
    'the driver in local time': (url) => new PrismaMariaDb(withParameter(url, 'timezone', 'local')),
    'the session in -08:00': (url) => {
      const { hostname: host, port, username: user, password, pathname } = new URL(url)
      const initSql = "SET time_zone = '-08:00'"
      return new PrismaMariaDb({ host, port: Number(port), user, password, database: pathname.slice(1), initSql })
    },
  },
}

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await kind.createDatabase()
  })
  afterAll(async () => {
    await database.drop()
  })

  it.each(Object.entries(adapters[kind.provider] ?? {}))('in %s', async (zone, makeAdapter) => {
    const datastore = new PrismaDatastore({ adapter: makeAdapter(database.url) })
    const recorder = new PrismaApplicationRecorder(datastore)
    const [id] = await recorder.insertEvents([storedEvent(uuid5(NAMESPACE_URL, zone), 1)])
    if (id === undefined) throw new Error('one event was stored')
    await expect(recorder.selectNotifications(id, 1)).resolves.toMatchObject([{ id }])
    const [notification] = await recorder.selectNotifications(id, 1)
    expect(Math.abs((notification?.recordedAt.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)

    const store = new PrismaIdempotencyStore(datastore)
    await store.createTable()
    const claim = { scope: zone, key: 'k', fingerprint: Uint8Array.of(1), ttlMs: 30_000 }
    await datastore.transaction(async () => {
      await store.claim(claim)
      await store.complete(claim, { status: 201, headers: {}, body: Uint8Array.of(2) })
    })
    // Neither expired by hours, nor for hours to come.
    await expect(datastore.transaction(async () => await store.claim(claim))).resolves.toMatchObject({ status: 201 })
    const now = kind.provider === 'mysql' ? 'utc_timestamp(3)' : 'now()'
    const soon = kind.provider === 'mysql' ? `${now} + INTERVAL 1 MINUTE` : `${now} + interval '1 minute'`
    const sql = `SELECT count(*) AS n FROM idempotency_keys WHERE expires_at > ${now} AND expires_at < ${soon} AND created_at <= ${now}`
    const [row] = await database.query(sql)
    expect(Number(row?.['n'])).toBeGreaterThan(0)
    await datastore.close()
  })
})

function withParameter(url: string, name: string, value: string): string {
  const changed = new URL(url)
  changed.searchParams.set(name, value)
  return changed.href
}
