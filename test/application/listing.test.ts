/** The ids of a class: all of them, in order, whatever they were called before; in memory and on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, Application, event } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { accounts, Dog } from './dogs.js'

async function all(ids: AsyncIterable<string>): Promise<string[]> {
  const list: string[] = []
  for await (const id of ids) list.push(id)
  return list
}

class Hound extends Aggregate {
  static readonly topic = 'Hound'
  static readonly formerTopics = { Dog: 'Hound', 'Hound.Registered': 'Hound.Made' }
  static readonly events = {
    Made(this: Hound, { name }: { name: string }) {
      this.name = name
    },
    Barked() {},
  }
  name = ''
}

class Plain extends Aggregate {
  heard = ''
  @event('Heard', 'heard') hear(heard: string): void {
    this.heard = heard
  }
}

describe.each(oneOfEach)('the ids of a class on $name', (kind) => {
  let open: OpenDatabase
  let school: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new Application<unknown>({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  it('are given in the order of their creation, each once, page by page', async () => {
    expect(await all(school.aggregates(Dog))).toEqual([])
    const dogs = Array.from({ length: 250 }, (_, n) => new Dog(`Fido ${n}`))
    for (const dog of dogs) dog.addTrick('sit')
    const plain = new Plain()
    plain.hear('bark')
    await school.save(plain, ...dogs)
    await school.execute(accounts, dogs[0]?.id.replace(/.$/, '0') ?? '', 'open', 'Ann')
    expect(await all(school.aggregates(Dog))).toEqual(dogs.map(({ id }) => id))
    expect(await all(school.aggregates(Plain))).toEqual([plain.id])
    expect(await all(school.aggregates(accounts))).toHaveLength(1)
    expect(await all(school.aggregates(Hound))).toEqual(dogs.map(({ id }) => id))
    const made = Hound.create('Made', { name: 'Rex' })
    await school.save(made)
    expect((await all(school.aggregates(Hound))).at(-1)).toBe(made.id)
    for await (const id of school.aggregates(Dog)) {
      expect(id).toBe(dogs[0]?.id)
      break
    }
  })
})
