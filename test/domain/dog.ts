/** The aggregate that the tests of the domain layer share. */
import { Aggregate } from '../../src/domain/aggregate.js'
import { event } from '../../src/domain/event-decorator.js'
import { NAMESPACE_URL, uuid5 } from '../../src/domain/names.js'

@event('Registered', 'name')
export class Dog extends Aggregate {
  static readonly formerTopics = ['__main__:Dog']
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
