/** The guide for relays: its relay publishes to NATS JetStream, and its consumer, another service, acts on that once. */

import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { canStartNats, NatsServer } from '../relay/nats-server.js'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf } from '../support/empty-databases.js'

/** What readers have already. */
const others = {
  'school.ts': `
    import { Aggregate, Application, defineEvent, event, typed } from 'eventsourcing-prisma'
    import { datastore } from './db.js'
    export const Registered = defineEvent('Registered', typed<{ name: string }>())
    @event(Registered)
    export class Dog extends Aggregate {
      readonly name: string
      constructor({ name }: { name: string }) {
        super()
        this.name = name
      }
    }
    export class School extends Application {
      async register(name: string): Promise<void> {
        await this.save(new Dog({ name }))
      }
    }
    export const school = new School({ name: 'School', datastore })`,
  'db.ts': `
    import { PrismaLibSql } from '@prisma/adapter-libsql'
    import { PrismaDatastore } from 'eventsourcing-prisma'
    export const datastore = new PrismaDatastore({ adapter: new PrismaLibSql({ url: process.env['DATABASE_URL'] ?? '' }) })`,
  'publish.ts': `
    import { relay } from './relay.js'
    import { school } from './school.js'
    await school.recorder.createTable()
    await relay.createTable()
    await relay.start()
    for (const name of ['Fido', 'Rex']) await school.register(name)
    await relay.wait(2n, { timeoutMs: 20_000 })
    await relay.rewind(0n)
    await relay.wait(2n, { timeoutMs: 20_000 })
    await relay.stop()
    process.exit(0)`,
  'tables.ts': `
    import { Inbox } from 'eventsourcing-prisma/relay'
    import { datastore } from './db.js'
    import { school } from './school.js'
    await school.recorder.createTable()
    await new Inbox({ application: school, datastore }).createTable()
    await datastore.close()`,
}

describe.skipIf(!canStartNats)('the guide for relays', () => {
  const server = new NatsServer()
  let publishing: EmptyDatabase
  let consuming: EmptyDatabase
  let project: DocumentProject
  beforeAll(async () => {
    await server.start()
    publishing = await emptyDatabase('sqlite')
    consuming = await emptyDatabase('sqlite')
    const connection = await connect({ servers: server.url })
    const manager = await jetstreamManager(connection)
    await manager.streams.add({ name: 'DOGS', subjects: ['dogs'] })
    await manager.consumers.add('DOGS', { durable_name: 'kennels', ack_policy: 'explicit' })
    await connection.close()
    const blocks = new Map([...blocksOf(readDocument('docs/guides/relays.md')), ...Object.entries(others)])
    const env = { NATS_URL: server.url, DATABASE_URL: publishing.url }
    project = new DocumentProject({ name: 'relays', blocks, install: installCompiled, env })
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await publishing.drop()
    await consuming.drop()
    await server.remove()
  })

  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it('carries events to another service, once also where they are sent again', async () => {
    project.runFile('tables.ts', { DATABASE_URL: consuming.url })
    const consumer = project.startBlock('consumer.ts', { DATABASE_URL: consuming.url })
    try {
      project.runBlock('publish.ts')
      const registered = async (): Promise<unknown[]> =>
        (await rowsOf(consuming.url, 'SELECT state FROM school_events ORDER BY id')).map(([state]) => String(state))
      await expect.poll(async () => (await registered()).length, { timeout: 30_000 }).toBe(2)
      expect(await rowsOf(consuming.url, 'SELECT id FROM school_inbox ORDER BY id')).toEqual([
        ['School/1'],
        ['School/2'],
      ])
    } finally {
      consumer.kill()
    }
  }, 120_000)
})
