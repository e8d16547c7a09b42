/**
 * A process that follows a log over HTTP, and counts tricks in a database of its own, until it is killed. It says `started`.
 *
 * Arguments: the URL of its database, on PostgreSQL, and that of the log.
 */
import { PrismaPg } from '@prisma/adapter-pg'
import {
  Application,
  defineProjection,
  PrismaDatastore,
  ProjectionRunner,
  RemoteNotificationLog,
  rows,
} from '../../src/index.js'
import { Dog } from '../application/dogs.js'
import { PrismaClient } from '../support/generated/postgresql/client.js'

class Statistics extends Application {}

const [connectionString = '', url = ''] = process.argv.slice(2)
const datastore = new PrismaDatastore({
  adapter: new PrismaPg({ connectionString }),
  client: (adapter) => new PrismaClient({ adapter }),
})
const db = datastore.client
const counts = defineProjection({
  name: 'counts',
  ...rows(
    () => db.trickCount,
    'dog',
    (on) => [
      on(
        Dog,
        'TrickAdded',
        (e) => e.originatorId,
        (row, e) => ({ dog: e.originatorId, name: '', tricks: (row?.tricks ?? 0) + 1 }),
      ),
    ],
  ),
})
const runner = new ProjectionRunner({
  application: new Statistics({ datastore }),
  datastore,
  source: RemoteNotificationLog.at(url, { name: 'TrainingSchool', waitSeconds: 2, timeoutMs: 2_000 }),
  projections: [counts],
  leaseMs: 1_000,
  batch: { maxEvents: 10 },
})
await runner.createTable()
await runner.start()
process.stdout.write('started\n')
