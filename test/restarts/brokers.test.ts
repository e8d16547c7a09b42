/** A broker that is stopped and started again while a relay publishes to it: nothing is lost or doubled, the lag is shown, and memory does not grow. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type ChannelModel, connect } from 'amqplib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { type Broker, jetStream, Relay, rabbitMQ, readCloudEvent } from '../../src/relay/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { openQueue, openStream, takeAll } from '../relay/brokers.js'
import { canStartNats, NatsServer } from '../relay/nats-server.js'
import { canStartRabbit, RabbitServer } from '../relay/rabbitmq-server.js'
import { databasesOf, type TestDatabase } from '../support/databases.js'

const mebibyte = 1024 * 1024

setFlagsFromString('--expose-gc')
const collect: () => void = runInNewContext('gc')

/** What is in use after all that is not was given back. */
function inUse(): number {
  for (let round = 0; round < 3; round += 1) collect()
  return process.memoryUsage().heapUsed
}

/** A broker, and what a relay has published to it. */
interface RestartableBroker {
  readonly server: { start(): Promise<void>; remove(): Promise<void> }
  /** Ends the server; its data stay. */
  end(): Promise<void>
  readonly to: Broker
  /** The ids of all messages, in order; they may be gone afterwards. */
  ids(): Promise<string[]>
  close(): Promise<void>
}

async function openNats(): Promise<RestartableBroker> {
  const server = new NatsServer()
  await server.start()
  const stream = await openStream(server.url)
  return {
    server,
    end: () => server.stop(),
    to: jetStream(stream.js, { subject: stream.subject }),
    ids: () => stream.ids(),
    close: () => stream.connection.close(),
  }
}

async function openRabbit(): Promise<RestartableBroker> {
  const server = new RabbitServer()
  await server.start()
  const { exchange, queue, connection } = await openQueue(server.url)
  await connection.close()
  const opened: ChannelModel[] = []
  const open = async (): Promise<ChannelModel> => {
    const model = await connect(server.url)
    model.on('error', () => undefined)
    opened.push(model)
    return model
  }
  return {
    server,
    // Without a word, so that connections are lost, not closed.
    end: () => server.kill(),
    to: rabbitMQ(async () => await (await open()).createConfirmChannel(), { exchange }),
    ids: async () => (await takeAll(await open(), queue)).map((message) => readCloudEvent(message).id),
    close: async () => void (await Promise.allSettled(opened.map(async (model) => await model.close()))),
  }
}

const brokers = [
  { name: 'NATS JetStream', canStart: canStartNats, open: openNats },
  { name: 'RabbitMQ', canStart: canStartRabbit, open: openRabbit },
]

describe.each(brokers)('$name, stopped and started again', ({ canStart, open }) => {
  let broker: RestartableBroker
  let database: TestDatabase
  let datastore: PrismaDatastore
  let school: TrainingSchool
  beforeEach(async () => {
    broker = await open()
    const [kind] = databasesOf('sqlite')
    if (kind === undefined) throw new Error('there is no SQLite')
    database = await kind.createDatabase()
    datastore = new PrismaDatastore({ adapter: database.adapter() })
    school = new TrainingSchool({ datastore })
  })
  afterEach(async () => {
    await datastore.close()
    await database.drop()
    await broker.close()
    await broker.server.remove()
  })

  it.skipIf(!canStart)(
    'has everything once and in order, and the relay shows how far it is behind meanwhile',
    async () => {
      const { server, to } = broker
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

      await broker.end()
      await learn(100)
      await vi.waitFor(() => expect(relay.healthy()).toBe(false), { timeout: 20_000 })
      const before = inUse()
      for (let save = 0; save < 40; save += 1) await learn(100)
      await vi.waitFor(() => expect(relay.stats.failure).toBeDefined(), { timeout: 20_000 })
      // The aggregate itself has a text for each trick; a relay that kept what it cannot publish would have megabytes.
      expect(inUse() - before).toBeLessThan(4 * mebibyte)
      expect([relay.stats.position, await school.recorder.maxNotificationId()]).toEqual([100n, 4_200n])

      await server.start()
      await relay.wait(4_200n, { timeoutMs: 120_000 })
      expect(relay.healthy()).toBe(true)
      expect(await broker.ids()).toEqual(Array.from({ length: 4_200 }, (_, index) => `TrainingSchool/${index + 1}`))
      await relay.stop()
    },
    240_000,
  )
})
