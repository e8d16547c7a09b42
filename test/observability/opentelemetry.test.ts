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
import { PrismaApplicationRecorder } from '../../src/index.js'
import { storedEvents } from '../../src/testing/stored-events.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
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
