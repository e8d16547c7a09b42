/** Each way to answer a request, on each framework and database: what an observer sees when its first byte arrives, and what comes of a commit that fails. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NAMESPACE_URL, PrismaApplicationRecorder, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, databasesOf, oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { type AnsweringFramework, answeringFrameworks, type Compression, pathOf } from './answering-servers.js'
import { type Answer, failures, successes } from './answers.js'
import type { Listening } from './listening.js'
import { type Observed, observe } from './observed.js'

const idOf = (answer: Answer): string => uuid5(NAMESPACE_URL, pathOf(answer))

/** Lets every COMMIT that stores an owner take a while, where a database can: what leaves too early is seen to. */
async function slowCommits(kind: TestDatabaseKind, { database }: OpenDatabase): Promise<void> {
  if (kind.provider !== 'postgresql') return
  await database.query(
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.02); RETURN NULL; END'",
  )
  await database.query(
    'CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON owners DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()',
  )
}

/** Declares the tests of all answers on one server. */
function describeAnswers(kind: TestDatabaseKind, framework: AnsweringFramework, place?: Compression): void {
  let open: OpenDatabase
  let server: Listening
  beforeAll(async () => {
    open = await openDatabase(kind)
    await slowCommits(kind, open)
    // The first use of a client takes a while.
    await open.db.owner.count()
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const saveOf = (answer: Answer) => async (): Promise<void> => {
      await open.db.owner.create({ data: { name: 'Ann', dog: pathOf(answer) } })
      await recorder.appendEvents([storedEvent(idOf(answer), 1)])
    }
    server = await framework.start(open, saveOf, { place })
  })
  afterAll(async () => {
    await server.close()
    // Waits for every transaction, so that one that was never ended fails here.
    await open.close()
  })

  const look = async (answer: Answer): Promise<{ rows: number; events: number }> => {
    const [rows] = await open.database.query(`SELECT count(*) AS n FROM owners WHERE dog = '${pathOf(answer)}'`)
    const all = await open.database.query('SELECT originator_id AS id FROM stored_events')
    return { rows: Number(rows?.['n']), events: all.filter(({ id }) => String(id) === idOf(answer)).length }
  }
  const ask = async (answer: Answer): Promise<Observed<Awaited<ReturnType<typeof look>>>> => {
    const headers = { ...answer.headers, ...(place === undefined ? {} : { 'accept-encoding': 'gzip' }) }
    return await observe(server.url + pathOf(answer), { ...answer, headers }, async () => await look(answer))
  }

  it.each(successes.filter(framework.has))('commits before the first byte: $name', async (answer) => {
    const { seen, status, body } = await ask(answer)
    expect({ status, body }).toEqual({ status: answer.status, body: answer.body ?? '' })
    expect(seen).toEqual({ rows: 1, events: 1 })
  })

  // The events are there now, so that each request meets them when it commits.
  it.each(successes.filter(framework.has))('sends nothing of it when the commit fails: $name', async (answer) => {
    await open.database.query(`DELETE FROM owners`)
    const { seen, status, headers, body } = await ask(answer)
    expect([status, headers['location']]).toEqual([409, undefined])
    expect(headers['content-type']).toMatch(/^application\/problem\+json/)
    if (answer.method === 'HEAD') expect(body).toBe('')
    else expect(JSON.parse(body)).toMatchObject({ status: 409, code: 'ES_CONCURRENCY' })
    expect(seen).toEqual({ rows: 0, events: 1 })
    expect(await look(answer)).toEqual({ rows: 0, events: 1 })
  })

  // @fastify/compress says of an error that it is compressed when it takes the place of a stream, also without us.
  const isTold = (answer: Answer): boolean =>
    framework.has(answer) &&
    !(place !== undefined && framework.name.startsWith('Fastify') && answer.name.startsWith('a stream'))
  it.each(failures.filter(isTold))('rolls back before the answer: $name', async (answer) => {
    const { seen, status, body } = await ask(answer)
    expect(status).toBe(answer.status)
    if (answer.body !== undefined) expect(body).toBe(answer.body)
    expect(body).not.toContain('secret')
    expect(seen).toEqual({ rows: 0, events: 0 })
    expect(await look(answer)).toEqual({ rows: 0, events: 0 })
  })
}

describe.each(oneOfEach)('on $name', (kind) => {
  describe.each(casesOn(kind, answeringFrameworks))('$name', (framework) => describeAnswers(kind, framework))
})

describe.each(databasesOf('sqlite').slice(0, 1))('on $name, compressed', (kind) => {
  for (const place of ['before', 'after'] as const) {
    // Express 4 writes by the same code as Express 5.
    describe.each(answeringFrameworks.slice(0, 2))(`$name with a compressing middleware ${place} ours`, (framework) =>
      describeAnswers(kind, framework, place),
    )
  }
})
