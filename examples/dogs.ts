/** The domain: no I/O, no promises. */
import { Aggregate, event, NAMESPACE_URL, uuid5 } from 'eventsourcing-prisma'

/** What the events have in them: the decorators are compared with it, and projections have it typed. */
interface DogEvents {
  Registered: { name: string }
  TrickAdded: { trick: string }
}

@event('Registered', 'name')
export class Dog extends Aggregate<DogEvents> {
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
