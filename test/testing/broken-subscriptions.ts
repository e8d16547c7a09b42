/** Recorders whose subscriptions break one promise each. */
import {
  InMemoryApplicationRecorder,
  type Notification,
  type SubscribeOptions,
  type Subscription,
} from '../../src/index.js'

type Follow = (
  options: SubscribeOptions,
  inner: (options: SubscribeOptions) => Subscription<Notification>,
) => Subscription<Notification>

class Subscribed extends InMemoryApplicationRecorder {
  follow: Follow = (options, inner) => inner(options)
  override subscribe(options: SubscribeOptions = {}): Subscription<Notification> {
    return this.follow(options, (asked) => super.subscribe(asked))
  }
}

const subscribed = (follow: (recorder: InMemoryApplicationRecorder) => Follow) => (): Subscribed => {
  const recorder = new Subscribed()
  return Object.assign(recorder, { follow: follow(recorder) })
}

/** A subscription with another iteration. */
function iterating(
  inner: Subscription<Notification>,
  iterate: () => AsyncGenerator<Notification, void>,
): Subscription<Notification> {
  return {
    // What a generator returns without saying so is undefined.
    [Symbol.asyncIterator]: () => iterate() as AsyncIterator<Notification, undefined>,
    pages: () => inner.pages(),
    stop: () => inner.stop(),
    [Symbol.asyncDispose]: async () => await inner[Symbol.asyncDispose](),
  }
}

/** What is in the log now, whatever is asked of the subscription. */
async function* history(
  recorder: InMemoryApplicationRecorder,
  { gt = null, topics = [] }: SubscribeOptions,
): AsyncGenerator<Notification, void> {
  yield* await recorder.selectNotifications(gt, 10_000, { topics, inclusiveOfStart: false })
}

/** Break the promises of subscriptions. */
export const brokenSubscriptions: Record<string, () => InMemoryApplicationRecorder> = {
  'gives pages that end with their last item': subscribed(() => (options, inner) => {
    const subscription = inner(options)
    return Object.assign(subscription, {
      async *pages() {
        for await (const item of subscription) yield { items: [item], end: item.id }
      },
    })
  }),

  'delivers events again': subscribed(() => (options, inner) => {
    const subscription = inner(options)
    return iterating(subscription, async function* () {
      for await (const notification of subscription) {
        yield notification
        yield notification
      }
    })
  }),
  'begins at the beginning always': subscribed(() => (options, inner) => inner({ ...options, gt: null })),
  'begins at the end': subscribed((recorder) => (options, inner) => {
    const subscription = inner(options)
    return iterating(subscription, async function* () {
      const end = await recorder.maxNotificationId()
      if (options.gt === undefined || options.gt === null) yield* history(recorder, { ...options, gt: end })
      else yield* history(recorder, options)
    })
  }),
  'loses the filter by topic': subscribed(() => (options, inner) => inner({ ...options, topics: [] })),
  'ends with its history': subscribed((recorder) => (options, inner) => {
    const subscription = inner(options)
    return iterating(subscription, () => history(recorder, options))
  }),
  'delivers one event after its end': subscribed(() => (options, inner) => {
    const subscription = inner(options)
    return iterating(subscription, async function* () {
      for await (const notification of subscription) yield notification
      yield {
        id: 100n,
        recordedAt: new Date(),
        originatorId: '',
        originatorVersion: 1,
        topic: '',
        state: new Uint8Array(),
      }
    })
  }),
}
