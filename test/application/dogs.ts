/** The aggregates and applications that these tests are about. */

import { Application } from '../../src/application/application.js'
import { Aggregate } from '../../src/domain/aggregate.js'
import { defineDecider } from '../../src/domain/decider.js'
import { event } from '../../src/domain/event-decorator.js'
import { NAMESPACE_URL, uuid5 } from '../../src/domain/names.js'
import type { Recording } from '../../src/persistence/event-store.js'

@event('Registered', 'name')
export class Dog extends Aggregate {
  readonly name: string
  readonly tricks: string[] = []

  constructor(name: string) {
    super()
    this.name = name
  }

  static createId(name: string): string {
    return uuid5(NAMESPACE_URL, `/dogs/${name}`)
  }

  @event('TrickAdded', 'trick')
  addTrick(trick: string): void {
    this.tricks.push(trick)
  }
}

export class TrainingSchool extends Application {
  async register(name: string): Promise<Recording[]> {
    return await this.save(new Dog(name))
  }

  async addTrick(name: string, trick: string): Promise<Recording[]> {
    const dog = await this.repository.get(Dog, Dog.createId(name))
    dog.addTrick(trick)
    return await this.save(dog)
  }

  async getTricks(name: string): Promise<readonly string[]> {
    return (await this.repository.get(Dog, Dog.createId(name))).tricks
  }
}

/** A bank account in whole cents, as a decider. */
export const accounts = defineDecider({
  name: 'Account',
  initialState: () => ({ balance: 0, isOpen: false }),
  evolve: {
    Opened: (_state, _data: { readonly owner: string }) => ({ balance: 0, isOpen: true }),
    Changed: (state, data: { readonly amount: number }) => ({ ...state, balance: state.balance + data.amount }),
  },
  decide: {
    open: (state, owner: string) => (state.isOpen ? [] : [{ type: 'Opened', data: { owner } }]),
    change: (state, amount: number) => {
      if (state.balance + amount < 0) throw new RangeError('insufficient funds')
      return [{ type: 'Changed', data: { amount } }]
    },
  },
})
