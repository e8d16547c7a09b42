/** Dogs of a training school as a class: their ids follow from their names. */
import { Aggregate, event, NAMESPACE_URL, uuid5 } from 'eventsourcing-prisma'

@event('Registered', 'name')
export class Dog extends Aggregate {
  readonly name: string
  readonly tricks: string[] = []

  static createId(name: string): string {
    return uuid5(NAMESPACE_URL, `/dogs/${name}`)
  }

  constructor(name: string) {
    super()
    this.name = name
  }

  @event('TrickAdded', 'trick') addTrick(trick: string): void {
    if (this.tricks.includes(trick)) throw new Error(`${this.name} knows how to ${trick}`)
    this.tricks.push(trick)
  }
}
