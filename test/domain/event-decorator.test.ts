/** `@event` on methods and classes: what it triggers, what it keeps of a class, how it refuses misuse. */
import { describe, expect, it } from 'vitest'
import { Aggregate, type AggregateClass } from '../../src/domain/aggregate.js'
import { event } from '../../src/domain/event-decorator.js'
import { defineEvent } from '../../src/domain/event-definition.js'
import { rebuild } from '../../src/domain/rebuild.js'
import { Dog } from './dog.js'

function roundTrip<A extends Aggregate<object>>(aggregateClass: AggregateClass<A>, aggregate: A): A {
  const copy = rebuild(aggregateClass, aggregate.collectEvents())
  if (copy === undefined) throw new Error('there were no events')
  return copy
}

@event('Started')
class Order extends Aggregate {
  name = ''
  confirmedAt: Date | undefined
  pickedUpAt: Date | undefined
  notes: { text: string; tags: string[] }[] = []
  readonly byTag = new Map<string, { text: string; tags: string[] }>()

  @event('Renamed')
  rename(data: { name: string; tags?: string[] }): string {
    this.name = data.name
    data.tags?.push('seen by the body')
    return `now ${this.name}`
  }

  @event('Confirmed', 'timestamp')
  confirm(timestamp?: Date): void {
    this.confirmedAt = timestamp
  }

  @event('PickedUp', 'at')
  pickUp(at: Date): void {
    if (this.confirmedAt === undefined) throw new Error('Order is not confirmed')
    this.pickedUpAt = at
  }

  @event(defineEvent('NoteAdded'), 'text', 'tags')
  addNote(text: string, tags: string[] = ['plain']): void {
    const note = { text, tags }
    this.notes.push(note)
    for (const tag of tags) this.byTag.set(tag, note)
  }

  @event('NotesRewritten', 'text')
  rewriteNotes(text: string): void {
    for (const note of this.notes) {
      note.tags.push('rewritten')
      this.byTag.delete(note.tags[0] ?? '')
      note.text = text
    }
    this.name = 'changed'
    Reflect.set(this, 'extra', true)
    this.notes.push({ text, tags: [] })
    if (text === '') throw new Error('A note needs a text')
  }

  @event('Closed')
  close(): void {
    this.rename({ name: 'closed' })
    this.addNote('closed', [])
  }
}

describe('a decorated method', () => {
  it('[153] [154] triggers one event with its arguments by name, and applies its body', () => {
    const order = new Order()
    order.addNote('fragile', ['glass', 'heavy'])
    expect(order.notes).toEqual([{ text: 'fragile', tags: ['glass', 'heavy'] }])
    expect(order.pendingEvents.map(({ topic, data }) => [topic, data])).toEqual([
      ['Order.Started', {}],
      ['Order.NoteAdded', { text: 'fragile', tags: ['glass', 'heavy'] }],
    ])
  })

  it('takes a single plain object as the data itself, and returns what its body returns', () => {
    const order = new Order()
    const tags = ['a']
    expect(order.rename({ name: 'first', tags })).toBe('now first')
    expect(tags).toEqual(['a'])
    expect(order.pendingEvents[1]?.data).toEqual({ name: 'first', tags: ['a'] })
    order.close()
    expect(order.pendingEvents[2]?.data).toEqual({})
  })

  it('keeps in the event what was given, whatever happens to it later', () => {
    const order = new Order()
    const tags = ['glass']
    order.addNote('fragile', tags)
    tags.push('later')
    order.rewriteNotes('strong')
    expect(order.pendingEvents[1]?.data).toEqual({ text: 'fragile', tags: ['glass'] })
    expect(order.notes[0]).toEqual({ text: 'strong', tags: ['glass', 'rewritten'] })
    expect(roundTrip(Order, order).notes).toEqual(order.notes)
  })

  it('[152] [156] triggers nothing when its body refuses', () => {
    const order = new Order()
    const { modifiedOn } = order
    expect(() => order.pickUp(new Date())).toThrow('Order is not confirmed')
    expect([order.version, order.modifiedOn, order.pendingEvents.length]).toEqual([1, modifiedOn, 1])
    order.confirm()
    order.pickUp(new Date(0))
    expect(order.pendingEvents.map((pending) => pending.topic)).toEqual([
      'Order.Started',
      'Order.Confirmed',
      'Order.PickedUp',
    ])
  })

  it('[146] leaves the state as it was when its body throws half-way', () => {
    const order = new Order()
    order.addNote('fragile', ['glass'])
    const [note] = order.notes
    const before = structuredClone(Object.assign({}, order))
    expect(() => order.rewriteNotes('')).toThrow('A note needs a text')
    expect(Object.assign({}, order)).toEqual(before)
    expect(order.notes[0]).toBe(note)
    expect(order.byTag.get('glass')).toBe(note)
    expect(Object.keys(order)).toEqual(Object.keys(before))
    order.addNote('next', [])
    expect(order.version).toBe(3)
    expect(roundTrip(Order, order).equals(order)).toBe(true)
  })

  it('runs as a part of the event whose body calls it', () => {
    const order = new Order()
    order.close()
    expect(order.pendingEvents.map((pending) => pending.topic)).toEqual(['Order.Started', 'Order.Closed'])
    expect([order.name, order.notes.length]).toEqual(['closed', 1])
    expect(roundTrip(Order, order).equals(order)).toBe(true)
  })

  it('[155] refuses more arguments than its event has, and anything but one plain object where it names none', () => {
    const order = new Order()
    const odd = order as unknown as Record<string, (...args: unknown[]) => void>
    expect(() => odd['pickUp']?.(new Date(), 1)).toThrow(TypeError)
    expect(() => odd['rename']?.('first')).toThrow('Order.rename takes one plain object or nothing')
    expect(() => odd['rename']?.({ name: 'first' }, 2)).toThrow(TypeError)
    expect(() => odd['rename']?.({ name: 'first', originatorId: 1 })).toThrow(
      /'originatorId', a name that belongs to the event/,
    )
    expect(order.pendingEvents).toHaveLength(1)
  })

  it('[157] refuses a body that gives a promise', () => {
    class Slow extends Aggregate {
      // @ts-expect-error the body of an event cannot be asynchronous
      @event('Waited')
      wait(): Promise<void> {
        return Promise.reject(new Error('nobody sees this'))
      }
    }
    const slow = new Slow()
    expect(() => void slow.wait()).toThrow('Slow.wait is asynchronous')
    expect(slow.version).toBe(1)
  })

  it('[161] is called on an instance, also by way of the class', () => {
    const order = new Order()
    Order.prototype.addNote.call(order, 'by the class', [])
    expect(order.version).toBe(2)
    const addNote = Reflect.get(order, 'addNote') as (this: unknown, text: string) => void
    expect(() => Reflect.apply(addNote, undefined, ['lost'])).toThrow("addNote expects an aggregate as 'this'")
    expect(() => Reflect.apply(addNote, {}, ['lost'])).toThrow(TypeError)
  })

  it('may be named by a symbol', () => {
    const add = Symbol('add')
    class Counter extends Aggregate {
      count = 0
      @event('Added', 'count') [add](count: number): void {
        this.count += count
      }
    }
    const counter = new Counter()
    counter[add](2)
    expect([counter.count, roundTrip(Counter, counter).count]).toEqual([2, 2])
  })

  it('[162] keeps the name and the number of parameters of the method', () => {
    expect(Reflect.get(Order.prototype, 'addNote')).toHaveProperty('name', 'addNote')
    expect(Reflect.get(Order.prototype, 'pickUp')).toHaveProperty('length', 1)
  })

  it('[163] takes the time of its event from a parameter named timestamp', () => {
    const order = new Order()
    const given = new Date('2000-01-02T03:04:05.678Z')
    order.confirm(given)
    expect(order.modifiedOn.getTime()).toBe(given.getTime())
    expect(order.pendingEvents[1]?.timestamp.iso).toBe('2000-01-02T03:04:05.678000+00:00')
    expect(order.pendingEvents[1]?.data).toEqual({})
    expect(order.confirmedAt?.getTime()).toBe(given.getTime())
    order.confirm()
    expect(order.modifiedOn.getTime()).toBeGreaterThan(given.getTime())
    expect(roundTrip(Order, order).confirmedAt).toEqual(order.modifiedOn)
  })

  it('triggers the event of the subclass that has it, and applies an override [150]', () => {
    class Puppy extends Dog {
      override addTrick(trick: string): void {
        super.addTrick(`small ${trick}`)
      }
    }
    class Senior extends Dog {
      @event('TrickAdded', 'trick')
      override addTrick(trick: string): void {
        super.addTrick(`slow ${trick}`)
      }
    }
    const puppy = new Puppy('Pip')
    puppy.addTrick('jump')
    expect(puppy.pendingEvents.map((pending) => pending.topic)).toEqual(['Puppy.Registered', 'Puppy.TrickAdded'])
    expect(roundTrip(Puppy, puppy).tricks).toEqual(['small jump'])
    const senior = new Senior('Sam')
    senior.addTrick('jump')
    expect(senior.pendingEvents[1]).toMatchObject({ topic: 'Senior.TrickAdded', data: { trick: 'jump' } })
    expect(roundTrip(Senior, senior).tricks).toEqual(['slow jump'])
  })
})

describe('a decorated class', () => {
  it('keeps its name, static members, instanceof and new.target', () => {
    expect(Dog.name).toBe('Dog')
    expect(Dog).toHaveLength(1)
    const dog = new Dog('Fido')
    expect(dog).toBeInstanceOf(Dog)
    expect(dog).toBeInstanceOf(Aggregate)
    expect(dog.constructor).toBe(Dog)
    expect(Object.getPrototypeOf(dog)).toBe(Dog.prototype)
    class Puppy extends Dog {}
    expect(new Puppy('Pip')).toBeInstanceOf(Dog)
    expect(Object.getPrototypeOf(Puppy)).toBe(Dog)
  })

  it('reaches its own private static members', () => {
    @event('Counted', 'by')
    class Counter extends Aggregate {
      static #made = 0
      static get made(): number {
        return Counter.#made
      }
      static #double(value: number): number {
        return value * 2
      }
      readonly by: number
      constructor(by: number) {
        super()
        Counter.#made += 1
        this.by = Counter.#double(by)
      }
    }
    expect(new Counter(2).by).toBe(4)
    expect(Counter.made).toBe(1)
  })

  it('gives a decorated subclass its own event, and the base its arguments', () => {
    @event('Adopted', 'name', 'owner')
    class Pet extends Dog {
      readonly owner: string
      constructor(name: string, owner: string) {
        super(name.toUpperCase())
        this.owner = owner
        this.addTrick('wag')
      }
    }
    const pet = new Pet('Fido', 'Alice')
    expect(pet.pendingEvents.map(({ topic, data, originatorTopic }) => [topic, data, originatorTopic])).toEqual([
      ['Pet.Adopted', { name: 'Fido', owner: 'Alice' }, 'Pet'],
    ])
    const copy = roundTrip(Pet, pet)
    expect([copy.name, copy.owner, copy.tricks, copy.version]).toEqual(['FIDO', 'Alice', ['wag'], 1])
  })

  it('refuses an undecorated subclass with constructor parameters of its own', () => {
    class Coloured extends Dog {
      readonly colour: string
      constructor(name: string, colour: string) {
        super(name)
        this.colour = colour
      }
    }
    expect(() => new Coloured('Fido', 'brown')).toThrow('The constructor of Coloured has parameters')
  })

  it('[138] creates nothing when the constructor throws or has too many arguments', () => {
    @event('Made', 'size')
    class Box extends Aggregate {
      constructor(size: number) {
        super()
        if (size < 1) throw new Error('too small')
      }
    }
    expect(() => new Box(0)).toThrow('too small')
    expect(() => Reflect.construct(Box, [1, 2])).toThrow(TypeError)
    expect(new Box(1).pendingEvents).toHaveLength(1)
  })

  it('lets a constructor make other aggregates of the same class first', () => {
    @event('Grown', 'depth')
    class Tree extends Aggregate {
      readonly branch: string | undefined
      constructor(depth: number) {
        const branch = depth > 0 ? new Tree(depth - 1) : undefined
        super()
        this.branch = branch?.id
      }
    }
    const tree = new Tree(2)
    expect(tree.pendingEvents).toHaveLength(1)
    const copy = roundTrip(Tree, tree)
    expect([copy.id, copy.version, copy.pendingEvents.length]).toEqual([tree.id, 1, 0])
    expect(copy.branch).not.toBe(tree.id)
  })
})

describe('misuse of @event', () => {
  it('[157] fails when the class is defined: static, private, accessor or field', () => {
    expect(() => {
      class Odd extends Aggregate {
        // @ts-expect-error an event needs an instance
        @event('Made') static make(): void {}
      }
      return Odd
    }).toThrow("@event('Made') cannot be on a static method (make)")
    expect(() => {
      class Odd extends Aggregate {
        // @ts-expect-error rebuilding cannot reach a private method
        @event('Hidden') #hide(): void {}
        hide(): void {
          this.#hide()
        }
      }
      return Odd
    }).toThrow('private method')
    expect(() => {
      class Odd extends Aggregate {
        // @ts-expect-error a getter changes nothing
        @event('Read') get size(): number {
          return 1
        }
      }
      return Odd
    }).toThrow('getter')
    expect(() => {
      class Odd extends Aggregate {
        // @ts-expect-error a field is not a change
        @event('Set') size = 1
      }
      return Odd
    }).toThrow('field')
  })

  it('[157] fails when the class is defined: asynchronous bodies, and generators, which would do nothing', () => {
    expect(() => {
      class Odd extends Aggregate {
        // @ts-expect-error the body of an event cannot be asynchronous
        @event('Made') async make(): Promise<void> {
          await Promise.resolve()
        }
      }
      return Odd
    }).toThrow("The body of @event('Made'), make, is asynchronous")
    expect(() => {
      class Odd extends Aggregate {
        count = 0
        @event('Made') *make(): Generator<number> {
          yield (this.count += 1)
        }
      }
      return Odd
    }).toThrow("The body of @event('Made'), make, is a generator")
  })

  it('[136] fails on a class that is not an aggregate, and twice on one class', () => {
    expect(() => {
      // @ts-expect-error only aggregates have events
      @event('Made')
      class Odd {}
      return Odd
    }).toThrow('only a class that extends Aggregate')
    expect(() => {
      @event('Made')
      @event('Created')
      class Odd extends Aggregate {}
      return Odd
    }).toThrow('more than one @event decorator')
  })

  it('[157] fails for names that cannot be used', () => {
    expect(() => event('')).toThrow(TypeError)
    expect(() => event('A.B')).toThrow(TypeError)
    expect(() => event(7 as unknown as string)).toThrow(TypeError)
    expect(() => event('Made', 'size', 'size')).toThrow('given once')
    expect(() => event('Made', 'originatorId')).toThrow(TypeError)
    expect(() => event('Made', '')).toThrow(TypeError)
  })

  it('[159] fails for one event name twice when the class is defined', () => {
    expect(() => {
      @event('Made')
      class Odd extends Aggregate {
        @event('Made') make(): void {}
      }
      return Odd
    }).toThrow("The event 'Made' of Odd is already defined")
    expect(() => {
      class Odd extends Aggregate {
        @event('Moved') move(): void {}
        @event('Moved') shift(): void {}
      }
      return Odd
    }).toThrow("The event 'Moved' of the class of shift is already defined")
    expect(() => {
      class Odd extends Aggregate {
        @event('Moved') @event('Shifted') move(): void {}
      }
      return Odd
    }).toThrow('move has more than one @event decorator')
  })

  it('[159] fails for one event name twice at the first use, where decorators have no metadata', () => {
    class Late extends Aggregate {
      move(): void {}
      shift(): void {}
    }
    for (const name of ['move', 'shift'] as const) {
      // As tsc calls decorators where `Symbol.metadata` does not exist.
      const context = { kind: 'method', name, static: false, private: false, metadata: undefined }
      Late.prototype[name] = event('Moved')(Late.prototype[name], context as never)
    }
    expect(() => new Late()).toThrow("The event 'Moved' of Late is already defined")
  })

  it('fails at the call when another decorator hides it', () => {
    function logged<M extends (this: never, ...args: never[]) => unknown>(
      method: M,
      context: ClassMethodDecoratorContext,
    ): M {
      const name = context.name
      const wrapped = {
        [name](this: never, ...args: never[]): unknown {
          return Reflect.apply(method, this, args)
        },
      }
      return wrapped[name as string] as M
    }
    class Hidden extends Aggregate {
      @logged @event('Moved') move(): void {}
    }
    expect(() => new Hidden().move()).toThrow('must be the first decorator of Hidden.move')
  })
})

describe('the types of @event', () => {
  it('count the names of parameters, and know none of rest parameters [140]', () => {
    class Counted extends Aggregate {
      // @ts-expect-error a name is missing
      @event('One') one(_a: string): void {}
      // @ts-expect-error a name is too many
      @event('Three', 'a', 'b') three(_a: string): void {}
      // @ts-expect-error the names of rest parameters are unknown
      @event('Four', 'a') four(..._a: string[]): void {}
      // @ts-expect-error an array is not the data of an event
      @event('Five') five(_a: string[]): void {}
      @event('Six', 'a', 'b') six(_a: string, _b = 1): void {}
      @event('Seven') seven(_data?: { a: string }): void {}
    }
    expect(() => {
      class Short extends Aggregate {
        // @ts-expect-error a name is missing
        @event('Two', 'a') two(_a: string, _b: number): void {}
      }
      return Short
    }).toThrow("@event('Two') names 1 parameters, and two has 2")
    // @ts-expect-error a name is missing
    @event('Made')
    class Made extends Aggregate {
      readonly a: string
      constructor(a: string) {
        super()
        this.a = a
      }
    }
    // @ts-expect-error ids are made synchronously
    @event('Awaited')
    class Awaited extends Aggregate {
      static async createId(): Promise<string> {
        return Promise.resolve('id')
      }
    }
    expect(new Counted().version).toBe(1)
    expect(() => new Made('a')).toThrow(TypeError)
    expect(() => new Awaited()).toThrow('gave a promise')
  })
})
