/** `npm run bench -- --subscriptions`: what a save costs while subscriptions of the same process follow its log, on PostgreSQL. */
import { parseArgs } from 'node:util'
import { Aggregate, Application, type ApplicationSubscription, event, PrismaDatastore } from 'eventsourcing-prisma'
import { databasesOf, type TestDatabaseKind } from '../test/support/databases.js'
import { median } from './measure.js'

const { values } = parseArgs({
  options: {
    subscriptions: { type: 'boolean' },
    rounds: { type: 'string', default: '3' },
    saves: { type: 'string', default: '200' },
    crowd: { type: 'string', default: '10000' },
  },
})
const [rounds, saves, crowd] = [Number(values.rounds), Number(values.saves), Number(values.crowd)]
const sizes = [0, 1, 30, 300]
const warmUp = 20

class Walk extends Aggregate {
  steps = 0
  @event('Stepped', 'steps') step(steps: number): void {
    this.steps += steps
  }
}

/** Subscriptions that have come to the end of the log, and wait there. */
class Followers {
  readonly #subscriptions: ApplicationSubscription[] = []
  readonly #ends: Array<Promise<void>> = []
  #delivered = 0

  constructor(application: Application, gt: bigint | null, count: number) {
    for (let n = 0; n < count; n += 1) {
      const subscription = application.subscribe({ gt })
      this.#subscriptions.push(subscription)
      this.#ends.push(this.#follow(subscription))
    }
  }

  /** Waits until each has delivered so many events. */
  async delivered(events: number): Promise<void> {
    const awaited = events * this.#subscriptions.length
    while (this.#delivered < awaited) await new Promise((resolve) => setTimeout(resolve, 5))
  }

  async stop(): Promise<void> {
    for (const subscription of this.#subscriptions) subscription.stop()
    await Promise.all(this.#ends)
  }

  async #follow(subscription: ApplicationSubscription): Promise<void> {
    for await (const _ of subscription) this.#delivered += 1
  }
}

/** The milliseconds that each of some saves takes, one after the other. */
async function timesOf(application: Application, count: number): Promise<number[]> {
  const times: number[] = []
  for (let n = 0; n < count + warmUp; n += 1) {
    const start = performance.now()
    await application.save(new Walk())
    if (n >= warmUp) times.push(performance.now() - start)
  }
  return times
}

async function bench(kind: TestDatabaseKind): Promise<void> {
  const database = await kind.createDatabase()
  const datastore = new PrismaDatastore({ adapter: database.adapter() })
  const application = new Application({ name: '', datastore })
  try {
    const times = new Map<number, number[]>(sizes.map((size) => [size, []]))
    for (let round = 0; round < rounds; round += 1) {
      for (const size of sizes) {
        const followers = new Followers(application, await application.recorder.maxNotificationId(), size)
        times.get(size)?.push(...(await timesOf(application, saves)))
        await followers.delivered(saves + warmUp)
        await followers.stop()
      }
    }
    const alone = median(times.get(0) ?? [])
    console.table(
      [...times].map(([subscriptions, each]) => ({
        subscriptions,
        'ms per save': median(each).toFixed(2),
        ratio: (median(each) / alone).toFixed(2),
      })),
    )
    const followers = new Followers(application, await application.recorder.maxNotificationId(), crowd)
    // Until they have come to the end of the log, they are not idle.
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    const start = performance.now()
    await application.save(new Walk())
    const saved = performance.now() - start
    await followers.delivered(1)
    const delivered = performance.now() - start
    await followers.stop()
    console.log(`${crowd} idle: a save took ${saved.toFixed(1)} ms, all had its event after ${delivered.toFixed(0)} ms`)
  } finally {
    await datastore.close()
    await database.drop()
  }
}

for (const kind of databasesOf('postgresql')) await bench(kind)
