/** The OpenTelemetry example makes a tree of spans for each request, whatever else is served meanwhile. */
import { readFileSync } from 'node:fs'
import { context, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, transactions } from '../../adapters/fastify.js'
import { type Instrumentation, instrument } from '../../adapters/opentelemetry.js'
import { observe } from '../../examples/opentelemetry.js'
import { PrismaApplicationRecorder, PrismaDatastore, ProjectionRunner } from '../../src/index.js'
import { storedEvents } from '../../src/testing/test-framework.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { ownersOf } from '../projection/owners.js'
import { oneOfEach } from '../support/databases.js'

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const tracer = provider.getTracer('test')
/** The points of each metric, by its name: attributes and value. */
async function pointsOf(
  reader: PeriodicExportingMetricReader,
): Promise<Map<string, ReadonlyArray<readonly [Record<string, unknown>, unknown]>>> {
  const { resourceMetrics, errors } = await reader.collect()
  expect(errors).toEqual([])
  const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics)
  return new Map(
    all.map(({ descriptor, dataPoints }) => [
      descriptor.name,
      dataPoints.map(({ attributes, value }) => [attributes, value] as const),
    ]),
  )
}

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

describe.each(oneOfEach)('on $name', (database) => {
  const reader = new PeriodicExportingMetricReader({
    exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    exportIntervalMillis: 2_000_000,
  })
  const meterProvider = new MeterProvider({ readers: [reader] })
  const collected = async (): ReturnType<typeof pointsOf> => await pointsOf(reader)
  let open: OpenDatabase
  const system = { postgresql: 'postgresql', sqlite: 'sqlite', mysql: 'mariadb' }[database.provider]
  let server: FastifyInstance
  let telemetry: Instrumentation
  beforeAll(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
    open = await openDatabase(database, { name: 'kennel' })
    const attributes = { 'db.namespace': 'dogs' }
    telemetry = instrument({ datastore: open.datastore, tracerProvider: provider, meterProvider, attributes })
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
    telemetry.end()
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
      expect(children).toEqual([{ name: 'POST /dogs', children: leaves('BEGIN', 'INSERT', 'COMMIT') }])
    }
    const known = { 'db.system.name': system, 'db.namespace': 'dogs' }
    expect(spanNamed('INSERT')).toMatchObject({ kind: SpanKind.CLIENT })
    expect(spanNamed('INSERT')?.attributes).toEqual({
      ...known,
      'db.operation.name': 'INSERT',
      'db.operation.batch.size': 2,
      'eventsourcing_prisma.tables': 1,
    })
    expect(spanNamed('POST /dogs')?.attributes).toEqual({
      ...known,
      'eventsourcing_prisma.datastore': 'kennel',
      'eventsourcing_prisma.transaction.attempt': 1,
      'eventsourcing_prisma.transaction.read_only': false,
      'eventsourcing_prisma.transaction.state': 'committed',
    })
  })

  it('records the error of a flush that fails, and why the transaction is rolled back', async () => {
    expect(await request('POST', '/conflicts')).toBe(409)
    const [tree] = treesOf(exporter.getFinishedSpans())
    expect(tree?.children).toEqual([{ name: 'POST /conflicts', children: leaves('BEGIN', 'INSERT', 'ROLLBACK') }])
    for (const name of ['INSERT', 'POST /conflicts']) {
      const span = spanNamed(name)
      expect(span?.status.code).toBe(SpanStatusCode.ERROR)
      expect(span?.attributes['error.type']).toBe('ES_CONCURRENCY')
      expect(span?.events.filter((event) => event.name === 'exception')).toMatchObject([
        { attributes: { 'exception.type': 'ES_CONCURRENCY' } },
      ])
    }
    const span = spanNamed('POST /conflicts')
    expect(span?.attributes['eventsourcing_prisma.transaction.state']).toBe('rolledBack')
    expect(span?.events.map(({ name }) => name)).toContain('conflict')
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
    expect([span?.attributes['eventsourcing_prisma.transaction.state'], span?.status.code]).toEqual([
      'rolledBack',
      SpanStatusCode.ERROR,
    ])
  })

  it('measures transactions, their statements, what waits and conflicts', async () => {
    const before = open.datastore.stats
    expect(await request('POST', '/dogs')).toBe(201)
    expect(await request('POST', '/conflicts')).toBe(409)
    expect(await request('POST', '/refused')).toBe(422)
    const points = await collected()
    const valuesOf = (name: string): unknown[] => (points.get(name) ?? []).map(([, value]) => value)
    const pool = { 'db.namespace': 'dogs', 'db.client.connection.pool.name': 'kennel' }
    expect(points.get('eventsourcing_prisma.transactions')).toEqual([
      [{ ...pool, outcome: 'committed' }, before.committed + 1],
      [{ ...pool, outcome: 'rolledBack' }, before.rolledBack + 2],
      [{ ...pool, outcome: 'commitUnknown' }, 0],
    ])
    expect(points.get('eventsourcing_prisma.conflicts')).toEqual([[pool, before.conflicts + 1]])
    expect(valuesOf('eventsourcing_prisma.events')).toEqual([before.flushedEvents + 2])
    expect(valuesOf('eventsourcing_prisma.transactions.open')).toEqual([0])
    expect(valuesOf('db.client.connection.pending_requests')).toEqual([0])
    const durations = points.get('db.client.operation.duration') ?? []
    expect(new Set(durations.map(([attributes]) => attributes['db.operation.name']))).toEqual(
      new Set(['BEGIN', 'INSERT', 'COMMIT', 'ROLLBACK']),
    )
    expect(durations.map(([attributes]) => attributes['error.type'])).toContain('ES_CONCURRENCY')
    expect(durations.every(([attributes]) => attributes['db.system.name'] === system)).toBe(true)
  })

  it('has spans of loads and of batches, and measures how far projections lag behind', async () => {
    const school = new TrainingSchool({ datastore: open.datastore })
    const runner = new ProjectionRunner({
      application: school,
      datastore: open.datastore,
      projections: [ownersOf(() => open.db, 1)],
    })
    await runner.createTable()
    using _measured = instrument({ runner, tracerProvider: new BasicTracerProvider(), meterProvider })
    const position = await school.register('Fido').then(async () => await runner.end())
    await runner.start()
    await runner.wait('owners', position, { timeoutMs: 20_000 })
    await runner.stop()
    await school.register('Rex')
    const [batch] = exporter.getFinishedSpans().filter(({ name }) => name === 'batch owners')
    exporter.reset()
    await school.getTricks('Rex')
    await expect(school.getTricks('Nobody')).rejects.toMatchObject({ code: 'ES_AGGREGATE_NOT_FOUND' })
    const loads = exporter.getFinishedSpans().filter(({ name }) => name === 'load Dog')
    expect(loads.map(({ status }) => status.code)).toEqual([SpanStatusCode.UNSET, SpanStatusCode.ERROR])
    expect(loads[0]?.attributes).toEqual({ 'eventsourcing_prisma.originator.id': Dog.createId('Rex') })
    expect(loads[1]?.attributes['error.type']).toBe('ES_AGGREGATE_NOT_FOUND')
    const own = { 'eventsourcing_prisma.projection.name': 'owners', 'eventsourcing_prisma.log': 'TrainingSchool' }
    expect((await collected()).get('eventsourcing_prisma.projection.lag')).toEqual([[own, 1]])
    const points = await collected()
    expect(points.get('eventsourcing_prisma.projection.events')).toEqual([[own, 1]])
    expect(points.get('eventsourcing_prisma.projection.blocked')).toEqual([[own, 0]])
    await runner.runOnce()
    expect((await collected()).get('eventsourcing_prisma.projection.lag')).toEqual([[own, 0]])
    expect(batch?.kind).toBe(SpanKind.CONSUMER)
    expect(batch?.attributes).toMatchObject({
      'eventsourcing_prisma.projection.name': 'owners',
      'messaging.batch.message_count': 1,
    })
    expect(batch?.parentSpanContext).toBeUndefined()
  })

  it('ends with what it has begun, and refuses options that there are not', async () => {
    exporter.reset()
    const ended = observe(open.datastore)
    ended.end()
    ended[Symbol.dispose]()
    expect(await request('POST', '/dogs')).toBe(201)
    expect(exporter.getFinishedSpans().filter(({ name }) => name === 'COMMIT')).toHaveLength(1)
    expect(() => instrument({ tracer } as object)).toThrow('tracer')
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
