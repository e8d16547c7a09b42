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

const timerChannels: Readonly<Record<'fired' | 'retry' | 'parked', Channel>> = {
  fired: channel('eventsourcing-prisma:timer.fired'),
  retry: channel('eventsourcing-prisma:timer.retry'),
  parked: channel('eventsourcing-prisma:timer.parked'),
}

/** The same for timers: `fired` with how many, `retry` and `parked` with one. */
export function publishTimer(name: keyof typeof timerChannels, trace: Readonly<Record<string, unknown>>): void {
  if (timerChannels[name].hasSubscribers) timerChannels[name].publish(trace)
}

/** Publishes, where anybody listens: `batch`, `retry`, `blocked`, `parked` or `lease`, with what belongs to it. */
export function publish(name: keyof typeof channels, trace: ProjectionTrace & Readonly<Record<string, unknown>>): void {
  if (channels[name].hasSubscribers) channels[name].publish(trace)
}
