/** Two versions of an app, each in a process of its own: the new one takes over, and the old one writes nothing more. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ProjectionRunner } from '../../src/index.js'
import { TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databasesOf } from '../support/databases.js'
import { ownersOf } from './owners.js'
import { type ProjectionProcess, startProcess } from './processes.js'

describe.each(databasesOf('postgresql'))('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  let next: ProjectionRunner
  let processes: ProjectionProcess[]
  beforeEach(async () => {
    processes = []
    open = await openDatabase(kind)
    const { datastore } = open
    school = new TrainingSchool({ datastore })
    next = new ProjectionRunner({ application: school, datastore, projections: [ownersOf(() => open.db, 2)] })
    await next.createTable()
  })
  const writer = { isWriting: false, dogs: 0 }
  afterEach(async () => {
    writer.isWriting = false
    for (const each of processes) each.kill()
    await open.close()
  })

  it('supersedes the old process, while events go on', async () => {
    const start = async (version: number): Promise<ProjectionProcess> => {
      const process = await startProcess(kind.provider, open.database.url, version)
      processes.push(process)
      return process
    }
    const old = await start(1)
    writer.isWriting = true
    writer.dogs = 0
    const writing = (async () => {
      while (writer.isWriting) {
        await school.register(`Dog ${(writer.dogs += 1)}`)
        await delay(10)
      }
    })()
    const rowsOf = async (version: number): Promise<number> =>
      await open.db.owner.count({ where: { name: `version ${version}` } })
    await expect.poll(async () => await rowsOf(1), { timeout: 30_000 }).toBeGreaterThan(0)

    const fresh = await start(2)
    await expect.poll(async () => await rowsOf(2), { timeout: 30_000 }).toBeGreaterThan(0)
    const seen: number[] = []
    const until = writer.dogs + 50
    while (writer.dogs < until) seen.push(await rowsOf(1))
    writer.isWriting = false
    await writing
    expect(seen.filter((count) => count > 0)).toEqual([])
    expect(seen.length).toBeGreaterThan(0)
    await expect.poll(() => old.said.at(-1), { timeout: 30_000 }).toBe('superseded')

    await next.wait('owners', await school.recorder.maxNotificationId(), { timeoutMs: 30_000 })
    expect([await rowsOf(1), await rowsOf(2)]).toEqual([0, writer.dogs])
    // After a roll-back of the app the old one is still superseded.
    await fresh.stop()
    const again = await start(1)
    await school.register('one more')
    await expect.poll(() => again.said.at(-1), { timeout: 30_000 }).toBe('superseded')
    expect(await rowsOf(1)).toBe(0)
  }, 120_000)
})
