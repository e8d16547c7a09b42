/** The guide for systems and the log over HTTP does what it says. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'

const guide = blocksOf(readDocument('docs/guides/systems.md'))

/** Follows the log of a server of the guide until it has all of it, and what comes then. */
const following = (start: string): string => `
  import assert from 'node:assert/strict'
  import { Bank } from './bank.js'
  import { datastore, db, log, runner } from './follower.js'
  import { datastore as bankDatastore, runner as system } from './system.js'
  ${start}
  await runner.createTable()
  await runner.start()
  const bank = system.get(Bank)
  await runner.wait('openings', await bank.recorder.maxNotificationId(), { timeoutMs: 20_000 })
  await runner.wait('openings', await bank.open('late'), { timeoutMs: 20_000 })
  assert.equal(await db.opening.count(), Number(await bank.recorder.maxNotificationId()))
  assert.equal((await fetch(process.env.LOG_URL + '/1,10')).status, 401)
  assert.equal((await log.section('1,1')).items.length, 1)
  await runner.stop()
  await Promise.all([datastore.close(), bankDatastore.close()])
  console.log('level')
  process.exit(0)
`
const servers = {
  Fastify: `const { fastify } = await import('./fastify-server.js')
  await fastify.listen({ port: Number(new URL(process.env.LOG_URL).port), host: '127.0.0.1' })`,
  Express: `const { app } = await import('./express-server.js')
  await new Promise((resolve) => app.listen(Number(new URL(process.env.LOG_URL).port), '127.0.0.1', resolve))`,
}

describe('the guide', () => {
  let project: DocumentProject
  let databases: EmptyDatabase[]
  beforeAll(async () => {
    databases = [await emptyDatabase('postgresql'), await emptyDatabase('postgresql')]
    const [bank, follower] = databases as [EmptyDatabase, EmptyDatabase]
    await runAll(follower.url, ['CREATE TABLE "Opening" (account UUID PRIMARY KEY, owner TEXT NOT NULL)'])
    const env = { DATABASE_URL: bank.url, FOLLOWER_DATABASE_URL: follower.url, LOG_TOKEN: 'secret' }
    const setUp = `
      import { datastore, runner } from './system.js'
      await runner.createTable()
      await datastore.close()
    `
    const blocks = new Map([...guide, ['set-up.ts', setUp]])
    project = new DocumentProject({ name: 'systems', blocks, install: installCompiled, env })
    project.generateClient('schema.prisma')
    project.runBlock('set-up.ts')
  }, 240_000)
  afterAll(async () => {
    project.remove()
    for (const database of databases) await database.drop()
  })

  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it.each(['first.ts', 'errors.ts', 'counters.ts'])(
    'runs %s',
    (file) => {
      project.runBlock(file)
    },
    60_000,
  )

  it.each(Object.entries(servers))(
    'follows the log of %s from another database',
    async (name, start) => {
      project.write('following.ts', following(start))
      const port = 20_000 + Math.floor(Math.random() * 20_000)
      const env = { LOG_URL: `http://127.0.0.1:${port}/log` }
      expect(project.runFile('following.ts', env)).toBe('level\n')
      const rows = await rowsOf(databases[1]?.url ?? '', 'SELECT count(*)::int FROM "Opening"')
      expect(Number(rows[0]?.[0]), name).toBeGreaterThan(2)
    },
    60_000,
  )
})
