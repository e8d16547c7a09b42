/** What runners publish: diagnostics channels, for who wants to measure or to be told. */
import { type Channel, channel } from 'node:diagnostics_channel'

/** What happened in a projection. */
export interface ProjectionTrace {
  readonly projection: string
  readonly version: number
  readonly partition: number
}

const channels: Readonly<Record<'batch' | 'retry' | 'blocked' | 'parked' | 'lease', Channel>> = {
  batch: channel('eventsourcing-prisma:projection.batch'),
  retry: channel('eventsourcing-prisma:projection.retry'),
  blocked: channel('eventsourcing-prisma:projection.blocked'),
  parked: channel('eventsourcing-prisma:projection.parked'),
  lease: channel('eventsourcing-prisma:projection.lease'),
}

/** Publishes, where anybody listens: `batch`, `retry`, `blocked`, `parked` or `lease`, with what belongs to it. */
export function publish(name: keyof typeof channels, trace: ProjectionTrace & Readonly<Record<string, unknown>>): void {
  if (channels[name].hasSubscribers) channels[name].publish(trace)
}
