/** Three servers on PostgreSQL that do a command (load a stream, append an event) and change a row in one transaction. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'
import { PrismaPg } from '@prisma/adapter-pg'
import { Aggregate, Application, event, PrismaDatastore, preparedStatementName } from 'eventsourcing-prisma'
import { problemDetails, transactions } from 'eventsourcing-prisma/fastify'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import { PrismaClient } from './generated/client.js'
import type { Served } from './http.js'
import { postgresql as sql } from './sql.js'

const streamLength = 20

@event('Opened')
class Stream extends Aggregate {
  length = 0

  @event('Appended', 'trick')
  append(_trick: string): void {
    this.length += 1
  }
}

/** Makes the tables and the streams, too. */
export async function postgresqlServers(url: string): Promise<Served[]> {
  const pool = new pg.Pool({ connectionString: url, max: 16 })
  // `end` does not wait for the connections to close, and the database is dropped then.
  pool.on('error', () => undefined)
  await prepareStreams(url)
  const ids = await streamIds(url)
  const idOf = (n: string): string => ids[Number(n) % ids.length] ?? ''
  const prepared = { statementNameGenerator: preparedStatementName }
  return [
    await byMiddleware('eventsourcing-prisma', new PrismaPg({ connectionString: url, max: 16 }), idOf),
    await byMiddleware('prepared', new PrismaPg({ connectionString: url, max: 16 }, prepared), idOf),
    byDriver(pool, idOf),
    byTransaction(url, idOf),
  ]
}

/** Makes the tables and the streams. */
export async function prepareStreams(url: string): Promise<void> {
  await once(url, 'CREATE TABLE owners (id SERIAL PRIMARY KEY, name TEXT NOT NULL, dog TEXT NOT NULL)')
  const datastore = new PrismaDatastore({ adapter: new PrismaPg({ connectionString: url }) })
  const application = new Application({ name: 'Bench', datastore })
  await application.recorder.createTable()
  for (let n = 0; n < 400; n += 1) {
    const stream = new Stream()
    for (let version = 1; version < streamLength; version += 1) stream.append('x')
    await application.save(stream)
  }
  await datastore.close()
}

/** The streams that are to be loaded. */
export async function streamIds(url: string): Promise<string[]> {
  const ids = 'SELECT originator_id AS id FROM bench_events WHERE originator_version = $1'
  return (await once<{ id: string }>(url, ids, [streamLength])).map(({ id }) => id)
}

async function once<Row extends pg.QueryResultRow>(url: string, sql: string, args: unknown[] = []): Promise<Row[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    return (await client.query<Row>(sql, args)).rows
  } finally {
    await client.end()
  }
}

/** What the handler does beside the row. */
export interface Work {
  /** Awaited before the row is written. */
  readonly between?: () => Promise<void>
  /** Whether a stream is loaded, and another one saved; default true. */
  readonly events?: boolean
  /** Whether the row is written by its model, which reads it back, or by SQL; default by SQL. */
  readonly byModel?: boolean
}

/** A server with the middleware. */
export async function byMiddleware(
  name: string,
  adapter: PrismaPg,
  idOf: (n: string) => string,
  { between, events = true, byModel = false }: Work = {},
): Promise<Served> {
  const datastore = new PrismaDatastore({
    adapter,
    client: (joining) => new PrismaClient({ adapter: joining }),
  })
  const application = new Application({ name: 'Bench', datastore })
  const server = Fastify()
  await server.register(transactions, { datastore })
  server.post<{ Params: { n: string } }>('/streams/:n', async (request, reply) => {
    if (events) {
      const stream = await application.repository.get(Stream, idOf(request.params.n), { version: streamLength })
      // Each request appends to a stream of its own, so that none is in another's way.
      const copy = new Stream()
      copy.append(String(stream.length))
      await application.save(copy)
    }
    await between?.()
    const { client } = datastore
    if (byModel) await client.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
    else await client.$executeRaw`INSERT INTO owners (name, dog) VALUES ('Ann', 'Fido')`
    return await reply.code(201).send()
  })
  server.addHook('onClose', async () => await datastore.close())
  return { name, server }
}

/** What a server with a route that reads one row has around it: nothing, the least that a middleware with an async context does, or the middleware. */
export type Around = 'nothing' | 'async context' | 'transactions'

/** A server with a route that reads one row by a model. */
export async function byModelRead(url: string, around: Around): Promise<FastifyInstance> {
  const adapter = new PrismaPg({ connectionString: url, max: 16 })
  const server = Fastify()
  const route = (client: PrismaClient): void => {
    server.get('/', async () => await client.owner.findFirst({ where: { id: 1 } }))
  }
  if (around === 'async context') {
    const storage = new AsyncLocalStorage<object>()
    server.addHook('preHandler', (_request, _reply, next) => storage.run({}, next))
  }
  if (around !== 'transactions') {
    const client = new PrismaClient({ adapter })
    server.addHook('onClose', async () => await client.$disconnect())
    route(client)
    return server
  }
  const datastore = new PrismaDatastore({ adapter, client: (joining) => new PrismaClient({ adapter: joining }) })
  server.addHook('onClose', async () => await datastore.close())
  await server.register(transactions, { datastore })
  route(datastore.client)
  return server
}

/** A server on which everybody appends to the same stream. @param retries - how often the server tries again after a conflict */
export async function onOneStream(url: string, idOf: (n: string) => string, retries: number): Promise<FastifyInstance> {
  const datastore = new PrismaDatastore({ adapter: new PrismaPg({ connectionString: url, max: 16 }) })
  const application = new Application({ name: 'Bench', datastore })
  const server = Fastify()
  await server.register(transactions, { datastore, retries })
  server.setErrorHandler(problemDetails())
  server.post<{ Params: { n: string } }>('/streams/:n', async (request, reply) => {
    const stream = await application.repository.get(Stream, idOf(request.params.n))
    stream.append(String(stream.length))
    await application.save(stream)
    return await reply.code(201).send()
  })
  return server
}

const insert = sql.insert.replace('stored_events', 'bench_events')
const select = sql.select.replace('stored_events', 'bench_events')
const state = Buffer.from('{"timestamp":{"_type_":"datetime_iso","_data_":"2026-01-01T00:00:00+00:00"},"trick":"x"}')
const newEvents = (): unknown[] => {
  const id = randomUUID()
  return [
    [id, id],
    [1, 2],
    ['Stream.Opened', 'Stream.Appended'],
    [state, state],
  ]
}

/** @param isPrepared - whether the server keeps the statements by their names */
export function byDriver(pool: pg.Pool, idOf: (n: string) => string, isPrepared: boolean = false): Served {
  const named = (name: string): { readonly name?: string } => (isPrepared ? { name } : {})
  const server = Fastify()
  server.post<{ Params: { n: string } }>('/streams/:n', async (request, reply) => {
    const client = await pool.connect()
    try {
      await client.query('BEGIN')
      const reading = { ...named('read'), text: select, values: [idOf(request.params.n)] }
      const { rows } = await client.query<{ state: Buffer }>(reading)
      for (const row of rows) JSON.parse(row.state.toString())
      await client.query({ ...named('append'), text: insert, values: newEvents() })
      await client.query({ ...named('row'), text: "INSERT INTO owners (name, dog) VALUES ('Ann', 'Fido')" })
      await client.query('COMMIT')
    } finally {
      client.release()
    }
    return await reply.code(201).send()
  })
  server.addHook('onClose', async () => await pool.end())
  return { name: 'pg', server }
}

/** A server that does it by hand, in an interactive transaction. */
export function byTransaction(
  url: string,
  idOf: (n: string) => string,
  statements: Statements = { select, insert, selectArguments: (id) => [id], insertArguments: newEvents },
): Served {
  const client = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 16 }) })
  const server = Fastify()
  server.post<{ Params: { n: string } }>('/streams/:n', async (request, reply) => {
    await client.$transaction(
      async (tx) => {
        const args = statements.selectArguments(idOf(request.params.n))
        const rows = await tx.$queryRawUnsafe<Array<{ state: Uint8Array }>>(statements.select, ...args)
        for (const row of rows) JSON.parse(Buffer.from(row.state).toString())
        await tx.$executeRaw`INSERT INTO owners (name, dog) VALUES ('Ann', 'Fido')`
        await tx.$queryRawUnsafe(statements.insert, ...statements.insertArguments())
      },
      { maxWait: 60_000, timeout: 60_000 },
    )
    return await reply.code(201).send()
  })
  server.addHook('onClose', async () => await client.$disconnect())
  return { name: 'Prisma $queryRaw', server }
}

/** A server that does it by hand, with the models of Prisma in an interactive transaction. */
export function byModels(url: string, idOf: (n: string) => string): FastifyInstance {
  const client = new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: 16 }) })
  const server = Fastify()
  server.post<{ Params: { n: string } }>('/streams/:n', async (request, reply) => {
    await client.$transaction(
      async (tx) => {
        const events = await tx.benchEvent.findMany({
          where: { originatorId: idOf(request.params.n), originatorVersion: { lte: streamLength } },
          orderBy: { originatorVersion: 'asc' },
        })
        for (const event of events) JSON.parse(Buffer.from(event.state).toString())
        const originatorId = randomUUID()
        await tx.benchEvent.createMany({
          data: ['Opened', 'Appended'].map((name, index) => ({
            originatorId,
            originatorVersion: index + 1,
            topic: `Stream.${name}`,
            state,
          })),
        })
        await tx.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
      },
      { maxWait: 60_000, timeout: 60_000 },
    )
    return await reply.code(201).send()
  })
  server.addHook('onClose', async () => await client.$disconnect())
  return server
}

/** What a handler sends by hand. */
export interface Statements {
  readonly select: string
  readonly insert: string
  readonly selectArguments: (id: string) => unknown[]
  readonly insertArguments: () => unknown[]
}

/** Those that the library sends for the same: `assertSameStatements` watches that. */
export const statementsOfLibrary: Statements = {
  select:
    'SELECT originator_id, originator_version, topic, state, metadata FROM "bench_events" ' +
    'WHERE originator_id = $1::uuid AND originator_version <= $2::bigint ORDER BY originator_version ASC LIMIT $3::bigint',
  insert:
    `WITH floor AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(('"bench_events"'::regclass::oid::bigint << 32) | ` +
    '((CASE WHEN is_called THEN last_value ELSE last_value - 1 END) & 4294967295)) FROM public.bench_events_id_seq) ' +
    'INSERT INTO "bench_events" (originator_id, originator_version, topic, state, metadata) ' +
    'SELECT originator_id, originator_version, topic, state, metadata ' +
    'FROM floor, unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[], $5::jsonb[]) ' +
    'WITH ORDINALITY AS e(originator_id, originator_version, topic, state, metadata, position) ' +
    'ORDER BY position ON CONFLICT DO NOTHING RETURNING id',
  selectArguments: (id) => [id, streamLength, 2_000],
  insertArguments: () => [...newEvents(), [null, null]],
}
