/** Aggregates without decorators: `static events`, `create` and `trigger`, in TypeScript and in plain JavaScript. */
import { describe, expect, it } from 'vitest'
import { Aggregate, type AggregateClass, type EventHandlers } from '../../src/domain/aggregate.js'
import { event } from '../../src/domain/event-decorator.js'
import { NAMESPACE_URL, uuid5 } from '../../src/domain/names.js'
import { rebuild } from '../../src/domain/rebuild.js'
import { Dog } from './dog.js'

interface CatEvents {
  Registered: { name: string }
  Fed: { food: string; grams?: number }
  Slept: object
}

class Cat extends Aggregate<CatEvents> {
  name = ''
  #eaten: string[] = []

  static events: EventHandlers<Cat, CatEvents> = {
    Registered({ name }) {
      this.name = name
    },
    Fed({ food }) {
      if (food === '') throw new Error('cats want food')
      this.#eaten.push(food)
    },
    Slept() {
      this.#eaten = []
    },
  }

  get eaten(): readonly string[] {
    return this.#eaten
  }

  static register(name: string): Cat {
    return Cat.create('Registered', { name })
  }

  feed(food: string): void {
    this.trigger('Fed', { food })
  }

  sleep(): void {
    this.trigger('Slept', {})
  }

  misuse(): void {
    // @ts-expect-error there is no such event
    this.trigger('Barked', {})
    // @ts-expect-error the food is missing
    this.trigger('Fed', {})
  }
}

interface PlainDog extends Aggregate {
  readonly name: string
  readonly tricks: string[]
  readonly taught: number
  addTrick(trick: string): void
  train(tricks: string[], by: string): void
}

type PlainDogClass = AggregateClass<PlainDog> & { register(name: string): PlainDog }

async function plainDog(): Promise<PlainDogClass> {
  const fixture: unknown = await import(new URL('./fixtures/plain-dog.js', import.meta.url).href)
  const { defineDog } = fixture as { readonly defineDog: (library: object) => PlainDogClass } // it has no types
  return defineDog({ Aggregate, uuid5, NAMESPACE_URL })
}

describe('static events in TypeScript', () => {
  it('create, change and rebuild an aggregate', () => {
    const cat = Cat.register('Tom')
    cat.feed('fish')
    cat.sleep()
    cat.feed('mice')
    expect(cat.pendingEvents.map(({ topic, data }) => [topic, data])).toEqual([
      ['Cat.Registered', { name: 'Tom' }],
      ['Cat.Fed', { food: 'fish' }],
      ['Cat.Slept', {}],
      ['Cat.Fed', { food: 'mice' }],
    ])
    expect(cat.pendingEvents[0]?.originatorTopic).toBe('Cat')
    const copy = rebuild(Cat, cat.collectEvents())
    expect([copy?.name, copy?.eaten, copy?.version]).toEqual(['Tom', ['mice'], 4])
  })

  it('[146] [152] leave nothing behind when a body refuses', () => {
    const cat = Cat.register('Tom')
    expect(() => cat.feed('')).toThrow('cats want food')
    expect([cat.version, cat.pendingEvents.length]).toEqual([1, 1])
  })

  it('have typed names and data', () => {
    const cat = Cat.register('Tom')
    expect(() => cat.misuse()).toThrow("Cat cannot trigger 'Barked'")
    // @ts-expect-error the name is missing
    expect(Cat.create('Registered', {}, { id: 'tom' }).id).toBe('tom')
    // @ts-expect-error there is no such event
    expect(() => Cat.create('Barked', {})).toThrow(TypeError)
  })

  it('[133] [134] offer several ways to begin', () => {
    class Door extends Aggregate<{ Built: object; Found: { where: string } }> {
      origin = ''
      static events: EventHandlers<Door, { Built: object; Found: { where: string } }> = {
        Built() {
          this.origin = 'built'
        },
        Found({ where }) {
          this.origin = where
        },
      }
    }
    const found = Door.create('Found', { where: 'attic' })
    expect(rebuild(Door, found.collectEvents())?.origin).toBe('attic')
    expect(rebuild(Door, Door.create('Built', {}).collectEvents())?.origin).toBe('built')
  })

  it('refuse create for a class whose constructor has the event', () => {
    class Kitten extends Aggregate {
      readonly name: string
      constructor(name = 'Kitty') {
        super()
        this.name = name
      }
      static events = { Found(): void {} }
      @event('Named', 'name') rename(_name: string): void {}
    }
    expect(Kitten.create('Found', {}).name).toBe('Kitty')
    // @ts-expect-error the constructor has parameters
    expect(() => Dog.create('Registered', { name: 'Fido' })).toThrow(TypeError)
  })

  it('[159] refuse an event that a decorator has too, and a body that is no function', () => {
    class Twice extends Aggregate {
      static events = { Moved(): void {} }
      @event('Moved') move(): void {}
    }
    expect(() => new Twice()).toThrow("The event 'Moved' of Twice is already defined")
    class Odd extends Aggregate {
      static events = { Moved: 'left' }
    }
    expect(() => new Odd()).toThrow('Odd.events.Moved must be a function')
    class Late extends Aggregate {
      static events = {
        async Moved(): Promise<void> {
          await Promise.resolve()
        },
      }
    }
    expect(() => new Late()).toThrow('Late.events.Moved is asynchronous')
    class Own extends Aggregate {
      static events = { Created(): void {} }
    }
    expect(() => new Own()).toThrow("Own.create('Created', …)")
    expect(Own.create('Created', {}).version).toBe(1)
  })
})

describe('static events in plain JavaScript', () => {
  it('make the same streams as the decorators', async () => {
    const PlainDog = await plainDog()
    const plain = PlainDog.register('Fido')
    plain.addTrick('roll over')
    const decorated = new Dog('Fido')
    decorated.addTrick('roll over')
    const content = (dog: Aggregate) => dog.pendingEvents.map((pending) => ({ ...pending, timestamp: undefined }))
    expect(content(plain)).toEqual(content(decorated))
    expect(rebuild(Dog, plain.pendingEvents)?.tricks).toEqual(['roll over'])
    const copy = rebuild(PlainDog, decorated.collectEvents())
    expect([copy?.id, copy?.name, copy?.tricks, copy?.taught]).toEqual([plain.id, 'Fido', ['roll over'], 1])
  })

  it('keep their options, run other bodies inside, and put the state back', async () => {
    const PlainDog = await plainDog()
    const dog = PlainDog.register('Fido')
    dog.train(['sit', 'wave'], 'Alice')
    expect(dog.pendingEvents[1]).toMatchObject({
      topic: 'Dog.Trained',
      metadata: { by: 'Alice' },
      originatorVersion: 2,
    })
    expect(dog.modifiedOn.getTime()).toBe(0)
    expect(() => dog.addTrick('fly')).toThrow('dogs cannot fly')
    expect([dog.tricks, dog.version]).toEqual([['sit', 'wave'], 2])
    expect(rebuild(PlainDog, dog.collectEvents())?.tricks).toEqual(['sit', 'wave'])
  })
})
