/** `npm run bench -- --relay`: how many messages a second a relay publishes to JetStream, from a log on PostgreSQL. */
import { parseArgs } from 'node:util'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Aggregate, Application, event, PrismaDatastore } from 'eventsourcing-prisma'
import { jetStream, Relay } from 'eventsourcing-prisma/relay'
import { databasesOf } from '../test/support/databases.js'
import { median } from './measure.js'

const { values } = parseArgs({
  options: {
    relay: { type: 'boolean' },
    events: { type: 'string', default: '30000' },
    rounds: { type: 'string', default: '5' },
  },
})
const [events, rounds] = [Number(values.events), Number(values.rounds)]
const [kind] = databasesOf('postgresql')
const url = process.env['TEST_NATS_URL']
if (kind === undefined || url === undefined) throw new Error('Name servers in TEST_POSTGRES_URL and TEST_NATS_URL.')

class Walk extends Aggregate {
  steps = 0
  @event('Stepped', 'steps') step(steps: number): void {
    this.steps += steps
  }
}
class Walks extends Application {}

const database = await kind.createDatabase()
const datastore = new PrismaDatastore({ adapter: database.adapter() })
const application = new Walks({ datastore, env: { CREATE_TABLE: 'true' } })
await application.ready()
for (let saved = 0; saved < events; saved += 100) {
  const walk = new Walk()
  for (let n = 1; n < 100; n += 1) walk.step(n)
  await application.save(walk)
}
const connection = await connect({ servers: url })
const manager = await jetstreamManager(connection)
const name = `es_bench_${process.pid}`

/** The seconds that one relay takes for the whole log. */
async function round(n: number): Promise<number> {
  const stream = `${name}_${n}`
  await manager.streams.add({ name: stream, subjects: [stream] })
  const relay = new Relay({
    name: `bench-${n}`,
    application,
    datastore,
    to: jetStream(jetstream(connection), { subject: stream }),
    map: ({ data }) => ({ data }),
  })
  const begun = performance.now()
  await relay.runOnce()
  const seconds = (performance.now() - begun) / 1_000
  const { messages } = (await manager.streams.info(stream)).state
  if (messages < events) throw new Error(`The stream has ${messages} messages of ${events}.`)
  await manager.streams.delete(stream)
  return seconds
}

const times: number[] = []
for (let n = 0; n <= rounds; n += 1) {
  const seconds = await round(n)
  // The first one warms up.
  if (n > 0) times.push(seconds)
}
console.log(
  `a relay to JetStream: ${Math.round(events / median(times))} messages a second (${rounds} rounds of ${events})`,
)
await connection.close()
await datastore.close()
await database.drop()
