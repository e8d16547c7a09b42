/** What the browser of events is shown with: aggregates, a decider, personal data, and what follows from what. */
import {
  Aggregate,
  Application,
  defineDecider,
  defineProjection,
  event,
  on,
  type ProjectionDatastore,
  ProjectionRunner,
  withMetadata,
} from '../../src/index.js'

@event('Registered', 'name', 'owner')
export class Dog extends Aggregate {
  static readonly personal = { Registered: { owner: true } } as const
  static readonly snapshots = { every: 3 }
  readonly name: string
  owner: unknown
  readonly tricks: string[] = []

  constructor(name: string, owner: string) {
    super()
    this.name = name
    this.owner = owner
  }

  @event('TrickAdded', 'trick')
  addTrick(trick: string): void {
    this.tricks.push(trick)
  }
}

/** An account in whole cents. */
export const accounts = defineDecider({
  name: 'Account',
  initialState: () => ({ balance: 0 }),
  evolve: { Changed: (state, data: { readonly amount: number }) => ({ balance: state.balance + data.amount }) },
  decide: { change: (_state, amount: number) => [{ type: 'Changed', data: { amount } }] },
})

export class Kennel extends Application {
  /** A dog with three tricks; the second trick follows from the first. */
  async fill(name: string, owner: string): Promise<Dog> {
    const dog = new Dog(name, owner)
    const [first] = await withMetadata({ correlationId: 'request-1', user: 'ann' }, async () => await this.save(dog))
    const causationId = `${this.name}/${first?.notification?.id}`
    dog.addTrick('roll over')
    dog.addTrick('play dead')
    await withMetadata({ correlationId: 'request-1', causationId }, async () => await this.save(dog))
    dog.addTrick('fetch')
    await this.save(dog)
    return dog
  }
}

/** Two projections that fail on the trick `bite`: one is blocked by it, one puts it aside. */
export function failingRunner(application: Kennel, datastore: ProjectionDatastore): ProjectionRunner {
  const handlers = [
    on(Dog, 'TrickAdded', ({ data }) => {
      if ((data as { readonly trick: string }).trick === 'bite') throw new Error('no such trick')
    }),
  ]
  return new ProjectionRunner({
    application,
    datastore,
    poison: { attempts: 1, minMs: 10, maxMs: 20 },
    projections: [
      defineProjection({ name: 'tricks', on: handlers }),
      defineProjection({ name: 'lenient', onError: 'park', on: handlers }),
    ],
  })
}
