/** What the errors of databases and drivers become: by their codes, and provoked on every database. */
import { writeFileSync } from 'node:fs'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CommitUnknownError,
  DatabaseError,
  DataError,
  type EventSourcingError,
  IntegrityError,
  InterfaceError,
  isEventSourcingError,
  isTransient,
  NAMESPACE_URL,
  OperationalError,
  PrismaApplicationRecorder,
  PrismaDatastore,
  ProgrammingError,
  uuid5,
} from '../../src/index.js'
import type { Dialect } from '../../src/prisma/dialect.js'
import { dialectOf } from '../../src/prisma/dialects/by-provider.js'
import { statement } from '../../src/prisma/driver.js'
import { engineOf } from '../../src/prisma/engine.js'
import { translateError } from '../../src/prisma/translate-error.js'
import { storedEvent } from '../contracts/stored-events.js'
import { rulesByDatabase } from '../errors/error-table.js'
import { databases, databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const dialects: Readonly<Record<string, Dialect>> = {
  PostgreSQL: dialectOf('postgres'),
  'MariaDB, MySQL': dialectOf('mysql'),
  SQLite: dialectOf('sqlite'),
}

/** An error as an adapter throws it, which keeps the driver's code. */
function adapterError(kind: string, originalCode: string): Error {
  const cause = { kind, originalCode, originalMessage: 'the words of the database' }
  return Object.assign(new Error(kind), { name: 'DriverAdapterError', cause })
}

const databaseKinds: Readonly<Record<string, string>> = {
  PostgreSQL: 'postgres',
  'MariaDB, MySQL': 'mysql',
  SQLite: 'sqlite',
}

describe.each(Object.entries(rulesByDatabase))('the codes of %s', (name, rules) => {
  const dialect = dialects[name]
  if (dialect === undefined) throw new Error(`there is no dialect for ${name}`)

  it('are each in one rule', () => {
    const codes = rules.flatMap((rule) => rule.codes)
    expect(new Set(codes).size).toBe(codes.length)
  })

  it.each(rules.flatMap(({ codes, kind }) => codes.map((code) => [code, kind] as const)))(
    '%s becomes an error that is %s, with its cause',
    (code, kind) => {
      // A class of codes is tried by one of its members that no rule names alone.
      const thrown = adapterError(
        databaseKinds[name] ?? '',
        name === 'PostgreSQL' && code.length === 2 ? `${code}999` : code,
      )
      const error = translateError(dialect, thrown, 'append 1 event to stream a')
      expect(error.message).toBe('Could not append 1 event to stream a: the words of the database')
      expect(error.cause).toBe(thrown)
      expect(isTransient(error)).toBe(kind === 'passing')
      const classes = {
        passing: OperationalError,
        lasting: OperationalError,
        integrity: IntegrityError,
        data: DataError,
      }
      const expected = classes[kind as keyof typeof classes] ?? DatabaseError
      expect(error).toBeInstanceOf(expected)
    },
  )

  it('that no rule knows become a DatabaseError', () => {
    const error = translateError(dialect, adapterError(databaseKinds[name] ?? '', 'ZZ123'), 'read')
    expect(error.constructor).toBe(DatabaseError)
  })
})

describe('errors of drivers and of Prisma', () => {
  const [dialect] = Object.values(dialects)
  const translate = (error: unknown): EventSourcingError => {
    if (dialect === undefined) throw new Error('there are dialects')
    return translateError(dialect, error, 'read')
  }
  const plain = (message: string, code?: string): Error =>
    Object.assign(new Error(message), code === undefined ? {} : { code })

  it.each([
    ['Connection terminated unexpectedly', undefined, true],
    ['read ECONNRESET', 'ECONNRESET', true],
    ['connect EHOSTUNREACH', 'EHOSTUNREACH', true],
    ['getaddrinfo EAI_AGAIN', 'EAI_AGAIN', true],
    ['timeout exceeded when trying to connect', undefined, true],
    ['Timed out fetching a connection', 'P2024', true],
    ['Write conflict', 'P2034', true],
    ['Transaction already closed', 'P2028', false],
    ['Authentication failed', 'P1000', false],
  ])('%s (%s) is operational, and may pass: %s', (message, code, mayPass) => {
    const error = translate(plain(message, code))
    expect(error).toBeInstanceOf(OperationalError)
    expect(isTransient(error)).toBe(mayPass)
  })

  it('anything else is the fault of whoever called', () => {
    expect(translate(new TypeError('x is not a function'))).toBeInstanceOf(InterfaceError)
    expect(translate('a text')).toBeInstanceOf(InterfaceError)
  })
})

/** Its pool waits ten seconds by itself. */
function impatientMariaDb({ hostname: host, port, username: user, password, pathname }: URL): PrismaMariaDb {
  const database = pathname.slice(1)
  return new PrismaMariaDb({ host, port: Number(port || 3306), user, password, database, acquireTimeout: 500 })
}

/** Repeats a call until it succeeds or finds that an earlier one has stored the event; gives what failed, ten at most. */
async function failuresUntilDone(call: () => Promise<unknown>): Promise<unknown[]> {
  const failures: unknown[] = []
  while (failures.length < 10) {
    try {
      await call()
      break
    } catch (error) {
      if (error instanceof IntegrityError && failures.length > 0) break
      failures.push(error)
    }
  }
  return failures
}

async function rejection(promise: Promise<unknown>): Promise<EventSourcingError> {
  const error: unknown = await promise.then(
    () => new Error('it did not reject'),
    (reason: unknown) => reason,
  )
  if (isEventSourcingError(error)) return error
  throw error
}

const id = uuid5(NAMESPACE_URL, '/errors')

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  /** Runs a statement of ours, and gives the error as a recorder would. */
  const failing = async (sql: string): Promise<EventSourcingError> => {
    const engine = engineOf(open.datastore)
    try {
      await engine.runner().execute(statement(sql))
    } catch (error) {
      return translateError(engine.dialect, error, 'try something')
    }
    throw new Error(`${sql} did not fail`)
  }
  const q = (table: string): string => open.quoted(table)

  it('a violated constraint is an IntegrityError', async () => {
    await open.database.query(`INSERT INTO ${q('owners')} (name, dog) VALUES ('Ann', 'Fido')`)
    for (const sql of [
      `INSERT INTO ${q('owners')} (name, dog) VALUES ('Bea', 'Fido')`,
      `INSERT INTO ${q('owners')} (name, dog) VALUES (NULL, 'Rex')`,
      `INSERT INTO ${q('toys')} (name, owner_id) VALUES ('ball', 999999)`,
    ]) {
      const error = await failing(sql)
      expect(error, sql).toBeInstanceOf(IntegrityError)
      expect(error.cause, sql).toBeDefined()
      expect(isTransient(error)).toBe(false)
    }
  })

  it('a missing table or column, and a wrong statement, last', async () => {
    // SQLite has one code for all mistakes in a statement: a table that is missing is known by its message.
    const lasting = (sql: string) =>
      kind.provider === 'sqlite' && !sql.startsWith('DELETE') ? OperationalError : ProgrammingError
    for (const sql of ['DELETE FROM nowhere', `UPDATE ${q('owners')} SET nothing = 1`, 'UPDATE UPDATE']) {
      const error = await failing(sql)
      expect(error, sql).toBeInstanceOf(lasting(sql))
      expect(isTransient(error), sql).toBe(false)
    }
  })

  it('a write in a read-only transaction lasts', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const error = await rejection(
      open.datastore.transaction(() => recorder.insertEvents([storedEvent(id, 1)]), { readOnly: true }),
    )
    expect(isTransient(error)).toBe(false)
    expect(await recorder.selectEvents(id)).toEqual([])
  })
})

describe.each(databasesOf('postgresql', 'mysql'))('on the server of $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })

  it('a value that is too long is a DataError', async () => {
    const table =
      kind.provider === 'mysql' ? 'CREATE TABLE narrow (text VARCHAR(3))' : 'CREATE TABLE narrow (text VARCHAR(3))'
    await open.database.query(table)
    const engine = engineOf(open.datastore)
    const thrown: unknown = await engine
      .runner()
      .execute(statement(`INSERT INTO narrow (text) VALUES ('too long')`))
      .catch((error: unknown) => error)
    expect(translateError(engine.dialect, thrown, 'insert')).toBeInstanceOf(DataError)
  })

  it('a lock that is not granted in time may pass, and says so [41]', async () => {
    const holding = newGate()
    const mayEnd = newGate()
    const holder = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent(id, 1)])
      await tx.flush()
      holding.open()
      await mayEnd.opened
    })
    await holding.opened
    const limit =
      kind.provider === 'mysql' ? 'SET SESSION innodb_lock_wait_timeout = 1' : `SET LOCAL lock_timeout = '500ms'`
    const waiter = open.datastore.transaction(async () => {
      const scope = engineOf(open.datastore).transactions.current
      await scope?.execute((connection) => connection.execute(statement(limit)))
      await recorder.insertEvents([storedEvent(id, 1)])
    })
    const error = await rejection(waiter)
    mayEnd.open()
    await holder
    expect(error).toBeInstanceOf(OperationalError)
    expect(error.message).toMatch(/lock (wait )?timeout/i)
    expect(isTransient(error)).toBe(true)
  })

  it('a deadlock may pass, and one of the two goes on', async () => {
    const [one, other] = ['Ann', 'Bea']
    await open.database.query(`INSERT INTO owners (name, dog) VALUES ('${one}', 'A'), ('${other}', 'B')`)
    const bothHold = [newGate(), newGate()]
    const lockBoth = async (first: string, second: string, own: number): Promise<void> => {
      await open.datastore.transaction(async (tx) => {
        await tx.client.owner.updateMany({ where: { dog: first }, data: { name: 'x' } })
        bothHold[own]?.open()
        await bothHold[1 - own]?.opened
        const scope = engineOf(open.datastore).transactions.current
        const sql = `UPDATE owners SET name = 'y' WHERE dog = '${second}'`
        await scope?.execute((connection) => connection.execute(statement(sql)))
      })
    }
    const results = await Promise.allSettled([lockBoth('A', 'B', 0), lockBoth('B', 'A', 1)])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const { dialect } = engineOf(open.datastore)
    for (const result of results) {
      if (result.status === 'rejected') expect(isTransient(translateError(dialect, result.reason, 'lock'))).toBe(true)
    }
  })

  it('a deadlock between rows of the user is retried where that is asked for', async () => {
    await open.database.query(`INSERT INTO owners (name, dog) VALUES ('Ann', 'C'), ('Bea', 'D')`)
    const met = [newGate(), newGate()]
    const rename = (dog: string, name: string) => open.db.owner.updateMany({ where: { dog }, data: { name } })
    const attempts: number[] = []
    const lockBoth = async (first: string, second: string, own: number): Promise<void> => {
      await open.datastore.transaction(
        async (tx) => {
          attempts.push(tx.attempt)
          await rename(first, `first ${own}`)
          met[own]?.open()
          await met[1 - own]?.opened
          await rename(second, `second ${own}`)
        },
        { retries: 3 },
      )
    }
    await Promise.all([lockBoth('C', 'D', 0), lockBoth('D', 'C', 1)])
    expect(Math.max(...attempts)).toBeGreaterThan(1)
  })

  it('a server that is not there, and a database that is not there, are operational, and no hang [95]', async () => {
    const closed = new URL(open.database.url)
    closed.port = '1'
    const missing = new URL(open.database.url)
    missing.pathname = '/es_not_there'
    for (const url of [closed.href, missing.href]) {
      const adapter =
        kind.provider === 'mysql' ? impatientMariaDb(new URL(url)) : new PrismaPg({ connectionString: url })
      await using datastore = new PrismaDatastore({ adapter })
      const unreachable = new PrismaApplicationRecorder(datastore)
      expect(await rejection(unreachable.selectEvents(id)), url).toBeInstanceOf(OperationalError)
      const inside = datastore.transaction(() => unreachable.selectEvents(id))
      expect(await rejection(inside), url).toBeInstanceOf(OperationalError)
    }
  })

  it('a connection that the server has closed is replaced, and what met its end may pass [43, 96]', async () => {
    const closeAll = (): Promise<number> => (kind.provider === 'mysql' ? killConnections() : terminateBackends())
    const killConnections = async (): Promise<number> => {
      const rows = await open.database.query(
        `SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()`,
      )
      for (const row of rows) {
        // One of them may be the observer's own second connection, which is replaced as well.
        await open.database.query(`KILL CONNECTION ${Number(row['id'])}`).catch(() => undefined)
      }
      return rows.length
    }
    const terminateBackends = async (): Promise<number> => {
      const rows = await open.database.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      )
      return rows.length
    }
    const calls = [
      () => recorder.insertEvents([storedEvent(uuid5(NAMESPACE_URL, '/after'), 1)]),
      () => recorder.selectNotifications(null, 1),
      () => recorder.maxNotificationId(),
      () => recorder.selectEvents(id),
    ]
    for (const call of calls) {
      await recorder.maxNotificationId()
      // Servers close with a delay: each of the connections may meet one call, and none of them a second one.
      const closed = await closeAll()
      const failures = await failuresUntilDone(call)
      for (const error of failures) {
        expect(error instanceof OperationalError || error instanceof CommitUnknownError, String(error)).toBe(true)
      }
      expect(failures.length).toBeLessThanOrEqual(closed)
    }
    const readTwice = async (): Promise<void> => {
      await recorder.selectEvents(id)
      await closeAll()
      await recorder.selectEvents(id)
    }
    // Reads that were sent without BEGIN have lost nothing with their connection.
    const inside = open.datastore.transaction(readTwice, { begin: 'first-statement' })
    expect(isTransient(await rejection(inside))).toBe(true)
    expect(await recorder.selectNotifications(null, 1)).toHaveLength(1)
  })
})

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  it('a transaction that was idle for too long is operational at its end, and silent when it is rolled back [94]', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const idle = async (end: () => void): Promise<void> => {
      await open.datastore.transaction(async () => {
        const scope = engineOf(open.datastore).transactions.current
        const limit = statement('SET LOCAL idle_in_transaction_session_timeout = 100')
        await recorder.selectEvents(id)
        const asked = await scope?.execute((connection) => connection.query(statement('SELECT pg_backend_pid()')))
        // Nothing is sent after this, so a slow machine cannot meet the limit too early.
        await scope?.execute((connection) => connection.execute(limit))
        const backend = `SELECT pid FROM pg_stat_activity WHERE pid = ${Number(asked?.rows[0]?.[0])}`
        await expect.poll(() => open.database.query(backend)).toEqual([])
        end()
      })
    }
    const error = await rejection(idle(() => undefined))
    expect(error.code === 'ES_OPERATIONAL' || error.code === 'ES_COMMIT_UNKNOWN').toBe(true)
    const undo = new Error('undo')
    await expect(
      idle(() => {
        throw undo
      }),
    ).rejects.toBe(undo)
    await open.close()
  })

  it('a constraint that is checked at the commit is an IntegrityError, with its cause, and nothing is stored [255]', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    await open.database.query('CREATE TABLE once (id INT UNIQUE DEFERRABLE INITIALLY DEFERRED)')
    const failing = open.datastore.transaction(async () => {
      const scope = engineOf(open.datastore).transactions.current
      await scope?.execute((connection) => connection.execute(statement('INSERT INTO once VALUES (1), (1)')))
      await recorder.appendEvents([storedEvent(id, 1)])
    })
    const error = await rejection(failing)
    expect(error).toBeInstanceOf(IntegrityError)
    expect(error.cause).toBeDefined()
    expect(await recorder.selectEvents(id)).toEqual([])
    await open.close()
  })

  it('a serialisation failure may pass', async () => {
    const open = await openDatabase(kind)
    await open.database.query(`INSERT INTO owners (name, dog) VALUES ('Ann', 'A')`)
    const read = newGate()
    const written = newGate()
    const slow = open.datastore.transaction(
      async () => {
        const scope = engineOf(open.datastore).transactions.current
        await scope?.execute((connection) => connection.query(statement('SELECT name FROM owners')))
        read.open()
        await written.opened
        await scope?.execute((connection) => connection.execute(statement(`UPDATE owners SET name = 'x'`)))
      },
      { isolationLevel: 'RepeatableRead' },
    )
    slow.catch(() => undefined)
    await read.opened
    await open.database.query(`UPDATE owners SET name = 'y'`)
    written.open()
    const thrown: unknown = await slow.catch((error: unknown) => error)
    expect(isTransient(translateError(engineOf(open.datastore).dialect, thrown, 'update'))).toBe(true)
    await open.close()
  })

  it('an id that is no UUID is a DataError', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    expect(await rejection(recorder.insertEvents([storedEvent('order-17', 1)]))).toBeInstanceOf(DataError)
    await open.close()
  })
})

describe.each(databasesOf('sqlite'))('on a file of $name', (kind) => {
  it('that is no database is operational, and lasts', async () => {
    const database = await kind.createDatabase()
    const file = database.url.slice('file:'.length).replace('test.db', 'text.db')
    writeFileSync(file, 'This is a text and no database. '.repeat(100))
    const adapter = database.adapter()
    // The adapter of another file, of the same kind.
    const Factory = adapter.constructor as new (options: { url: string }) => typeof adapter
    await using datastore = new PrismaDatastore({ adapter: new Factory({ url: `file:${file}` }) })
    const error = await rejection(new PrismaApplicationRecorder(datastore).selectEvents(id))
    expect(error).toBeInstanceOf(OperationalError)
    expect(isTransient(error)).toBe(false)
    await database.drop()
  })

  it('that has no more room is operational, and stores nothing', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    await recorder.insertEvents([storedEvent(id, 1)])
    const full = open.datastore.transaction(async () => {
      const scope = engineOf(open.datastore).transactions.current
      await scope?.execute((connection) => connection.query(statement('PRAGMA max_page_count = 1')))
      await recorder.insertEvents([storedEvent(id, 2, { state: new Uint8Array(1_000_000) })])
    })
    const error = await rejection(full)
    expect(error).toBeInstanceOf(OperationalError)
    expect(isTransient(error)).toBe(false)
    const { rows } = await engineOf(open.datastore).runner().query(statement('SELECT count(*) FROM stored_events'))
    expect(Number(rows[0]?.[0])).toBe(1)
    await open.close()
  })
})
