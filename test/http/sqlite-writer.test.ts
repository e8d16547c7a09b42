/** Requests on SQLite while somebody else has its one writer: another process, another client of this one, another datastore. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { PrismaDatastore } from '../../src/index.js'
import { newGate } from '../prisma/gate.js'
import type { TestClient } from '../prisma/open-database.js'
import { bundled } from '../support/bundled.js'
import { casesOn, databasesOf, type TestDatabase } from '../support/databases.js'
import { frameworks, type RunningServer } from './servers.js'

const worker = new URL('../prisma/holding-worker.ts', import.meta.url)
const deadlineMs = 500
/** Lets go of the writer. */
type LetGo = () => Promise<void>

describe.each(databasesOf('sqlite'))('on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore<TestClient>
  let other: PrismaDatastore<TestClient>
  let plain: TestClient
  let another: ChildProcess
  const open = (): PrismaDatastore<TestClient> =>
    new PrismaDatastore<TestClient>({
      adapter: database.adapter(),
      client: (adapter) => database.newClient(adapter) as TestClient,
      maxWaitMs: deadlineMs,
    })
  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = open()
    other = open()
    plain = database.newClient(database.adapter()) as TestClient
    const [packageName, className] = kind.name.includes('libsql')
      ? ['@prisma/adapter-libsql', 'PrismaLibSql']
      : ['@prisma/adapter-better-sqlite3', 'PrismaBetterSqlite3']
    another = fork(bundled(worker), [packageName, className, database.url], { execArgv: [] })
    await once(another, 'message')
    await datastore.client.owner.count()
  })
  beforeEach(async () => await database.query('DELETE FROM owners'))
  afterAll(async () => {
    another.disconnect()
    await Promise.all([datastore.close(), other.close(), plain.$disconnect()])
    await database.drop()
  })

  const holdInProcess = async (): Promise<LetGo> => {
    const tell = async (sql: string): Promise<void> => {
      const done = once(another, 'message')
      another.send(sql)
      await done
    }
    await tell('BEGIN IMMEDIATE')
    return async () => await tell('ROLLBACK')
  }
  /** By a transaction of a client: writes, and stays open. */
  const holdBy = async (
    begin: (work: (client: Pick<TestClient, 'owner'>) => Promise<void>) => Promise<void>,
  ): Promise<LetGo> => {
    const written = newGate()
    const mayEnd = newGate()
    const holding = begin(async (client) => {
      await client.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
      written.open()
      await mayEnd.opened
    })
    await Promise.race([written.opened, holding])
    return async () => {
      mayEnd.open()
      await holding
    }
  }
  const timeout = 60_000
  const holders: Array<{ name: string; code: string; hold: () => Promise<LetGo> }> = [
    { name: 'another process', code: 'ES_TRANSACTION_TIMEOUT', hold: holdInProcess },
    {
      name: "the user's own PrismaClient",
      code: 'ES_TRANSACTION_TIMEOUT',
      hold: () => holdBy((work) => plain.$transaction(work, { timeout })),
    },
    {
      name: 'another datastore',
      code: 'ES_OVERLOADED',
      hold: () => holdBy((work) => other.transaction(({ client }) => work(client), { deadlineMs: timeout })),
    },
  ]

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    let server: RunningServer
    beforeAll(async () => {
      server = await framework.start(datastore, [
        {
          method: 'POST',
          path: '/',
          transaction: { deadlineMs },
          async handle({ send }) {
            await datastore.client.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
            send(201, {})
          },
        },
        {
          method: 'GET',
          path: '/',
          async handle({ send }) {
            send(200, {})
          },
        },
        {
          method: 'GET',
          path: '/owners',
          transaction: { readOnly: true },
          async handle({ send }) {
            send(200, { owners: await datastore.client.owner.count() })
          },
        },
      ])
    })
    afterAll(async () => await server.close())
    const post = async (): Promise<Response> => await fetch(server.url, { method: 'POST' })

    /** What has failed before it lets go does not hold up the other tests. */
    const holding = async (hold: () => Promise<LetGo>): Promise<LetGo> => {
      const letGo = await hold()
      let gone: Promise<void> | undefined
      const once = (): Promise<void> => (gone ??= letGo())
      onTestFinished(once)
      return once
    }

    it.each(holders)('answers 503 in time while $name has the writer, and others meanwhile', async ({ hold, code }) => {
      const letGo = await holding(hold)
      let isAnswered = false
      const refused = Promise.all([post(), post()]).finally(() => (isAnswered = true))
      const read = async (): Promise<number[]> =>
        await Promise.all(['/', '/owners'].map(async (path) => (await fetch(server.url + path)).status))
      expect(await read()).toEqual([200, 200])
      expect(isAnswered).toBe(false)
      const answers = await refused
      expect(answers.map(({ status }) => status)).toEqual([503, 503])
      expect(await Promise.all(answers.map((answer) => answer.json()))).toContainEqual(
        expect.objectContaining({ code }),
      )
      await letGo()
      expect((await post()).status).toBe(201)
    })

    it.each(holders)('waits until $name lets go', async ({ hold }) => {
      const letGo = await holding(hold)
      const answer = post()
      expect((await fetch(server.url)).status).toBe(200)
      await letGo()
      expect((await answer).status).toBe(201)
    })
  })
})
