/** OpenTelemetry: spans and metrics made of what the package publishes and counts. */
import { subscribe, type TracingChannelSubscribers, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import {
  type Attributes,
  type Context,
  context,
  diag,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import { anything, checkOptions } from '../src/checked-options.js'
import type {
  ConflictTrace,
  DatastoreStats,
  FlushTrace,
  LoadTrace,
  ProjectionRunnerStats,
  RetryTrace,
  RollbackTrace,
  TracedTransaction,
  TransactionTrace,
} from '../src/index.js'

/** What is measured of a datastore; a `PrismaDatastore` is one. */
export interface MeasuredDatastore {
  /** Its name in messages. */
  readonly name: string
  /** What its transactions have come to. */
  readonly stats: DatastoreStats
}

/** What is measured of a runner; a `ProjectionRunner` is one. */
export interface MeasuredRunner {
  /** The log that it follows. */
  readonly upstream: string
  /** What it has done, by the names of the projections. */
  readonly stats: ProjectionRunnerStats
  /** The last position of the log. */
  end(): Promise<bigint>
  /** How far the least of these projections has come, in whatever process. */
  positionOf(names: readonly string[]): Promise<bigint>
}

/** What is instrumented, and where that goes. */
export interface InstrumentOptions {
  /** One or several: metrics are theirs, and spans of transactions too. Default: spans of all datastores of the process, and no metrics of one. */
  readonly datastore?: MeasuredDatastore | readonly MeasuredDatastore[]
  /** One or several whose projections have metrics. Spans are of all projections of the process. */
  readonly runner?: MeasuredRunner | readonly MeasuredRunner[]
  /** Whose spans they are; default: the global one. */
  readonly tracerProvider?: TracerProvider
  /** Whose metrics they are; default: the global one. */
  readonly meterProvider?: MeterProvider
  /** What only you know of the database, on all of its spans and metrics: `db.namespace`, `server.address`. */
  readonly attributes?: Attributes
}

/** What `instrument` has begun. */
export interface Instrumentation extends Disposable {
  /** Ends it: no more spans, no more metrics. */
  end(): void
}

const scope = 'eventsourcing-prisma'
const prefix = 'eventsourcing-prisma:transaction'

/** The statements of a transaction that have spans, by the names of their channels, and what they are called there. */
const operations = { begin: 'BEGIN', flush: 'INSERT', commit: 'COMMIT', rollback: 'ROLLBACK' } as const

/**
 * Makes spans of transactions, their statements, loads and batches of projections, and metrics of datastores and runners. Spans of transactions
 * are below the span that is active where the transaction is made: that of the request, where HTTP is instrumented. Call it once.
 *
 * @returns what ends it, also by `using`
 * @throws `ProgrammingError` for options that there are not
 * @see https://opentelemetry.io/docs/specs/semconv/database/
 *
 * @example
 * const telemetry = instrument({ datastore, runner })
 */
export function instrument(options: InstrumentOptions = {}): Instrumentation {
  checkOptions('instrument the package', options, {
    datastore: anything,
    runner: anything,
    tracerProvider: anything,
    meterProvider: anything,
    attributes: anything,
  })
  const tracer = (options.tracerProvider ?? trace).getTracer(scope)
  const meter = (options.meterProvider ?? metrics).getMeter(scope)
  const datastores = [options.datastore ?? []].flat()
  const runners = [options.runner ?? []].flat()
  const names = new Set(datastores.map(({ name }) => name))
  const isMine = ({ datastore }: TracedTransaction): boolean => names.size === 0 || names.has(datastore)
  const { attributes = {} } = options
  const ends = [
    ...new TransactionSpans({ tracer, meter, attributes, isMine }).listen(),
    traceLoads(tracer),
    ...traceProjections(tracer),
    measureDatastores(meter, datastores, attributes),
    measureRunners(meter, runners),
  ]
  const end = (): void => {
    for (const each of ends.splice(0)) each()
  }
  return { end, [Symbol.dispose]: end }
}

type End = () => void

function listen<Message>(name: string, listener: (message: Message) => void): End {
  // What is published there is documented.
  const called = (message: unknown): void => listener(message as Message)
  subscribe(name, called)
  return () => void unsubscribe(name, called)
}

function listenAround<Message extends object>(
  name: string,
  around: { start(message: Message): void; error(message: Message): void; asyncEnd(message: Message): void },
): End {
  const traced = tracingChannel<unknown, Message>(name)
  const subscribers: TracingChannelSubscribers<Message> = {
    start: (message) => around.start(message),
    error: (message) => around.error(message),
    asyncEnd: (message) => around.asyncEnd(message),
    end() {},
    asyncStart() {},
  }
  traced.subscribe(subscribers)
  return () => traced.unsubscribe(subscribers)
}

interface TransactionsTracing {
  readonly tracer: Tracer
  readonly meter: Meter
  readonly attributes: Attributes
  readonly isMine: (transaction: TracedTransaction) => boolean
}

/** The spans of transactions, and of their statements. */
class TransactionSpans {
  readonly #options: TransactionsTracing
  readonly #contexts = new WeakMap<TracedTransaction, Context>()
  readonly #spans = new WeakMap<TracedTransaction, Span>()
  readonly #statements = new WeakMap<TransactionTrace, { readonly span: Span; readonly begunMs: number }>()
  readonly #durations: Histogram

  constructor(options: TransactionsTracing) {
    this.#options = options
    this.#durations = options.meter.createHistogram('db.client.operation.duration', {
      unit: 's',
      description: 'Duration of BEGIN, the flush of events, COMMIT and ROLLBACK.',
    })
  }

  listen(): readonly End[] {
    return [
      ...Object.entries(operations).map(([name, operation]) => this.#listenToStatement(name, operation)),
      listen<TransactionTrace>(`${prefix}.open`, ({ transaction }) =>
        this.#contexts.set(transaction, context.active()),
      ),
      listen<RetryTrace>(`${prefix}.retry`, ({ transaction, error }) =>
        this.#spans.get(transaction)?.addEvent('retry', { 'error.type': typeOf(error) }),
      ),
      listen<ConflictTrace>(`${prefix}.conflict`, ({ transaction, originatorId, expectedVersion, actualVersion }) => {
        if (transaction === undefined) return
        this.#spans.get(transaction)?.addEvent('conflict', {
          'eventsourcing_prisma.originator.id': originatorId,
          'eventsourcing_prisma.expected_version': expectedVersion,
          ...(actualVersion === undefined ? {} : { 'eventsourcing_prisma.actual_version': actualVersion }),
        })
      }),
      listen<TransactionTrace>(`${prefix}.end`, ({ transaction }) => {
        const span = this.#spans.get(transaction)
        span?.setAttribute('eventsourcing_prisma.transaction.state', transaction.state)
        // What is rolled back for its answer alone has no reason that could be recorded.
        if (transaction.state !== 'committed') span?.setStatus({ code: SpanStatusCode.ERROR })
        span?.end()
      }),
    ]
  }

  #listenToStatement(name: string, operation: string): End {
    return listenAround<TransactionTrace>(`${prefix}.${name}`, {
      start: (message) => this.#begun(message, operation),
      error: (message) => fail(this.#statements.get(message)?.span, message.error),
      asyncEnd: (message) => this.#ended(message, operation),
    })
  }

  #begun(message: TransactionTrace, operation: string): void {
    const { transaction, events, tables } = message as FlushTrace // two of them undefined for what is no flush
    const { tracer, isMine } = this.#options
    if (!isMine(transaction)) return
    const parent = trace.setSpan(this.#contexts.get(transaction) ?? context.active(), this.#spanOf(transaction))
    const attributes = {
      ...this.#attributesOf(transaction, operation),
      ...(events === undefined ? {} : { 'db.operation.batch.size': events, 'eventsourcing_prisma.tables': tables }),
    }
    const span = tracer.startSpan(operation, { kind: SpanKind.CLIENT, attributes }, parent)
    this.#statements.set(message, { span, begunMs: performance.now() })
  }

  #ended(message: TransactionTrace, operation: string): void {
    const { transaction, reason, error } = message as RollbackTrace // undefined for what is no rollback
    if (reason !== undefined) fail(this.#spans.get(transaction), reason)
    const begun = this.#statements.get(message)
    if (begun === undefined) return
    begun.span.end()
    const failed = error === undefined ? {} : { 'error.type': typeOf(error) }
    const seconds = (performance.now() - begun.begunMs) / 1_000
    this.#durations.record(seconds, { ...this.#attributesOf(transaction, operation), ...failed })
  }

  /** A transaction begins at its first statement, wherever that comes from. Its span belongs to where it was made. */
  #spanOf(transaction: TracedTransaction): Span {
    const known = this.#spans.get(transaction)
    if (known !== undefined) return known
    const { datastore, system, label = 'transaction', attempt, readOnly } = transaction
    const attributes = {
      ...this.#options.attributes,
      'db.system.name': system,
      'eventsourcing_prisma.datastore': datastore,
      'eventsourcing_prisma.transaction.attempt': attempt,
      'eventsourcing_prisma.transaction.read_only': readOnly,
    }
    const span = this.#options.tracer.startSpan(label, { attributes }, this.#contexts.get(transaction))
    this.#spans.set(transaction, span)
    return span
  }

  #attributesOf({ system }: TracedTransaction, operation: string): Attributes {
    return { ...this.#options.attributes, 'db.system.name': system, 'db.operation.name': operation }
  }
}

function traceLoads(tracer: Tracer): End {
  const spans = new WeakMap<LoadTrace, Span>()
  return listenAround<LoadTrace>('eventsourcing-prisma:repository.load', {
    start(message) {
      const { name, originatorId, version } = message
      const attributes = {
        'eventsourcing_prisma.originator.id': originatorId,
        ...(version === undefined ? {} : { 'eventsourcing_prisma.version': version }),
      }
      spans.set(message, tracer.startSpan(`load ${name}`, { attributes }))
    },
    error: (message) => fail(spans.get(message), message.error),
    asyncEnd: (message) => spans.get(message)?.end(),
  })
}

/** Each message of the channels of projections; which members there are depends on the channel. */
interface ProjectionMessage {
  readonly projection: string
  readonly version: number
  readonly partition: number
  readonly from?: bigint
  readonly to?: bigint
  readonly events?: number
  readonly durationMs?: number
  readonly position?: bigint
  readonly error?: unknown
}

function traceProjections(tracer: Tracer): readonly End[] {
  // The channel publishes each of them when it is over.
  return (['batch', 'retry', 'blocked', 'parked'] as const).map((name) =>
    listen<ProjectionMessage>(`eventsourcing-prisma:projection.${name}`, (message) => {
      const { projection, version, partition, from, to, events, durationMs = 0, position, error } = message
      const given = { from, to, position }
      const attributes: Attributes = {
        'eventsourcing_prisma.projection.name': projection,
        'eventsourcing_prisma.projection.version': version,
        'eventsourcing_prisma.projection.partition': partition,
        ...(events === undefined ? {} : { 'messaging.batch.message_count': events }),
      }
      for (const [member, value] of Object.entries(given)) {
        if (value !== undefined) attributes[`eventsourcing_prisma.projection.${member}`] = String(value)
      }
      const endTime = Date.now()
      const span = tracer.startSpan(
        `${name} ${projection}`,
        { kind: SpanKind.CONSUMER, attributes, startTime: endTime - durationMs, root: true },
        context.active(),
      )
      if (name !== 'batch') fail(span, error)
      span.end(endTime)
    }),
  )
}

/** What is counted of a datastore: the name of the metric, and its member of `stats`. */
const counted = [
  ['conflicts', '{conflict}', 'conflicts', "Writes of events that came after another writer's."],
  ['retries', '{attempt}', 'retries', 'Attempts that were made again.'],
  ['timeouts', '{transaction}', 'timeouts', 'Deadlines that have passed.'],
  ['overloads', '{transaction}', 'overloads', 'Transactions for which there was no connection in time.'],
  ['escapes', '{call}', 'escapes', 'What has passed by a transaction, or outlived it.'],
  ['flushes', '{flush}', 'flushes', 'How often pending events were written.'],
  ['events', '{event}', 'flushedEvents', 'Events that were written in transactions.'],
] as const

function measureDatastores(meter: Meter, datastores: readonly MeasuredDatastore[], attributes: Attributes): End {
  if (datastores.length === 0) return () => undefined
  const counters = counted.map(([name, unit, member, description]) => ({
    member,
    counter: meter.createObservableCounter(`eventsourcing_prisma.${name}`, { unit, description }),
  }))
  const transactions = meter.createObservableCounter('eventsourcing_prisma.transactions', {
    unit: '{transaction}',
    description: 'Transactions that have ended, by their outcome.',
  })
  const gauges = [
    ['db.client.connection.pending_requests', '{request}', (stats: DatastoreStats) => stats.waiting],
    ['eventsourcing_prisma.transactions.open', '{transaction}', (stats: DatastoreStats) => stats.open],
    ['eventsourcing_prisma.log.unsettled', '{event}', (stats: DatastoreStats) => stats.unsettled],
    ['eventsourcing_prisma.log.unsettled_time', 's', (stats: DatastoreStats) => stats.unsettledMs / 1_000],
  ] as const
  const observed = gauges.map(([name, unit, valueOf]) => ({
    valueOf,
    gauge: meter.createObservableUpDownCounter(name, { unit }),
  }))
  const instruments = [...counters.map(({ counter }) => counter), transactions, ...observed.map(({ gauge }) => gauge)]
  const callback: Parameters<Meter['addBatchObservableCallback']>[0] = (result) => {
    for (const { name, stats } of datastores) {
      const own = { ...attributes, 'db.client.connection.pool.name': name }
      for (const { member, counter } of counters) result.observe(counter, stats[member], own)
      for (const { valueOf, gauge } of observed) result.observe(gauge, valueOf(stats), own)
      for (const outcome of ['committed', 'rolledBack', 'commitUnknown'] as const) {
        result.observe(transactions, stats[outcome], { ...own, outcome })
      }
    }
  }
  meter.addBatchObservableCallback(callback, instruments)
  return () => meter.removeBatchObservableCallback(callback, instruments)
}

function measureRunners(meter: Meter, runners: readonly MeasuredRunner[]): End {
  if (runners.length === 0) return () => undefined
  const lag = meter.createObservableGauge('eventsourcing_prisma.projection.lag', {
    unit: '{event}',
    description: 'Positions from the last processed one to the end of the log.',
  })
  const blocked = meter.createObservableGauge('eventsourcing_prisma.projection.blocked', {
    description: 'Whether an event keeps the projection from going on.',
  })
  const counters = (['events', 'batches', 'retries', 'parked'] as const).map((member) => ({
    member,
    counter: meter.createObservableCounter(`eventsourcing_prisma.projection.${member}`, { unit: `{${member}}` }),
  }))
  const instruments = [lag, blocked, ...counters.map(({ counter }) => counter)]
  const callback: Parameters<Meter['addBatchObservableCallback']>[0] = async (result) => {
    for (const runner of runners) {
      for (const [name, progress] of Object.entries(runner.stats)) {
        const own = { 'eventsourcing_prisma.projection.name': name, 'eventsourcing_prisma.log': runner.upstream }
        const behind = await lagOf(runner, name)
        if (behind !== undefined) result.observe(lag, behind, own)
        result.observe(blocked, progress.state === 'blocked' ? 1 : 0, own)
        for (const { member, counter } of counters) result.observe(counter, progress[member], own)
      }
    }
  }
  meter.addBatchObservableCallback(callback, instruments)
  return () => meter.removeBatchObservableCallback(callback, instruments)
}

/** Undefined while the database does not answer: the other metrics are there all the same. */
async function lagOf(runner: MeasuredRunner, name: string): Promise<number | undefined> {
  try {
    const position = await runner.positionOf([name])
    const end = await runner.end()
    return Number(end > position ? end - position : 0n)
  } catch (error) {
    diag.warn(`eventsourcing-prisma: the lag of ${name} behind ${runner.upstream} could not be read`, error)
    return undefined
  }
}

function fail(span: Span | undefined, error: unknown): void {
  span?.recordException(error instanceof Error ? error : String(error))
  span?.setAttribute('error.type', typeOf(error))
  span?.setStatus({ code: SpanStatusCode.ERROR })
}

/** The code of an error of this package or of a driver, else its name. */
function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER'
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
