/** The server of a torture, in a process of its own: what it is to be is in its argument. It is killed when the parent has heard enough. */
import { setTimeout as delay } from 'node:timers/promises'
import { PrismaDatastore } from '../../../src/index.js'
import { Signal } from '../../http/listening.js'
import { frameworks, type RunningServer } from '../../http/servers.js'
import type { TestClient } from '../../prisma/open-database.js'
import { FreezingProxy } from '../../restarts/freezing-proxy.js'
import type { Adapter } from '../../support/databases.js'
import { PrismaClient as MysqlClient } from '../../support/generated/mysql/client.js'
import { PrismaClient as PostgresqlClient } from '../../support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../../support/generated/sqlite/client.js'
import { adapterOf } from '../open.js'
import { mutated } from './mutated.js'
import { poolSize, type Question, type ServerPlan, type ServerState } from './plan.js'
import { freezingSql, TortureRoutes } from './routes.js'

const longestCloseMs = 4_000
const plan: ServerPlan = JSON.parse(process.argv[2] ?? '')
const unhandled: string[] = []
for (const event of ['unhandledRejection', 'uncaughtException'] as const) {
  process.on(event, (reason: unknown) => unhandled.push(`${event}: ${String(reason)}`))
}
// The parent is gone, or has killed this process: nobody will ask any more.
process.on('disconnect', () => process.exit(1))

// The clients of all databases are alike; the types of one stand for them.
const clients = { postgresql: PostgresqlClient, sqlite: SqliteClient, mysql: MysqlClient } as unknown as Record<
  ServerPlan['provider'],
  new (options: {
    adapter: Adapter
  }) => TestClient
>
const open = (url: string): PrismaDatastore<TestClient> =>
  new PrismaDatastore<TestClient>({
    adapter: adapterOf({ ...plan, url }),
    client: (adapter) => new clients[plan.provider]({ adapter }),
    // What has lost its transaction is not to be stored.
    outside: 'refuse',
  })
const datastore = open(await urlThatFreezes())
const rival = open(plan.url)
const server = await start()

/** The way to a server that freezes connections when it is told to; a file needs none. */
async function urlThatFreezes(): Promise<string> {
  if (plan.provider === 'sqlite') return plan.url
  const proxy = await FreezingProxy.before(plan.url, plan.provider === 'mysql' ? 3306 : 5432)
  proxy.freezeAt(freezingSql)
  return proxy.urlOf(plan.url)
}

async function start(): Promise<RunningServer> {
  const framework = frameworks.find(({ name }) => name === plan.framework)
  if (framework === undefined) throw new Error(`there is no framework '${plan.framework}'`)
  const tortured = new TortureRoutes(datastore, rival)
  await tortured.prepare()
  return await framework.start(mutated(datastore, plan.mutation), tortured.routes)
}

/** Holds as many transactions open at the same time as there are connections. */
async function canUseAllConnections(): Promise<boolean> {
  const count = plan.provider === 'sqlite' ? 1 : poolSize
  let begun = 0
  const all = new Signal()
  const probe = async (): Promise<void> => {
    await datastore.transaction(
      async ({ client }) => {
        await client.owner.findFirst()
        begun += 1
        if (begun === count) all.give()
        await all.given
      },
      { deadlineMs: 3_000 },
    )
  }
  const results = await Promise.allSettled(Array.from({ length: count }, probe))
  return results.every(({ status }) => status === 'fulfilled')
}

async function heapUsed(): Promise<number> {
  // What ends in a finalizer is gone only after a second one.
  for (let n = 0; n < 3; n += 1) {
    globalThis.gc?.()
    await delay(20)
  }
  return process.memoryUsage().heapUsed
}

/** Waits for every transaction: one that was never ended keeps it. */
async function close(): Promise<boolean> {
  await server.close()
  const closed = async (): Promise<boolean> => {
    await datastore.close()
    await rival.close()
    return true
  }
  return await Promise.race([closed(), delay(longestCloseMs, false)])
}

async function answer(question: Question): Promise<void> {
  const state: ServerState = {
    heapUsed: question === 'heap' ? await heapUsed() : 0,
    isWhole: question === 'close' ? await close() : question === 'isWhole' ? await canUseAllConnections() : true,
    unhandled,
  }
  process.send?.(state)
}

process.on('message', (question: Question) => void answer(question))
process.send?.(server.port)
