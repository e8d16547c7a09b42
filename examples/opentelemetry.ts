/** OpenTelemetry: spans of transactions, loads and projections, and metrics of the pool, conflicts and lag. */
import type { PrismaDatastore, ProjectionRunner } from 'eventsourcing-prisma'
import { type Instrumentation, instrument } from 'eventsourcing-prisma/opentelemetry'

/** Begins, for the providers that the process has registered. @returns what ends it */
export function observe(datastore: PrismaDatastore, runner?: ProjectionRunner): Instrumentation {
  const attributes = { 'db.namespace': 'kennel' } // what only you know of the database
  return instrument({ datastore, attributes, ...(runner === undefined ? {} : { runner }) })
}
