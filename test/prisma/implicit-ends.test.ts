/** What would end a transaction behind its back is refused, and where that cannot be seen before, nothing more is sent. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { RollbackOnlyError } from '../../src/index.js'
import { mariadbEffect, postgresqlEffect, sqliteEffect } from '../../src/prisma/transaction-guard.js'
import { databases, databasesOf } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const everywhere = [
  'COMMIT',
  'commit;',
  '  Commit /* now */ AND CHAIN',
  '/* first */ COMMIT',
  '-- first\nROLLBACK',
  ';ROLLBACK',
  'ROLLBACK TO SAVEPOINT es_1',
  'SAVEPOINT mine',
  'RELEASE SAVEPOINT es_1',
  'BEGIN',
  'begin immediate',
  'START TRANSACTION READ ONLY',
  'SELECT 1; COMMIT',
  "SELECT ';'; COMMIT",
  "SELECT 'it''s'; ROLLBACK; BEGIN",
]

describe('a statement that begins, ends or divides a transaction is recognised', () => {
  it.each([
    ...everywhere,
    'END',
    'ABORT',
    "PREPARE TRANSACTION 'x'",
    '/* a /* b */ c */ COMMIT',
    'SELECT $$;$$; COMMIT',
    'SELECT $a$ $$; $a$; COMMIT',
    "SELECT E'\\'; SELECT 1'; COMMIT",
    "SELECT '\\'; COMMIT",
    'SELECT $1; COMMIT',
    'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; END; COMMIT',
  ])('on PostgreSQL: %s', (sql) => {
    expect(postgresqlEffect(sql)).toBe('controls')
  })

  it.each([...everywhere, 'END TRANSACTION', 'SELECT [;]; COMMIT', 'SELECT `;`; COMMIT'])('on SQLite: %s', (sql) => {
    expect(sqliteEffect(sql)).toBe('controls')
  })

  it.each([
    ...everywhere,
    '# first\nCOMMIT',
    '/*! COMMIT */',
    '/*M!100100 COMMIT */',
    'SELECT 1 /*!50000 ; COMMIT */',
    "SELECT '\\''; COMMIT",
    'SELECT 1--1; COMMIT',
    'SET autocommit = 0',
    'set @a = 1, @@session.autocommit=1',
    "XA END 'x'",
  ])('on MariaDB: %s', (sql) => {
    expect(mariadbEffect(sql)).toBe('controls')
  })
})

describe('what only looks like that is let through', () => {
  it.each([
    "SELECT '; COMMIT'",
    'SELECT $$; COMMIT$$',
    'SELECT $tag$ $$; COMMIT; $tag$',
    'SELECT 1 /* ; /* COMMIT */ ; ROLLBACK */',
    'DO $$ BEGIN PERFORM 1; END $$',
    'CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END',
    'SET TRANSACTION READ ONLY',
    "SET LOCAL statement_timeout = '1s'",
    'SELECT 1 -- ; COMMIT',
    '(SELECT 1)',
    "COMMIT PREPARED 'x'",
    "PREPARE p AS SELECT ';'",
    'LOCK TABLE owners',
    'TRUNCATE owners',
    'INSERT INTO "commit" (begin) VALUES (1);',
  ])('on PostgreSQL: %s', (sql) => {
    expect(postgresqlEffect(sql)).toBe('none')
  })

  it.each([
    "CREATE TRIGGER t AFTER INSERT ON owners BEGIN SELECT CASE WHEN 1 THEN raise(ROLLBACK, 'no; COMMIT') END; END",
    'PRAGMA foreign_keys',
    'DROP TABLE x',
    'SELECT "; COMMIT"',
  ])('on SQLite: %s', (sql) => {
    expect(sqliteEffect(sql)).toBe('none')
  })

  it.each(['SELECT "\\"; COMMIT"', 'SELECT 1 # ; COMMIT', 'SELECT 1;', 'REPLACE INTO x VALUES (1)', '(SELECT 1)'])(
    'on MariaDB: %s',
    (sql) => {
      expect(mariadbEffect(sql)).toBe('none')
    },
  )
})

it.each([
  'CREATE TABLE x (id int)',
  'create or replace table x (id int)',
  'ALTER TABLE owners ADD x int',
  'TRUNCATE owners',
  '/* all */ truncate table owners',
  'SELECT 1; DROP TABLE x',
  'LOCK TABLES owners WRITE',
  'UNLOCK TABLES',
  'ANALYZE TABLE owners',
  'RENAME TABLE a TO b',
  "GRANT ALL ON *.* TO 'a'",
  "SET PASSWORD = 'x'",
  'LOAD INDEX INTO CACHE owners',
])('MariaDB commits before %s', (sql) => {
  expect(mariadbEffect(sql)).toBe('commits')
})

it.each([
  ['CREATE TEMPORARY TABLE x (id int)', 'mayCommit'],
  ['CREATE OR REPLACE TEMPORARY TABLE x (id int)', 'mayCommit'],
  ['DROP TEMPORARY TABLE x', 'mayCommit'],
  ['CALL p()', 'mayCommit'],
  ["EXECUTE IMMEDIATE 'COMMIT'", 'mayCommit'],
  ['BEGIN NOT ATOMIC IF NOT 1 THEN COMMIT; END IF; END', 'mayCommit'],
  ['SET STATEMENT max_statement_time = 1 FOR SELECT 1', 'mayCommit'],
])('on MariaDB it shows only afterwards what %s does', (sql, effect) => {
  expect(mariadbEffect(sql)).toBe(effect)
})

const undo = new RangeError('undo')

/** What is left of a transaction that goes on after a statement, and whether it reported success. */
interface Left {
  readonly committed: boolean
  readonly error: unknown
  readonly caught: unknown
  readonly dogs: readonly string[]
}

type Run = (open: OpenDatabase) => Promise<unknown>

async function around(open: OpenDatabase, run: Run, { isUndone = false } = {}): Promise<Left> {
  let caught: unknown
  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const error = await open.datastore
    .transaction(async () => {
      await newOwner('before')
      await run(open).catch((failure: unknown) => {
        caught = failure
      })
      await newOwner('after')
      if (isUndone) throw undo
    })
    .then(
      () => undefined,
      (failure: unknown) => failure,
    )
  return { committed: error === undefined, error, caught, dogs: await open.dogs() }
}

const raw =
  (sql: string): Run =>
  async ({ db }) =>
    await db.$executeRawUnsafe(sql)

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const controls = ['COMMIT', 'ROLLBACK', 'BEGIN', 'SAVEPOINT x', 'SELECT 1; COMMIT', '/* x */ rollback']

  it.each(controls)('%s is refused in a transaction, which goes on', async (sql) => {
    const undone = await around(open, raw(sql), { isUndone: true })
    expect(undone).toMatchObject({ error: undo, dogs: [] })
    const { caught, ...kept } = await around(open, raw(sql))
    expect(kept).toEqual({ committed: true, error: undefined, dogs: ['after', 'before'] })
    expect(caught).toMatchObject({ code: 'ES_PROGRAMMING' })
    expect(String(caught)).toContain('it begins, ends or divides a transaction')
  })

  it('it is refused by way of any client, in a part, in a $transaction, and outside of transactions', async () => {
    const { db, base, datastore } = open
    const refused = async (call: () => Promise<unknown>): Promise<void> =>
      await expect(call()).rejects.toThrow('it begins, ends or divides a transaction')
    await refused(async () => await db.$executeRawUnsafe('COMMIT'))
    await refused(async () => await base.$queryRawUnsafe('BEGIN'))
    await refused(async () => await base.$transaction(async (tx) => await tx.$executeRawUnsafe('ROLLBACK')))
    await refused(async () => await base.$transaction([base.$executeRawUnsafe('COMMIT')]))
    await datastore.transaction(async (tx) => {
      await refused(async () => await tx.client.$executeRaw`COMMIT`)
      await refused(
        async () => await datastore.transaction(async () => await db.$queryRaw`ROLLBACK`, { propagation: 'nested' }),
      )
      await refused(async () => await db.$transaction(async (inner) => await inner.$executeRawUnsafe('END; COMMIT')))
      await refused(async () => await db.$transaction([db.$executeRawUnsafe('COMMIT')]))
      await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
    })
    expect(await open.dogs()).toEqual(['Fido'])
  })
})

describe.each(databasesOf('sqlite'))('on $name, where a statement that fails can roll back', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
    const { database } = open
    await database.query(
      `CREATE TRIGGER refuse BEFORE INSERT ON toys WHEN new.name = 'no' BEGIN SELECT raise(ROLLBACK, 'refused'); END`,
    )
    await database.query('CREATE TABLE strict_ids (id INTEGER PRIMARY KEY ON CONFLICT ROLLBACK)')
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  it.each<[string, Run]>([
    ['RAISE(ROLLBACK)', async ({ db }) => await db.toy.create({ data: { name: 'no', ownerId: 1 } })],
    ['INSERT OR ROLLBACK', raw(`INSERT OR ROLLBACK INTO owners (id, name, dog) VALUES (1, 'A', 'q'), (1, 'A', 'q')`)],
    ['ON CONFLICT ROLLBACK', raw('INSERT INTO strict_ids VALUES (1), (1)')],
  ])('%s that is caught undoes everything, and nothing more is sent', async (_name, run) => {
    const { caught, error, dogs } = await around(open, run)
    expect(caught).toBeDefined()
    expect(caught).not.toBeInstanceOf(RangeError)
    expect(String(error)).toContain('the database has ended the transaction')
    expect(dogs).toEqual([])
    // Also where nothing follows but the commit, and in Prisma's own transaction.
    const last = open.datastore.transaction(async () => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'before' } })
      await run(open).catch(() => undefined)
    })
    await expect(last).rejects.toBeInstanceOf(RollbackOnlyError)
    const prismas = open.base.$transaction(async (tx) => {
      await tx.owner.create({ data: { name: 'Ann', dog: 'before' } })
      await run({ ...open, db: tx as OpenDatabase['db'] }).catch(() => undefined)
      await tx.owner.create({ data: { name: 'Ann', dog: 'after' } })
    })
    await expect(prismas).rejects.toThrow('the database has ended the transaction')
    expect(await open.dogs()).toEqual([])
    // The connection is whole.
    expect((await around(open, async () => undefined)).dogs).toEqual(['after', 'before'])
  })

  it('another failure that is caught undoes nothing', async () => {
    const { caught, dogs } = await around(
      open,
      async ({ db }) => await db.owner.create({ data: { name: 'Ann', dog: 'before' } }),
    )
    expect(caught).toMatchObject({ code: 'P2002' })
    expect(dogs).toEqual(['after', 'before'])
  })
})

describe.each(databasesOf('mysql'))('on $name, which commits by itself', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
    await open.database.query(
      "CREATE PROCEDURE commits() BEGIN INSERT INTO toys (name, owner_id) SELECT 'a', max(id) FROM owners; COMMIT; END",
    )
    await open.database.query('CREATE PROCEDURE commits_and_begins() BEGIN COMMIT; START TRANSACTION; END')
    await open.database.query("CREATE PROCEDURE commits_and_fails() BEGIN COMMIT; SIGNAL SQLSTATE '45000'; END")
    await open.database.query('CREATE PROCEDURE counts() BEGIN SELECT count(*) FROM owners; END')
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  it.each([
    'CREATE TABLE x (id int)',
    'TRUNCATE TABLE toys',
    'LOCK TABLES toys WRITE',
    'SET autocommit = 1',
    'ANALYZE TABLE toys',
    'ALTER TABLE toys ADD COLUMN x int',
  ])('%s is refused before it is sent', async (sql) => {
    expect(await around(open, raw(sql), { isUndone: true })).toMatchObject({ error: undo, dogs: [] })
    const kept = await around(open, raw(sql))
    expect(kept).toMatchObject({ committed: true, dogs: ['after', 'before'] })
    expect(kept.caught).toMatchObject({ code: 'ES_PROGRAMMING' })
  })

  it('outside of transactions it is sent', async () => {
    const { db } = open
    await db.$executeRawUnsafe('CREATE TABLE made (id int)')
    await db.$executeRawUnsafe('TRUNCATE made')
    await db.$executeRawUnsafe('DROP TABLE made')
  })

  it.each([
    'CALL commits()',
    'CALL commits_and_begins()',
    'CALL commits_and_fails()',
    'SET STATEMENT max_statement_time = 10 FOR TRUNCATE TABLE toys',
  ])('%s is found afterwards: it fails, and nothing more is stored', async (sql) => {
    const { caught, error, dogs } = await around(open, raw(sql))
    expect(caught).toBeDefined()
    expect(String(error)).toContain('the database has ended the transaction')
    expect(dogs).not.toContain('after')
    const last = open.datastore.transaction(async () => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'last' } })
      await raw(sql)(open).catch(() => undefined)
    })
    await expect(last).rejects.toBeInstanceOf(RollbackOnlyError)
  })

  it.each(['CREATE TEMPORARY TABLE t (id int)', 'SET @x = 1', 'BEGIN NOT ATOMIC UPDATE owners SET name = 1; END'])(
    '%s ends nothing',
    async (sql) => {
      expect(await around(open, raw(sql), { isUndone: true })).toMatchObject({
        caught: undefined,
        error: undo,
        dogs: [],
      })
    },
  )

  it('a procedure that ends nothing gives its rows', async () => {
    const { datastore, db } = open
    await datastore.transaction(async () => {
      await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      await db.$queryRawUnsafe('CALL counts()')
    })
    expect(await open.dogs()).toEqual(['Fido'])
  })
})
