/** What projections cost, in statements, on every database. */
import { setTimeout as delay } from 'node:timers/promises'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  defineProjection,
  IntegrityError,
  on,
  PrismaDatastore,
  type Projection,
  ProjectionRunner,
  rows,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import type { TestClient } from '../prisma/open-database.js'
import { countedStatements } from '../support/counted-statements.js'
import { databasesOf, oneOfEach, type TestDatabase } from '../support/databases.js'

const timeoutMs = 60_000

describe.each(oneOfEach)('on $name', (kind) => {
  const statements: string[] = []
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  let school: TrainingSchool
  beforeEach(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore<TestClient>({
      adapter: countedStatements(database.adapter(), statements),
      client: (adapter) => database.newClient(adapter) as TestClient,
    })
    school = new TrainingSchool({ datastore })
    onTestFinished(async () => {
      await datastore.close()
      await database.drop()
    })
  })

  async function runnerOf(projections: readonly Projection[]): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({ application: school, datastore, projections })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    return runner
  }

  const sessions = (data: (name: string) => object): Projection =>
    defineProjection({
      name: 'sessions',
      ...rows(
        () => datastore.client.session,
        'sid',
        (onRows) => [
          onRows(
            Dog,
            'Registered',
            (e) => e.originatorId,
            (_row, e) => ({ id: `id ${e.originatorId}`, sid: e.originatorId, data: '', expiresAt: new Date(0) }),
          ),
          onRows(
            Dog,
            'TrickAdded',
            (e) => e.originatorId,
            (row, e) => row && { ...row, data: e.topic, ...data(e.originatorId) },
          ),
        ],
      ),
    })

  async function withSessions(): Promise<readonly string[]> {
    const names = Array.from({ length: 12 }, (_, n) => `Dog ${n}`)
    for (const name of names) await school.register(name)
    await (await runnerOf([sessions(() => ({}))])).runOnce()
    for (const name of names) await school.addTrick(name, 'sit')
    return names.map((name) => Dog.createId(name))
  }

  it('changes many rows at once, and of each what has changed', async () => {
    await withSessions()
    const seen = new Date('2026-01-02T03:04:05.678Z')
    await datastore.client.session.updateMany({ data: { expiresAt: seen } })
    statements.length = 0
    await (await runnerOf([sessions(() => ({ sid: undefined }))])).runOnce()
    const sent = statements.filter((sql) => /^(INSERT|UPDATE) .*sessions/.test(sql))
    // MariaDB cannot say by which key an insert finds the row that it changes.
    const oneByOne = Array.from({ length: 12 }, () => 'UPDATE')
    expect(sent.map((sql) => sql.slice(0, 6))).toEqual(kind.provider === 'mysql' ? oneByOne : ['UPDATE', 'INSERT'])
    const all = await datastore.client.session.findMany()
    expect(new Set(all.map(({ data, expiresAt }) => `${data} ${expiresAt.toISOString()}`))).toEqual(
      new Set([`Dog.TrickAdded ${seen.toISOString()}`]),
    )
    expect(all).toHaveLength(12)
  })

  it('fails where two rows would be the same, as when they are changed one by one', async () => {
    const [first = ''] = await withSessions()
    const same = sessions((sid) => (sid === first ? {} : { id: `id ${first}` }))
    await expect((await runnerOf([same])).runOnce()).rejects.toSatisfy(
      (error) => error instanceof IntegrityError || /Unique constraint/.test(String(error)),
    )
    expect(await datastore.client.session.count({ where: { data: '' } })).toBe(11)
  })

  // Both drivers of SQLite are sent the same.
  if (databasesOf(kind.provider)[0] === kind) {
    it('reads the log once for thirty projections, and asks at most once a second while nothing happens', async () => {
      const handled = new Set<number>()
      const projections = Array.from({ length: 30 }, (_, n) =>
        defineProjection({ name: `p${n}`, on: [on(Dog, 'TrickAdded', () => void handled.add(n))] }),
      )
      const runner = await runnerOf(projections)
      await school.register('Fido')
      await runner.start()
      for (const { name } of projections) await runner.wait(name, 1n, { timeoutMs })
      statements.length = 0
      const recordings = await school.addTrick('Fido', 'sit')
      for (const { name } of projections) await runner.wait(name, recordings, { timeoutMs })
      expect(handled.size).toBe(30)
      // Not one for each of them, though the reader looks again while it is at it.
      const reads = statements.filter(
        (sql) => /FROM [^ ]*trainingschool_events/.test(sql) && !/originator_id. = /.test(sql),
      )
      expect(reads.length).toBeLessThan(15)
      await delay(4_000)
      statements.length = 0
      await delay(3_000)
      expect(statements.length, statements.join('\n')).toBeLessThanOrEqual(4)
    })
  }
})
