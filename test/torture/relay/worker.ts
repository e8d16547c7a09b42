/**
 * A process with a relay, as a deployed one is; it ends when its input does. Arguments: the URL of the database, the broker, its URL, and the
 * subject or exchange.
 */

import { jetstream } from '@nats-io/jetstream'
import { connect as connectNats } from '@nats-io/transport-node'
import { PrismaPg } from '@prisma/adapter-pg'
import { connect as connectAmqp } from 'amqplib'
import { PrismaDatastore } from '../../../src/index.js'
import { type Broker, jetStream, Relay, rabbitMQ } from '../../../src/relay/index.js'
import { Walks } from './walks.js'

const [url = '', kind = '', brokerUrl = '', place = ''] = process.argv.slice(2)
const datastore = new PrismaDatastore({ adapter: new PrismaPg({ connectionString: url }) })

async function broker(): Promise<Broker> {
  if (kind === 'rabbitmq') {
    const open = async (): ReturnType<Awaited<ReturnType<typeof connectAmqp>>['createConfirmChannel']> => {
      const connection = await connectAmqp(brokerUrl)
      connection.on('error', () => undefined)
      return await connection.createConfirmChannel()
    }
    return rabbitMQ(open, { exchange: place })
  }
  const connection = await connectNats({ servers: brokerUrl, maxReconnectAttempts: -1, reconnectTimeWait: 100 })
  return jetStream(jetstream(connection), { subject: place })
}

const relay = new Relay({
  name: 'walks',
  application: new Walks({ datastore }),
  datastore,
  to: await broker(),
  map: ({ data, originatorVersion }) => ({ data: { ...data, version: originatorVersion } }),
  leaseMs: 1_000,
})
await relay.start()
process.stdout.write('started\n')
process.stdin.resume()
process.stdin.once('end', () => {
  void relay.stop().finally(() => process.exit())
})
