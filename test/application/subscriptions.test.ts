/** Subscriptions of an application beside each other: they share the reading of the log, and nothing that one of them could change. */
import { describe, expect, it } from 'vitest'
import { Aggregate, Application, event, isErased, type SubscribedEvent } from '../../src/index.js'

class Walk extends Aggregate {
  static readonly topic = 'Walk'
  static readonly personal = { Greeted: { by: true } } as const
  @event('Stepped', 'steps') step(_steps: number): void {}
  @event('Passed', 'places') pass(_places: string[]): void {}
  @event('Greeted', 'by') greet(_by: string): void {}
}

/** An application with the events 1 Created, 2 Stepped, 3 Passed, 4 Greeted. */
async function walked(): Promise<Application> {
  const app = new Application({ name: 'Walks' })
  const walk = new Walk()
  walk.step(3)
  walk.pass(['bridge', 'mill'])
  walk.greet('Ann')
  await app.save(walk)
  return app
}

async function firstOf(app: Application, count: number): Promise<SubscribedEvent[]> {
  const taken: SubscribedEvent[] = []
  for await (const each of app.subscribe()) {
    taken.push(each)
    if (taken.length === count) break
  }
  return taken
}

describe('two subscriptions', () => {
  it('give events of their own where one could change what is inside', async () => {
    const app = await walked()
    const both = [await firstOf(app, 3), await firstOf(app, 3)]
    const [places, others] = both.map((events) => (events[2]?.event.data as { places: string[] } | undefined)?.places)
    places?.push('river')
    expect(others).toEqual(['bridge', 'mill'])
    expect(Object.isFrozen(both[0]?.[1]?.event.data)).toBe(true)
  })

  it('show no personal data to whoever takes the event after the person was forgotten', async () => {
    const app = await walked()
    const subscription = app.subscribe()
    const iterator = subscription[Symbol.asyncIterator]()
    for (let n = 0; n < 3; n += 1) await iterator.next()
    const [before] = (await firstOf(app, 4)).slice(3)
    expect(before?.event.data).toEqual({ by: 'Ann' })
    await app.forget(before?.event.originatorId ?? '')
    // It is in a page that was read before.
    const { value } = await iterator.next()
    expect(isErased((value?.event.data as { by: unknown } | undefined)?.by)).toBe(true)
    await iterator.return?.()
  })
})

describe('a subscription', () => {
  it('gives events in order to those who ask for several at a time', async () => {
    const app = await walked()
    const subscription = app.subscribe()
    const iterator = subscription[Symbol.asyncIterator]()
    const asked = await Promise.all(Array.from({ length: 4 }, async () => (await iterator.next()).value))
    expect(asked.map((each) => each?.tracking.notificationId)).toEqual([1n, 2n, 3n, 4n])
    const waiting = iterator.next()
    subscription.stop()
    expect(await waiting).toEqual({ done: true, value: undefined })
  })

  it('gives nothing more of what it has read when its signal aborts', async () => {
    const app = await walked()
    const controller = new AbortController()
    const seen: bigint[] = []
    for await (const { notification } of app.subscribe({ signal: controller.signal })) {
      seen.push(notification.id)
      if (notification.id === 2n) controller.abort()
    }
    expect(seen).toEqual([1n, 2n])
  })
})
