/** Handlers of timers, for reactions. */
import { ProgrammingError } from '../errors.js'
import type { FiredTimer, ProjectionHandler, TimerHandler } from './handlers.js'

/** A handler of timers, in `on` of a reaction. */
export interface TimedHandler extends ProjectionHandler {
  readonly timer: TimerHandler
}

/**
 * Handles the timers of one topic that `application.timers.set` has set, when they are due. It stands in `on: [...]` of a reaction. In one
 * transaction the timer is deleted and the handler is run: what it saves and writes is stored exactly once. Where it fails, the timer is tried
 * again as events are, and put aside in the end; others do not wait for it.
 *
 * @typeParam Data - what the timers of this topic are set with
 *
 * @example
 * onTimer<{ order: string }>('payment is late', async ({ data }) => await shop.execute(fulfilment, data.order, 'giveUp'))
 */
export function onTimer<Data = unknown>(topic: string, handle: (timer: FiredTimer<Data>) => unknown): TimedHandler {
  if (typeof topic !== 'string' || topic === '' || typeof handle !== 'function') {
    throw new ProgrammingError('Could not make a handler of timers: onTimer() takes a topic and a function.')
  }
  return {
    topics: [],
    read: () => undefined,
    handle: () => undefined,
    timer: { topic, handle: handle as TimerHandler['handle'] }, // whoever sets them gives such data
  }
}

/**
 * The handlers of timers among others, and the rest.
 *
 * @throws `ProgrammingError` where two take one topic
 */
export function withoutTimers(
  name: string,
  handlers: readonly ProjectionHandler[],
): { readonly events: readonly ProjectionHandler[]; readonly timers: readonly TimerHandler[] } {
  const timed = handlers.filter((handler) => handler.timer !== undefined)
  const timers = timed.flatMap(({ timer }) => (timer === undefined ? [] : [timer]))
  const topics = timers.map(({ topic }) => topic)
  const twice = topics.find((topic, index) => topics.indexOf(topic) !== index)
  if (twice === undefined) return { events: handlers.filter(({ timer }) => timer === undefined), timers }
  throw new ProgrammingError(
    `Could not define the reaction '${name}': two of its handlers take the timers of '${twice}'. Give each timer one handler.`,
  )
}
