/** The guides for reactions and for timers do what they say. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, runAll } from '../support/empty-databases.js'

const guides = ['reactions', 'timers'].map((name) => blocksOf(readDocument(`docs/guides/${name}.md`)))

/** What readers have already. */
const others = {
  'schema.prisma': `
    datasource db { provider = "postgresql" }
    generator client {
      provider = "prisma-client"
      output   = "./generated/prisma"
    }
    model Invoice {
      id       Int    @id @default(autoincrement())
      customer String
      cents    Int
    }`.replaceAll(/\{ (provider = "postgresql") \}/g, '{\n$1\n}'),
  'db.ts': `
    import { PrismaPg } from '@prisma/adapter-pg'
    import { PrismaDatastore } from 'eventsourcing-prisma'
    import { PrismaClient } from './generated/prisma/client.js'
    import { Shop } from './shop.js'
    export const datastore = new PrismaDatastore({
      adapter: new PrismaPg({ connectionString: process.env['DATABASE_URL'] ?? '' }),
      client: (adapter) => new PrismaClient({ adapter }),
    })
    export const db = datastore.client
    export const shop = new Shop({ datastore })`,
  'set-up.ts': `
    import { defineReaction, on, ProjectionRunner } from 'eventsourcing-prisma'
    import { datastore, shop } from './db.js'
    import { orders } from './shop.js'
    await shop.recorder.createTable()
    const any = defineReaction({ name: 'any', on: [on(orders, 'Placed', () => undefined)] })
    await new ProjectionRunner({ application: shop, datastore, projections: [any] }).createTable()
    await datastore.close()`,
}

describe('the guides', () => {
  let project: DocumentProject
  let database: EmptyDatabase
  beforeAll(async () => {
    database = await emptyDatabase('postgresql')
    await runAll(database.url, [
      'CREATE TABLE "Invoice" (id SERIAL PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL)',
    ])
    const blocks = new Map([...guides.flatMap((guide) => [...guide]), ...Object.entries(others)])
    const env = { DATABASE_URL: database.url }
    project = new DocumentProject({ name: 'reactions', blocks, install: installCompiled, env })
    project.generateClient('schema.prisma')
    project.runBlock('set-up.ts')
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  it('have the types that they show', () => project.checkTypes(), 120_000)

  it.each(['billing.ts', 'mails.ts', 'fulfilment.ts'])('run %s', (file) => void project.runBlock(file), 60_000)

  it('run the timers', () => {
    expect(project.runBlock('reservations.ts')).toMatch(/^remind of \S+ has been handled\n$/)
  }, 60_000)
})
