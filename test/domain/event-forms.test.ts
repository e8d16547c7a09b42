/** The other forms of `@event` and its like: setters, handlers that only apply, definitions. */
import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { Aggregate, type AggregateClass } from '../../src/domain/aggregate.js'
import { applies, event } from '../../src/domain/event-decorator.js'
import { defineEvent, type StandardSchema, typed, validData } from '../../src/domain/event-definition.js'
import { rebuild } from '../../src/domain/rebuild.js'
import { EventDataError, ProgrammingError } from '../../src/errors.js'

function roundTrip<A extends Aggregate<object>>(aggregateClass: AggregateClass<A>, aggregate: A): A {
  const copy = rebuild(aggregateClass, aggregate.collectEvents())
  if (copy === undefined) throw new Error('there were no events')
  return copy
}

const eventsIn = (aggregate: Aggregate<object>): unknown[] =>
  aggregate.pendingEvents.map(({ topic, data }) => [topic, data])

describe('a decorated setter', () => {
  class Article extends Aggregate {
    cents = 0
    get price(): number {
      return this.cents
    }
    @event('PriceChanged', 'price') set price(price: number) {
      this.cents = price
      if (price < 0) throw new RangeError('A price is not negative')
    }
  }

  it('[158] triggers an event by an assignment', () => {
    const article = new Article()
    article.price = 250
    expect(article.price).toBe(250)
    expect(eventsIn(article)).toEqual([
      ['Article.Created', {}],
      ['Article.PriceChanged', { price: 250 }],
    ])
    expect(roundTrip(Article, article).price).toBe(250)
  })

  it('leaves no trace when its body throws', () => {
    const article = new Article()
    expect(() => {
      article.price = -1
    }).toThrow('not negative')
    expect([article.price, article.version]).toEqual([0, 1])
  })

  it('[157] [158] is refused on getters, static and private setters', () => {
    const decorate = (context: object) => () => event('Set', 'value')((_value: string) => undefined, context as never)
    const setter = { kind: 'setter', name: 'value', static: false, private: false }
    expect(decorate(setter)).not.toThrow()
    expect(decorate({ ...setter, kind: 'getter' })).toThrow('cannot be on a getter (value)')
    expect(decorate({ ...setter, kind: 'accessor' })).toThrow('cannot be on an accessor (value)')
    expect(decorate({ ...setter, static: true })).toThrow('cannot be on a static setter')
    expect(decorate({ ...setter, private: true })).toThrow('cannot be on a private setter')
  })
})

describe('maps and sets in the data of an event', () => {
  class Order extends Aggregate {
    counts = new Map<string, number[]>()
    @event('Counted', 'counts', 'tags') count(counts: Map<string, number[]>, tags: Set<string>): void {
      this.counts = counts
      this.counts.get('a')?.push(tags.size)
    }
  }

  it('are kept as they were given', () => {
    const order = new Order()
    const counts = new Map([['a', [1]]])
    const tags = new Set(['x'])
    order.count(counts, tags)
    counts.get('a')?.push(7)
    tags.add('y')
    expect(order.counts).toEqual(new Map([['a', [1, 1]]]))
    expect(order.pendingEvents[1]?.data).toEqual({ counts: new Map([['a', [1]]]), tags: new Set(['x']) })
    expect(roundTrip(Order, order).counts).toEqual(new Map([['a', [1, 1]]]))
  })
})

describe('a handler that only applies', () => {
  class Order extends Aggregate {
    confirmedAt: string | undefined
    confirm(at: string): void {
      if (this.confirmedAt === undefined) this.trigger('Confirmed', { at })
    }
    @applies('Confirmed', 'at') whenConfirmed(at: string): void {
      this.confirmedAt = at
    }
  }

  it('[164] applies what is triggered, and cannot be called', () => {
    const order = new Order()
    order.confirm('noon')
    order.confirm('later')
    expect(order.confirmedAt).toBe('noon')
    expect(eventsIn(order)).toEqual([
      ['Order.Created', {}],
      ['Order.Confirmed', { at: 'noon' }],
    ])
    expect(() => order.whenConfirmed('night')).toThrow(ProgrammingError)
    expect(() => order.whenConfirmed('night')).toThrow("use this.trigger('Confirmed', …)")
    expect(order.version).toBe(2)
    expect(roundTrip(Order, order).confirmedAt).toBe('noon')
  })

  it('is refused on a class', () => {
    const decorate = applies('Made') as unknown as (target: unknown, context: object) => unknown
    class Thing extends Aggregate {}
    expect(() => decorate(Thing, { kind: 'class', name: 'Thing' })).toThrow(
      "@applies('Made') cannot be on the class Thing",
    )
  })
})

const schemas: Record<string, StandardSchema<{ trick: string; level: number }>> = {
  zod: z.object({ trick: z.string().min(1), level: z.number() }),
  valibot: v.object({ trick: v.pipe(v.string(), v.minLength(1)), level: v.number() }),
  arktype: type({ trick: 'string>0', level: 'number', '+': 'delete' }),
}

describe.each(Object.entries(schemas))('an event defined with a schema of %s', (_library, schema) => {
  const TrickAdded = defineEvent('TrickAdded', schema)
  class Dog extends Aggregate {
    readonly tricks: string[] = []
    @event(TrickAdded, 'trick', 'level') addTrick(trick: string, level: number): void {
      this.tricks.push(`${trick} ${level}`)
    }
  }

  it('[160] is triggered by the method that has it, with data that the schema accepts', () => {
    const dog = new Dog()
    dog.addTrick('sit', 1)
    expect(eventsIn(dog)[1]).toEqual(['Dog.TrickAdded', { trick: 'sit', level: 1 }])
    expect(roundTrip(Dog, dog).tricks).toEqual(['sit 1'])
  })

  it('[143] is not triggered with data that the schema refuses', () => {
    const dog = new Dog()
    expect(() => dog.addTrick('', 1)).toThrow(EventDataError)
    expect(() => dog.addTrick('sit', '1' as never)).toThrow(
      /^Cannot trigger Dog.TrickAdded, version 2 of [-0-9a-f]{36}: level: /,
    )
    expect([dog.version, dog.tricks]).toEqual([1, []])
  })

  it('gives an event when it is called', () => {
    expect(TrickAdded.name).toBe('TrickAdded')
    expect(TrickAdded({ trick: 'sit', level: 1 })).toEqual({ type: 'TrickAdded', data: { trick: 'sit', level: 1 } })
  })
})

describe('an event definition', () => {
  const Registered = defineEvent('Registered', z.object({ name: z.string().trim() }))
  const Renamed = defineEvent('Renamed', typed<{ name: string; reason?: string }>())
  const Retired = defineEvent('Retired')

  @event(Registered, 'name')
  class Dog extends Aggregate {
    isRetired = false
    name: string
    constructor(name: string) {
      super()
      this.name = name
    }
    @event(Renamed) rename({ name }: { name: string; reason?: string }): void {
      this.name = name
    }
    retire(): void {
      this.trigger(Retired)
    }
    @applies(Retired) protected whenRetired(): void {
      this.isRetired = true
    }
  }

  class Plain extends Aggregate {
    static readonly definitions = [Registered, Renamed]
    static readonly events = {
      Registered(this: Plain, { name }: { name: string }): void {
        this.name = name
      },
      Renamed(this: Plain, { name }: { name: string }): void {
        this.name = name
      },
    }
    name = ''
    rename(name: string): void {
      this.trigger(Renamed, { name, reason: 'a better one' })
    }
  }

  it('is for classes, methods, handlers and trigger', () => {
    const dog = new Dog('  Fido ')
    expect(dog.name).toBe('Fido')
    dog.rename({ name: 'Rex' })
    dog.retire()
    expect(eventsIn(dog)).toEqual([
      ['Dog.Registered', { name: 'Fido' }],
      ['Dog.Renamed', { name: 'Rex' }],
      ['Dog.Retired', {}],
    ])
    const copy = roundTrip(Dog, dog)
    expect([copy.name, copy.isRetired]).toEqual(['Rex', true])
  })

  it('is for classes without decorators, as one of their static definitions', () => {
    const dog = Plain.create(Registered, { name: ' Fido ' })
    dog.rename('Rex')
    expect(eventsIn(dog)).toEqual([
      ['Plain.Registered', { name: 'Fido' }],
      ['Plain.Renamed', { name: 'Rex', reason: 'a better one' }],
    ])
    expect(() => Plain.create(Registered, { name: 7 as never })).toThrow(EventDataError)
    expect(() => Plain.create('Registered', { name: 7 as never })).toThrow(EventDataError)
    expect(() => Plain.create(Retired)).toThrow('needs a body for that event')
  })

  it('is refused where the class has another one of that name', () => {
    class Odd extends Aggregate {
      go(): void {
        this.trigger(Renamed, { name: 'Rex' })
      }
      @applies('Renamed', 'name') protected whenRenamed(_name: string): void {}
    }
    expect(() => new Odd().go()).toThrow("Odd does not know this definition of 'Renamed'")
    class Unknown extends Aggregate {
      static readonly definitions = [Renamed]
    }
    expect(() => new Unknown()).toThrow("Unknown.definitions names 'Renamed', which is no event of it")
  })

  it('answers at once and gives plain objects, or is refused', () => {
    const Later = defineEvent('Later', z.object({ a: z.string().refine(async () => Promise.resolve(true)) }))
    const Listed = defineEvent(
      'Listed',
      z.object({ a: z.string() }).transform(({ a }) => [a]),
    )
    const Clashing = defineEvent(
      'Clashing',
      z.object({ a: z.string() }).transform(({ a }) => ({ originatorId: a })),
    )
    class Thing extends Aggregate {
      @event(Later) later(_data: { a: string }): void {}
      @event(Listed) listed(_data: object): void {}
      @event(Clashing) clash(_data: object): void {}
    }
    const thing = new Thing()
    expect(() => thing.later({ a: 'a' })).toThrow('asynchronous')
    expect(() => thing.listed({ a: 'a' })).toThrow('something else than a plain object')
    expect(() => thing.clash({ a: 'a' })).toThrow("'originatorId', which belongs to the event itself")
    expect(thing.version).toBe(1)
  })

  it('may change what it is given while it judges it, as morphs of arktype do', () => {
    const Measured = defineEvent('Measured', type({ cm: 'string.numeric.parse' }))
    class Plank extends Aggregate {
      cm = 0
      @applies(Measured, 'cm') protected whenMeasured(cm: number): void {
        this.cm = cm
      }
      measure(text: string): void {
        this.trigger(Measured, { cm: text })
      }
    }
    const plank = new Plank()
    plank.measure('12')
    expect([plank.cm, plank.pendingEvents[1]?.data]).toEqual([12, { cm: 12 }])
    const inPlace: StandardSchema<{ list: string[] }> = {
      '~standard': {
        version: 1,
        vendor: 'test',
        validate(value) {
          const data = value as { list: string[] }
          data.list.push('added')
          return { value: data }
        },
      },
    }
    const data = { list: ['own'] }
    expect(validData(defineEvent('Listed', inPlace), data, 'try')).toEqual({ list: ['own', 'added'] })
    expect(data).toEqual({ list: ['own'] })
  })

  it('is refused at once where it is no schema', () => {
    for (const odd of [{ trick: 'string' }, 'string', null, { '~standard': {} }]) {
      expect(() => defineEvent('TrickAdded', odd as never)).toThrow(
        "The schema of 'TrickAdded' has no Standard Schema interface: give one of zod, valibot, arktype or another library",
      )
    }
  })

  it('judges stored data, too, where it is asked to', () => {
    const Loose = defineEvent('Changed', typed<{ size: number }>())
    const strict = z.object({ size: z.number().positive() })
    const before = class extends Aggregate {
      static readonly topic = 'Box'
      @event(Loose, 'size') change(_size: number): void {}
    }
    const trusting = class extends Aggregate {
      static readonly topic = 'Box'
      @event(defineEvent('Changed', strict), 'size') change(_size: number): void {}
    }
    const checking = class extends Aggregate {
      static readonly topic = 'Box'
      @event(defineEvent('Changed', strict, { validatesOnRead: true }), 'size') change(_size: number): void {}
    }
    const box = new before()
    box.change(-1)
    const events = box.collectEvents()
    expect(rebuild(trusting, events)?.version).toBe(2)
    expect(() => rebuild(checking, events)).toThrow(/^Cannot apply Box.Changed, version 2 of .*: size: /)
    expect(() => rebuild(checking, events)).toThrow(EventDataError)
  })

  it('has types that the compiler holds members to', () => {
    class Typed extends Aggregate {
      // @ts-expect-error the data have no such field
      @event(Renamed, 'title') retitle(_title: string): void {}
      // @ts-expect-error the field has another type
      @event(defineEvent('Sized', typed<{ size: number }>()), 'size') resize(_size: string): void {}
      // @ts-expect-error the data have another type
      @event(defineEvent('Resized', typed<{ size: number }>())) resizeAll(_data: { size: string }): void {}
      misuse(): void {
        // @ts-expect-error a field is missing
        this.trigger(Renamed, { reason: 'none' })
        // @ts-expect-error there is no such field
        this.trigger(Renamed, { name: 'Rex', title: 'Mr' })
        // @ts-expect-error data are missing
        this.trigger(Renamed)
      }
    }
    expect(new Typed().version).toBe(1)
    // @ts-expect-error a field is missing
    expect(Renamed({}).data).toEqual({})
    expect(() => defineEvent('A.B')).toThrow('cannot be the name of an event')
  })
})
