/** The OpenTelemetry example makes a tree of spans for each request, whatever else is served meanwhile. */
import { readFileSync } from 'node:fs'
import { context, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/fastify.js'
import { traceTransactions } from '../../examples/opentelemetry.js'
import { PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import { storedEvents } from '../../src/testing/test-framework.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const tracer = provider.getTracer('test')

/** A span with those below it, by name and in the order of their beginnings. */
interface Tree {
  readonly name: string
  readonly children: readonly Tree[]
}

function treesOf(spans: readonly ReadableSpan[], parent?: string): Tree[] {
  return spans
    .filter((span) => span.parentSpanContext?.spanId === parent)
    .map((span) => ({ name: span.name, children: treesOf(spans, span.spanContext().spanId) }))
}

type Watcher = (query: { readonly args?: unknown[] }) => void

/** A driver adapter, and what comes from it, that tells of each statement where it is sent. */
function watched<T extends object>(target: T, tell: Watcher): T {
  return new Proxy(target, {
    get(object, name) {
      const value: unknown = Reflect.get(object, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        if (name === 'queryRaw' || name === 'executeRaw') tell(args[0] as Parameters<Watcher>[0])
        const result: unknown = Reflect.apply(value, object, args)
        if (!(result instanceof Promise) || (name !== 'connect' && name !== 'startTransaction')) return result
        return result.then((made: object) => watched(made, tell))
      }
    },
  })
}

const leaves = (...names: string[]): Tree[] => names.map((name) => ({ name, children: [] }))

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  let server: FastifyInstance
  let endTracing: () => void
  beforeAll(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    endTracing = traceTransactions(tracer)
    open = await openDatabase(database, { name: 'kennel' })
    const recorder = new PrismaApplicationRecorder(open.datastore)
    server = Fastify()
    // As an instrumentation of HTTP does it.
    server.addHook('onRequest', (request, reply, next) => {
      const span = tracer.startSpan(`request ${String(request.headers['x-number'])}`)
      reply.raw.once('close', () => span.end())
      context.with(trace.setSpan(context.active(), span), next)
    })
    await server.register(transactions, { datastore: open.datastore })
    server.setErrorHandler(problemDetails())
    server.post('/dogs', async (request, reply) => {
      const dog = `dog ${String(request.headers['x-number'])}`
      await open.db.owner.create({ data: { name: 'Ann', dog } })
      await recorder.appendEvents(storedEvents(crypto.randomUUID(), 2))
      return await reply.code(201).send({})
    })
    server.post('/conflicts', async (_request, reply) => {
      const id = crypto.randomUUID()
      await recorder.insertEvents(storedEvents(id, 1))
      await recorder.appendEvents(storedEvents(id, 1))
      return await reply.code(201).send({})
    })
    server.post('/refused', async (_request, reply) => {
      await open.db.owner.create({ data: { name: 'Ann', dog: 'Ace' } })
      return await reply.code(422).send({})
    })
    server.get('/nothing', async () => ({}))
  })
  beforeEach(async () => {
    await open.clear()
    exporter.reset()
  })
  afterAll(async () => {
    endTracing()
    context.disable()
    await server.close()
    await open.close()
  })

  const request = async (method: 'GET' | 'POST', url: string, number = 1): Promise<number> =>
    (await server.inject({ method, url, headers: { 'x-number': String(number) } })).statusCode
  const spanNamed = (name: string): ReadableSpan | undefined =>
    exporter.getFinishedSpans().find((span) => span.name === name)

  it('has the statements below the transaction, and that below its own request, with many at once', async () => {
    const numbers = Array.from({ length: 24 }, (_, n) => n)
    const statuses = await Promise.all(numbers.map((number) => request('POST', '/dogs', number)))
    expect(statuses).toEqual(numbers.map(() => 201))
    const trees = treesOf(exporter.getFinishedSpans())
    expect(trees.map(({ name }) => name).sort()).toEqual(numbers.map((number) => `request ${number}`).sort())
    for (const { children } of trees) {
      expect(children).toEqual([{ name: 'POST /dogs', children: leaves('begin', 'flush', 'commit') }])
    }
    expect(spanNamed('flush')?.attributes).toEqual({ 'flush.events': 2, 'flush.tables': 1 })
    expect(spanNamed('POST /dogs')?.attributes).toEqual({
      'transaction.datastore': 'kennel',
      'transaction.attempt': 1,
      'transaction.state': 'committed',
    })
  })

  it('records the error of a flush that fails, and why the transaction is rolled back', async () => {
    expect(await request('POST', '/conflicts')).toBe(409)
    const [tree] = treesOf(exporter.getFinishedSpans())
    expect(tree?.children).toEqual([{ name: 'POST /conflicts', children: leaves('begin', 'flush', 'rollback') }])
    for (const name of ['flush', 'POST /conflicts']) {
      const span = spanNamed(name)
      expect(span?.status.code).toBe(SpanStatusCode.ERROR)
      expect(span?.events).toMatchObject([{ name: 'exception', attributes: { 'exception.type': 'ES_CONCURRENCY' } }])
    }
    expect(spanNamed('POST /conflicts')?.attributes['transaction.state']).toBe('rolledBack')
  })

  it('sends the statements of parallel requests each in the context of its own, as the instrumentation of a driver sees it', async () => {
    const sent: Array<{ readonly values: unknown[]; readonly trace: string | undefined }> = []
    const adapter = watched(open.database.adapter(), ({ args }) => {
      sent.push({ values: args ?? [], trace: trace.getSpan(context.active())?.spanContext().traceId })
    })
    await using datastore = new PrismaDatastore<TestClient>({
      adapter,
      client: (own) => open.database.newClient(own) as TestClient,
    })
    for (let round = 0; round < 3; round += 1) {
      const names = ['a', 'b', 'c'].map((name) => `${name}${round}`)
      const traces = await Promise.all(
        names.map(async (dog) => {
          const span = tracer.startSpan(dog)
          await context.with(trace.setSpan(context.active(), span), async () => {
            await datastore.transaction(async () => {
              await datastore.client.owner.findUnique({ where: { dog } })
              if (database.provider !== 'sqlite') await datastore.client.owner.create({ data: { name: 'Ann', dog } })
            })
          })
          return span.spanContext().traceId
        }),
      )
      for (const [index, dog] of names.entries()) {
        const own = sent.filter(({ values }) => values.includes(dog))
        expect(own.length).toBeGreaterThan(0)
        expect(own.map((each) => each.trace)).toEqual(own.map(() => traces[index]))
      }
    }
  })

  it('marks a transaction as failed that was rolled back for its answer alone', async () => {
    expect(await request('POST', '/refused')).toBe(422)
    const span = spanNamed('POST /refused')
    expect([span?.attributes['transaction.state'], span?.status.code]).toEqual(['rolledBack', SpanStatusCode.ERROR])
  })

  it('has no span for a transaction that sends nothing', async () => {
    expect(await request('GET', '/nothing')).toBe(200)
    expect(treesOf(exporter.getFinishedSpans())).toEqual(leaves('request 1'))
  })
})

it('is what the documentation shows', () => {
  const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
  const [, shown = ''] = /```ts\n\/\/ file: opentelemetry\.ts\n([\s\S]*?)```/.exec(read('docs/observability.md')) ?? []
  expect(shown).toBe(read('examples/opentelemetry.ts'))
})
