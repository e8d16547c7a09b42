/** A runner on SQLite in another process than those who save: the file has one writer, and both get their turns. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { ProjectionRunner } from '../../src/index.js'
import { TrainingSchool } from '../application/dogs.js'
import { openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { ownersOf } from './owners.js'
import { startProcess } from './processes.js'

const before = 600
const lanes = 4
const perLane = 25

describe.each(databasesOf('sqlite'))('on $name', (kind) => {
  it('builds its rows while others save, and no save fails', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const { datastore, db } = open
    const application = new TrainingSchool({ datastore })
    const runner = new ProjectionRunner({ application, datastore, projections: [ownersOf(() => db, 1)] })
    await runner.createTable()
    await datastore.transaction(async () => {
      for (let number = 0; number < before; number += 1) await application.register(`old-${number}`)
    })
    const other = await startProcess(kind.provider, open.database.url)
    onTestFinished(() => other.kill())
    const save = async (lane: number): Promise<void> => {
      for (let number = 0; number < perLane; number += 1) await application.register(`new-${lane}-${number}`)
    }
    await Promise.all(Array.from({ length: lanes }, (_, lane) => save(lane)))
    await runner.wait('owners', await application.recorder.maxNotificationId(), { timeoutMs: 60_000 })
    expect(await db.owner.count()).toBe(before + lanes * perLane)
    await other.stop()
  }, 120_000)
})
