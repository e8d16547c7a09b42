/** Projections of the log of another application: on another database, or elsewhere, in sections. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { defineProjection, ProjectionRunner, RemoteNotificationLog, rows, sectionToJSON } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const timeoutMs = 30_000

const countsOf = (db: TestClient) =>
  defineProjection({
    name: 'counts',
    ...rows(
      () => db.trickCount,
      'dog',
      (onRows) => [
        onRows(
          Dog,
          'TrickAdded',
          (e) => e.originatorId,
          (row, e) => ({ dog: e.originatorId, name: '', tricks: (row?.tricks ?? 0) + 1 }),
        ),
      ],
    ),
  })

/** What reads the events that come from elsewhere, and names the tables. */
class Statistics extends TrainingSchool {}

describe.each(oneOfEach)('on $name', (kind) => {
  it('builds rows from a log that comes in sections, although some do not come', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const elsewhere = new TrainingSchool()
    let asked = 0
    const log = new RemoteNotificationLog(
      async (section) => {
        asked += 1
        if (asked % 3 === 0) throw new Error('nobody answers')
        return sectionToJSON(await elsewhere.notificationLog.section(section))
      },
      10,
      'Elsewhere',
    )
    await elsewhere.register('Fido')
    for (let n = 0; n < 25; n += 1) await elsewhere.addTrick('Fido', `trick ${n}`)
    const { datastore, db } = open
    const application = new Statistics({ datastore })
    const runner = new ProjectionRunner({ application, datastore, source: log, projections: [countsOf(db)] })
    await runner.createTable()
    onTestFinished(() => runner.stop())
    await runner.start()
    await runner.wait('counts', 26n, { timeoutMs })
    await elsewhere.register('Rex')
    await runner.wait('counts', await elsewhere.addTrick('Rex', 'sit'), { timeoutMs })
    const counts = async (): Promise<number[]> =>
      (await db.trickCount.findMany({ orderBy: { tricks: 'asc' } })).map(({ tricks }) => tricks)
    expect([runner.upstream, await counts()]).toEqual(['Elsewhere', [1, 25]])
    expect(await open.database.query('SELECT upstream, position FROM statistics_projections')).toMatchObject([{}])
  })

  it('builds rows from the log of another application, and anew', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const other = new TrainingSchool()
    const { datastore, db } = open
    const application = new Statistics({ datastore })
    const runner = new ProjectionRunner({ application, datastore, source: other, projections: [countsOf(db)] })
    await runner.createTable()
    await other.register('Fido')
    await other.addTrick('Fido', 'sit')
    await runner.runOnce()
    await db.trickCount.updateMany({ data: { tricks: 9 } })
    expect([runner.upstream, await runner.end()]).toEqual(['TrainingSchool', 2n])
    await runner.rebuild('counts')
    expect(await db.trickCount.findMany()).toMatchObject([{ tricks: 1 }])
    const inSections = new ProjectionRunner({
      application,
      datastore,
      source: other.notificationLog,
      projections: [{ ...countsOf(db), version: 2 }],
    })
    await inSections.runOnce()
    expect([await inSections.end(), await db.trickCount.findMany()]).toMatchObject([2n, [{ tricks: 1 }]])
  })
})
