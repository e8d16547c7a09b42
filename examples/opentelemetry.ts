/** Spans of OpenTelemetry for transactions: one for each that uses the database, with its statements as children. */
import { subscribe, type TracingChannelSubscribers, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { type Context, context, type Span, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api'
import type { FlushTrace, RollbackTrace, TracedTransaction, TransactionTrace } from 'eventsourcing-prisma'

const prefix = 'eventsourcing-prisma:transaction'

/** Makes spans of all datastores of this process. @returns what ends that */
export function traceTransactions(tracer: Tracer): () => void {
  const contexts = new WeakMap<TracedTransaction, Context>()
  const spans = new WeakMap<TracedTransaction, Span>()
  const statements = new WeakMap<TransactionTrace, Span>()

  // A transaction begins at its first statement, wherever that comes from. Its span belongs to where it was made.
  const opened = (message: unknown): void => {
    contexts.set((message as TransactionTrace).transaction, context.active())
  }
  const spanOf = (transaction: TracedTransaction): Span => {
    const { datastore, label = 'transaction', attempt } = transaction
    const attributes = { 'transaction.datastore': datastore, 'transaction.attempt': attempt }
    const span = spans.get(transaction) ?? tracer.startSpan(label, { attributes }, contexts.get(transaction))
    spans.set(transaction, span)
    return span
  }
  const ended = (message: unknown): void => {
    const { transaction } = message as TransactionTrace
    const span = spans.get(transaction)
    span?.setAttribute('transaction.state', transaction.state)
    // What is rolled back for its answer alone has no reason that could be recorded.
    if (transaction.state !== 'committed') span?.setStatus({ code: SpanStatusCode.ERROR })
    span?.end()
  }
  const statement = (name: string): TracingChannelSubscribers<TransactionTrace> => ({
    start(message) {
      const { transaction, events, tables } = message as FlushTrace // two of them undefined for what is no flush
      const parent = trace.setSpan(contexts.get(transaction) ?? context.active(), spanOf(transaction))
      const attributes = events === undefined ? {} : { 'flush.events': events, 'flush.tables': tables }
      statements.set(message, tracer.startSpan(name, { attributes }, parent))
    },
    error(message) {
      fail(statements.get(message), message.error)
    },
    asyncEnd(message) {
      const { transaction, reason } = message as RollbackTrace // undefined for what is no rollback
      if (reason !== undefined) fail(spans.get(transaction), reason)
      statements.get(message)?.end()
    },
    end() {},
    asyncStart() {},
  })

  const ends = ['begin', 'flush', 'commit', 'rollback'].map((name) => {
    const channel = tracingChannel<unknown, TransactionTrace>(`${prefix}.${name}`)
    const subscribers = statement(name)
    channel.subscribe(subscribers)
    return () => channel.unsubscribe(subscribers)
  })
  subscribe(`${prefix}.open`, opened)
  subscribe(`${prefix}.end`, ended)
  return () => {
    for (const end of ends) end()
    unsubscribe(`${prefix}.open`, opened)
    unsubscribe(`${prefix}.end`, ended)
  }
}

function fail(span: Span | undefined, error: unknown): void {
  span?.recordException(error instanceof Error ? error : String(error))
  span?.setStatus({ code: SpanStatusCode.ERROR })
}
