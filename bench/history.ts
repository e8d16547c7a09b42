/** What a long history costs: an aggregate of 100,000 events with snapshots, beside those of 100 events. */
import { Aggregate, Application, event, type PrismaDatastore } from 'eventsourcing-prisma'
import { medians, type Result, type Timed } from './measure.js'

class Counter extends Aggregate {
  total = 0
  readonly last: string[] = []
  @event('Counted', 'by', 'text') count(by: number, text: string): void {
    this.total += by
    if (this.last.push(text) > 10) this.last.shift()
  }
}

class CounterWithSnapshots extends Counter {
  static readonly snapshots = { every: 100, keep: 2 }
}

const saveSize = 1_000

/** Loads each as often, in turns. */
export async function runHistory(datastore: PrismaDatastore, rounds: number): Promise<Result> {
  const application = new Application({ name: 'History', datastore, env: { CREATE_TABLE: 'yes' } })
  const grown = async (counterClass: typeof Counter, events: number): Promise<string> => {
    const counter = new counterClass()
    while (counter.version < events) {
      const until = Math.min(events, counter.version + saveSize)
      while (counter.version < until) counter.count(counter.version, 'x'.repeat(100))
      await application.save(counter)
    }
    return counter.id
  }
  const timed = async (counterClass: typeof Counter, events: number, contender: string): Promise<Timed> => {
    const id = await grown(counterClass, events)
    return {
      contender,
      work: async () => {
        const { version } = await application.repository.get(counterClass, id)
        if (version !== events) throw new Error(`${contender} was loaded at version ${version}`)
      },
    }
  }
  const contenders = [
    await timed(Counter, 100, '100 events'),
    await timed(CounterWithSnapshots, 150, '150, snapshots'),
    await timed(CounterWithSnapshots, 100_050, '100,050, snapshots'),
  ]
  return { workload: 'load with a history', medians: await medians(rounds, contenders) }
}
