/** The database: SQLite or PostgreSQL, as its URL says, with the client, the application and the runner of projections on it. */
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import { PrismaDatastore, ProjectionRunner } from 'eventsourcing-prisma'
import pg from 'pg'
import { Conduit } from './articles.js'
import { PrismaClient as PostgresqlClient } from './generated/postgresql/client.js'
import { PrismaClient } from './generated/sqlite/client.js'
import { articleRows, tagCounts } from './read-model.js'

export interface Database {
  readonly datastore: PrismaDatastore<PrismaClient>
  /** Joins the transaction of the request by itself. */
  readonly db: PrismaClient
  readonly conduit: Conduit
  readonly runner: ProjectionRunner
}

/** @param url - such as `file:./conduit.db` or `postgresql://user@host/conduit` */
export function openDatabase(url: string): Database {
  const datastore = /^postgres(ql)?:/.test(url) ? postgresql(url) : sqlite(url)
  const db = datastore.client
  const conduit = new Conduit({ datastore, inline: [articleRows(db)] })
  const runner = new ProjectionRunner({ application: conduit, datastore, projections: [tagCounts(db)] })
  return { datastore, db, conduit, runner }
}

function sqlite(url: string): PrismaDatastore<PrismaClient> {
  return new PrismaDatastore({
    adapter: new PrismaLibSql({ url }),
    client: (adapter) => new PrismaClient({ adapter }),
  })
}

function postgresql(connectionString: string): PrismaDatastore<PrismaClient> {
  return new PrismaDatastore({
    adapter: new PrismaPg({ connectionString }),
    // Both clients are made from the same models, so that what is typed for one holds for the other.
    client: (adapter) => new PostgresqlClient({ adapter }) as unknown as PrismaClient,
    listen: () => new pg.Client({ connectionString }),
  })
}
