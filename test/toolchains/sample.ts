/** What each toolchain has to compile: every form of the decorators, with inheritance and rebuilding. */
import { Aggregate, Application, applies, defineEvent, event, NAMESPACE_URL, typed, uuid5 } from 'eventsourcing-prisma'

const Renamed = defineEvent('Renamed', typed<{ name: string }>())

@event('Registered', 'name')
class Dog extends Aggregate {
  static readonly topic: string = 'Dog'
  static createId(name: string): string {
    return uuid5(NAMESPACE_URL, `/dogs/${name}`)
  }
  name: string
  readonly tricks: string[] = []
  #weight = 0

  constructor(name: string) {
    super()
    this.name = name
  }

  get weight(): number {
    return this.#weight
  }

  @event('Weighed', 'weight') set weight(weight: number) {
    this.#weight = weight
  }

  @event('TrickAdded', 'trick') addTrick(trick: string): void {
    this.tricks.push(trick)
  }

  rename(name: string): void {
    this.trigger(Renamed, { name })
  }

  @applies(Renamed, 'name') protected whenRenamed(name: string): void {
    this.name = name
  }
}

class Puppy extends Dog {
  static override readonly topic: string = 'Puppy'

  override addTrick(trick: string): void {
    super.addTrick(`${trick} a little`)
  }
}

const school = new Application({ name: 'School', store: 'memory' })
const puppy = new Puppy('Fido')
puppy.addTrick('sit')
puppy.weight = 3
puppy.rename('Rex')
await school.save(puppy)
const copy = await school.repository.get(Puppy, Dog.createId('Fido'))
const topics = (await school.recorder.selectNotifications(null, 10)).map(({ topic }) => topic)
console.log(JSON.stringify([copy.name, copy.tricks, copy.weight, topics]))
