/** The domain: no I/O, no promises. */
import { Aggregate, event, NAMESPACE_URL, uuid5 } from 'eventsourcing-prisma'

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
