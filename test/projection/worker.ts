/**
 * A process that runs a projection of dogs, as a deployed app does. It says `started`, then what it does each time that this changes; it ends
 * when its input does.
 *
 * Arguments: the provider, the URL of the database, the version of the projection, which its rows have as their name.
 */
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, ProjectionRunner } from '../../src/index.js'
import { TrainingSchool } from '../application/dogs.js'
import type { TestClient } from '../prisma/open-database.js'
import { PrismaClient as MysqlClient } from '../support/generated/mysql/client.js'
import { PrismaClient as PostgresqlClient } from '../support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../support/generated/sqlite/client.js'
import { ownersOf } from './owners.js'

const [provider = '', url = '', version = '1'] = process.argv.slice(2)
type Options = ConstructorParameters<typeof PrismaDatastore<TestClient>>[0]
const kinds: Readonly<Record<string, () => Options>> = {
  postgresql: () => ({
    adapter: new PrismaPg({ connectionString: url }),
    client: (adapter) => new PostgresqlClient({ adapter }),
  }),
  // The clients of all databases are alike; the types of one stand for them.
  sqlite: () => ({
    adapter: new PrismaLibSql({ url }),
    client: (adapter) => new SqliteClient({ adapter }) as TestClient,
  }),
  mysql: () => ({ adapter: new PrismaMariaDb(url), client: (adapter) => new MysqlClient({ adapter }) as TestClient }),
}
const kind = kinds[provider]
if (kind === undefined) throw new Error(`There is no database of ${provider}`)
const datastore = new PrismaDatastore<TestClient>(kind())
const application = new TrainingSchool({ datastore })
const runner = new ProjectionRunner({
  application,
  datastore,
  projections: [ownersOf(() => datastore.client, Number(version))],
})
await runner.start()
process.stdout.write('started\n')
let told: string | undefined
setInterval(() => {
  const state = runner.stats['owners']?.state
  if (state !== told) process.stdout.write(`${state}\n`)
  told = state
}, 20)
process.stdin.resume()
process.stdin.once('end', () => {
  void runner
    .stop()
    .then(async () => await datastore.close())
    .finally(() => process.exit())
})
