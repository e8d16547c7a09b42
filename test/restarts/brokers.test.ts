/** A broker that is stopped and started again while a relay publishes to it: nothing is lost or doubled, the lag is shown, and memory does not grow. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { jetStream, Relay } from '../../src/relay/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { openStream, type TestStream } from '../relay/brokers.js'
import { canStartNats, NatsServer } from '../relay/nats-server.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'

const mebibyte = 1024 * 1024

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** What is in use after all that is not was given back. */
function inUse(): number {
  for (let round = 0; round < 3; round += 1) collect()
  return process.memoryUsage().heapUsed
}

describe.skipIf(!canStartNats)('NATS JetStream, stopped and started again', () => {
  let server: NatsServer
  let test: TestStream
  let database: TestDatabase
  let datastore: PrismaDatastore
  let school: TrainingSchool
  beforeEach(async () => {
    server = new NatsServer()
    await server.start()
    test = await openStream(server.url)
    const [kind] = databasesOf('sqlite')
    if (kind === undefined) throw new Error('there is no SQLite')
    database = await kind.createDatabase()
    datastore = new PrismaDatastore({ adapter: database.adapter() })
    school = new TrainingSchool({ datastore })
  })
  afterEach(async () => {
    await datastore.close()
    await database.drop()
    await test.connection.close()
    await server.remove()
  })

  it('has everything once and in order, and the relay shows how far it is behind meanwhile', async () => {
    const to = jetStream(test.js, { subject: test.subject })
    const relay = new Relay({ name: 'dogs', application: school, datastore, to, map: ({ data }) => ({ data }) })
    await relay.createTable()
    await relay.start()
    const dog = new Dog('Fido')
    await school.save(dog)
    const learn = async (tricks: number): Promise<void> => {
      for (let trick = 0; trick < tricks; trick += 1) dog.addTrick(`trick ${dog.tricks.length}`)
      await school.save(dog)
    }
    await learn(99)
    await relay.wait(100n, { timeoutMs: 20_000 })

    await server.stop()
    await learn(100)
    await vi.waitFor(() => expect(relay.healthy()).toBe(false), { timeout: 20_000 })
    const before = inUse()
    for (let save = 0; save < 40; save += 1) await learn(100)
    await vi.waitFor(() => expect(relay.stats.failure).toBeDefined(), { timeout: 20_000 })
    // The aggregate itself has a text for each trick; a relay that kept what it cannot publish would have megabytes.
    expect(inUse() - before).toBeLessThan(4 * mebibyte)
    expect([relay.stats.position, await school.recorder.maxNotificationId()]).toEqual([100n, 4_200n])

    await server.start()
    await relay.wait(4_200n, { timeoutMs: 60_000 })
    expect(relay.healthy()).toBe(true)
    expect(await test.ids()).toEqual(Array.from({ length: 4_200 }, (_, index) => `TrainingSchool/${index + 1}`))
    await relay.stop()
  }, 180_000)
})
