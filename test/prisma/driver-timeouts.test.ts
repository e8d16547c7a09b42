/** A driver that waits for an answer for a limited time only: what it gave up may be done all the same. */
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CommitUnknownError,
  OperationalError,
  PrismaApplicationRecorder,
  PrismaDatastore,
  RollbackOnlyError,
} from '../../src/index.js'
import { statement } from '../../src/prisma/driver.js'
import { engineOf } from '../../src/prisma/engine.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'

const patienceMs = 500
const slowSeconds = 1.5

/** What makes each insert of an event slow. */
const slowInserts: Readonly<Record<string, readonly string[]>> = {
  postgresql: [
    `CREATE FUNCTION slow() RETURNS trigger AS $$ BEGIN PERFORM pg_sleep(${slowSeconds}); RETURN NEW; END $$ LANGUAGE plpgsql`,
    'CREATE TRIGGER slow_insert BEFORE INSERT ON stored_events FOR EACH STATEMENT EXECUTE FUNCTION slow()',
  ],
  mysql: [`CREATE TRIGGER slow_insert BEFORE INSERT ON stored_events FOR EACH ROW DO SLEEP(${slowSeconds})`],
}

describe.each(databasesOf('postgresql', 'mysql'))('a driver of $name that gives up waiting', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore
  let recorder: PrismaApplicationRecorder
  beforeAll(async () => {
    database = await kind.createDatabase()
    const url = new URL(database.url)
    const adapter =
      kind.provider === 'mysql'
        ? new PrismaMariaDb({
            host: url.hostname,
            port: Number(url.port || 3306),
            user: decodeURIComponent(url.username),
            password: decodeURIComponent(url.password),
            database: url.pathname.slice(1),
            socketTimeout: patienceMs,
          })
        : new PrismaPg({ connectionString: database.url, query_timeout: patienceMs })
    datastore = new PrismaDatastore({ adapter })
    recorder = new PrismaApplicationRecorder(datastore)
    for (const sql of slowInserts[kind.provider] ?? []) await database.query(sql)
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })
  const count = async (table: string): Promise<number> => {
    const [row] = await database.query(`SELECT COUNT(*) AS count FROM ${table}`)
    return Number(row?.['count'])
  }

  it('says of a write by itself only what is certain', async () => {
    const error: unknown = await recorder.insertEvents([storedEvent(crypto.randomUUID(), 1)]).catch((thrown) => thrown)
    if (kind.provider === 'postgresql') {
      expect(error).toBeInstanceOf(CommitUnknownError)
    } else {
      // There it is a transaction with a COMMIT of its own, which was not sent.
      expect(error).toBeInstanceOf(OperationalError)
      await new Promise((resolve) => setTimeout(resolve, 2 * slowSeconds * 1000))
      expect(await count('stored_events')).toBe(0)
    }
  })

  it('can only roll back after a statement whose answer it has not waited for', async () => {
    const before = await count('stored_events')
    const work = datastore.transaction(async () => {
      await expect(recorder.insertEvents([storedEvent(crypto.randomUUID(), 1)])).rejects.toThrow(/timeout/i)
    })
    await expect(work).rejects.toBeInstanceOf(RollbackOnlyError)
    await new Promise((resolve) => setTimeout(resolve, 2 * slowSeconds * 1000))
    expect(await count('stored_events')).toBe(before)
  })

  it.runIf(kind.provider === 'postgresql')(
    'gives a connection back after the rollback that it has given up',
    async () => {
      const adapter = new PrismaPg({ connectionString: database.url, query_timeout: patienceMs, max: 1 })
      await using single = new PrismaDatastore({ adapter })
      await database.query('CREATE TABLE notes (note TEXT)')
      const send = async (sql: string): Promise<void> => {
        const scope = engineOf(single).transactions.current
        await scope?.execute((connection) => connection.execute(statement(sql)))
      }
      const late = single.transaction(async () => {
        await send("INSERT INTO notes VALUES ('undone')")
        await send(`DO $$ BEGIN PERFORM pg_sleep(${slowSeconds}); END $$`)
      })
      await expect(late).rejects.toThrow(/timeout/i)
      // Whoever has the same connection next would commit it.
      await new Promise((resolve) => setTimeout(resolve, 2 * slowSeconds * 1000))
      await single.transaction(async () => await send("INSERT INTO notes VALUES ('kept')"))
      expect(await database.query('SELECT note FROM notes')).toEqual([{ note: 'kept' }])
    },
  )

  it.runIf(kind.provider === 'postgresql')('does not know what became of a COMMIT that it has given up', async () => {
    await database.query('CREATE TABLE marks (id INT PRIMARY KEY)')
    await database.query(
      'CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON marks DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()',
    )
    const work = datastore.transaction(async () => {
      const scope = engineOf(datastore).transactions.current
      await scope?.execute((connection) => connection.execute(statement('INSERT INTO marks (id) VALUES (1)')))
    })
    await expect(work).rejects.toBeInstanceOf(CommitUnknownError)
  })
})
