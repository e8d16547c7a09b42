/** The work done by this library: by an application, its repository and an aggregate. */
import { Aggregate, Application, ConcurrencyError, event, PrismaDatastore } from 'eventsourcing-prisma'
import { type Contender, pageSize, trick } from './contender.js'

type Adapter = ConstructorParameters<typeof PrismaDatastore>[0]['adapter']

@event('Registered', 'name')
class Dog extends Aggregate {
  readonly tricks: string[] = []
  readonly name: string

  constructor(name: string) {
    super()
    this.name = name
  }

  @event('TrickAdded', 'trick')
  add(added: string): void {
    this.tricks.push(added)
  }
}

/** Makes the tables, too. */
export async function ours(adapter: Adapter, name: string = 'eventsourcing-prisma'): Promise<Contender> {
  const datastore = new PrismaDatastore({ adapter })
  const application = new Application({ name: '', datastore, env: { CREATE_TABLE: 'yes' } })
  const store = await application.eventStore()
  const add = async (id: string): Promise<void> => {
    const dog = await application.repository.get(Dog, id)
    dog.add(trick)
    await application.save(dog)
  }
  return {
    name,
    async create(events) {
      const dog = new Dog('Rex')
      while (dog.version < events) dog.add(trick)
      await application.save(dog)
      return dog.id
    },
    get: async (id) => (await application.repository.get(Dog, id)).version,
    async command(id, inTransaction) {
      try {
        if (inTransaction) await datastore.transaction(async () => await add(id))
        else await add(id)
        return true
      } catch (error) {
        if (error instanceof ConcurrencyError) return false
        throw error
      }
    },
    async readLog(events) {
      let count = 0
      for (let start = 1n; ; ) {
        const page = await application.recorder.selectNotifications(start, pageSize)
        for (const { topic, timestamp } of await store.toDomainEvents(page)) {
          if (topic !== '' && timestamp.iso !== '') count += 1
        }
        const last = page.at(-1)
        if (last === undefined || page.length < pageSize || count >= events) return count
        start = last.id + 1n
      }
    },
    async follow(events) {
      let count = 0
      for await (const { event: followed } of application.subscribe()) {
        if (followed.topic !== '') count += 1
        if (count === events) return
      }
    },
    close: async () => await datastore.close(),
  }
}
