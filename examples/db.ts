/** One datastore for the database, with the client and the application on it. */
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaDatastore } from 'eventsourcing-prisma'
import { PrismaClient } from './generated/client.js'
import { TrainingSchool } from './school.js'

export interface Database {
  readonly datastore: PrismaDatastore<PrismaClient>
  /** Joins the current transaction by itself. */
  readonly db: PrismaClient
  readonly school: TrainingSchool
}

/** @param url - of an SQLite file, such as `file:./dev.db` */
export function openDatabase(url: string): Database {
  const datastore = new PrismaDatastore({
    adapter: new PrismaLibSql({ url }),
    client: (adapter) => new PrismaClient({ adapter }),
  })
  return { datastore, db: datastore.client, school: new TrainingSchool({ datastore }) }
}
