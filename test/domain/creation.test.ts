/** How aggregates begin: what a constructor takes, which event tells it, which id and which times come of it. */
import { describe, expect, it } from 'vitest'
import { Aggregate, type AggregateClass } from '../../src/domain/aggregate.js'
import { event } from '../../src/domain/event-decorator.js'
import { NAMESPACE_URL, uuid5 } from '../../src/domain/names.js'
import { rebuild } from '../../src/domain/rebuild.js'

function roundTrip<A extends Aggregate<object>>(aggregateClass: AggregateClass<A>, aggregate: A): A {
  const copy = rebuild(aggregateClass, aggregate.collectEvents())
  if (copy === undefined) throw new Error('there were no events')
  return copy
}

@event('Made', 'a', 'b', 'c', 'd')
class Mixture extends Aggregate {
  readonly values: readonly unknown[]
  constructor(a: number, b: number, c = 1, d = 2) {
    super()
    this.values = [a, b, c, d]
  }
}

describe('a decorated constructor', () => {
  it('[139] [154] has the parameters of a function, some with default values', () => {
    const all = new Mixture(1, 2, 3, 4)
    expect(all.values).toEqual([1, 2, 3, 4])
    expect(all.pendingEvents[0]?.data).toEqual({ a: 1, b: 2, c: 3, d: 4 })
    expect(roundTrip(Mixture, all).values).toEqual([1, 2, 3, 4])
    const some = new Mixture(1, 2)
    // What is left out is not in the event; the default value comes again with the constructor.
    expect(some.pendingEvents[0]?.data).toEqual({ a: 1, b: 2 })
    expect(roundTrip(Mixture, some).values).toEqual([1, 2, 1, 2])
  })

  it('[138] is called with what it takes, which the compiler and, for too many arguments, the call refuse', () => {
    // @ts-expect-error an argument is missing
    expect(new Mixture(1).values).toEqual([1, undefined, 1, 2])
    // @ts-expect-error an argument has another type
    expect(new Mixture('1', 2).values).toEqual(['1', 2, 1, 2])
    // @ts-expect-error there are too many
    expect(() => new Mixture(1, 2, 3, 4, 5)).toThrow('was called with 5 arguments, and its event has 4')
  })

  it('[135] has one event, which no body may have as well', () => {
    @event('Made', 'a')
    class Twice extends Aggregate {
      static readonly events = { Found(): void {} }
      readonly a: number
      constructor(a = 1) {
        super()
        this.a = a
      }
    }
    expect(new Twice().pendingEvents[0]?.topic).toBe('Twice.Made')
    expect(() => Twice.create('Found', {})).toThrow("use 'new'")
    expect(() => {
      @event('Made')
      class Odd extends Aggregate {
        static readonly events = { Made(): void {} }
      }
      return new Odd()
    }).toThrow("The event 'Made' of Odd is already defined")
  })

  it('[163] gives the aggregate the time that it is given, as methods do', () => {
    @event('Begun', 'timestamp')
    class Diary extends Aggregate {
      readonly days: string[] = []
      constructor(timestamp?: Date | null) {
        super()
        this.days.push(String(timestamp?.toISOString().slice(0, 10)))
      }
      @event('Written', 'timestamp') write(timestamp?: Date): void {
        this.days.push(String(timestamp?.toISOString().slice(0, 10)))
      }
    }
    const days = ['2000-01-01', '2000-01-02', '2000-01-03']
    const [first, second, third] = days.map((day) => new Date(day))
    const diary = new Diary(first)
    expect([diary.createdOn.iso, diary.modifiedOn]).toEqual(['2000-01-01T00:00:00.000000+00:00', diary.createdOn])
    diary.write(second)
    diary.write(third)
    expect(diary.modifiedOn.iso).toBe('2000-01-03T00:00:00.000000+00:00')
    expect(diary.createdOn.iso).toBe('2000-01-01T00:00:00.000000+00:00')
    expect(roundTrip(Diary, diary).days).toEqual(days)
    const before = Date.now()
    for (const none of [undefined, null]) expect(new Diary(none).createdOn.getTime()).toBeGreaterThanOrEqual(before)
    for (const odd of ['2000-01-01', new Date(Number.NaN)]) {
      expect(() => new Diary(odd as never)).toThrow('new Diary() was given a timestamp that is not a valid Date')
    }
  })
})

describe('a class without a decorated constructor', () => {
  it('[134] begins with Created by new, and by create with the event that is named', () => {
    class Door extends Aggregate<{ Built: object; Found: { where: string } }> {
      origin = 'created'
      static readonly events = {
        Built(this: Door): void {
          this.origin = 'built'
        },
        Found(this: Door, { where }: { where: string }): void {
          this.origin = where
        },
      }
    }
    const doors = [new Door(), Door.create('Built', {}), Door.create('Found', { where: 'attic' })]
    expect(doors.map(({ pendingEvents: [first] }) => first?.topic)).toEqual([
      'Door.Created',
      'Door.Built',
      'Door.Found',
    ])
    expect(doors.map((door) => roundTrip(Door, door).origin)).toEqual(['created', 'built', 'attic'])
    const timestamp = new Date(Number.NaN)
    expect(() => Door.create('Built', {}, { timestamp })).toThrow(
      "Door.create('Built') was given a timestamp that is not a valid Date",
    )
  })

  it('[131] [133] has its own event for the beginning where the class names it', () => {
    @event('Started')
    class Engine extends Aggregate {
      isOn = true
    }
    const engine = new Engine()
    expect(engine.pendingEvents.map(({ topic, originatorVersion }) => [topic, originatorVersion])).toEqual([
      ['Engine.Started', 1],
    ])
    expect(engine.modifiedOn).toBe(engine.createdOn)
    expect(roundTrip(Engine, engine).isOn).toBe(true)
  })

  it('is refused with a policy of snapshots that is none, not when the first one is due', () => {
    const wrongs: Array<[object, string]> = [
      [{ every: 0 }, 'snapshots.every must be a whole number from 1, not 0'],
      [{ every: 1.5 }, 'snapshots.every must be a whole number from 1, not 1.5'],
      [{ keep: 0 }, 'snapshots.keep must be a whole number from 1, not 0'],
      [{ when: async () => Promise.resolve(true) }, 'snapshots.when is asynchronous'],
      [{ upcasts: [{}] }, 'snapshots.upcasts[0] must be a function'],
    ]
    for (const [policy, message] of wrongs) {
      class Odd extends Aggregate {
        static readonly snapshots = policy
      }
      expect(() => new Odd()).toThrow(`Odd.${message}`)
    }
  })

  it('is refused with a field that hides what every aggregate has', () => {
    class Odd extends Aggregate {
      // @ts-expect-error it is an accessor of the base class
      override readonly version = 7
    }
    const odd = new Odd()
    expect(() => odd.collectEvents()).toThrow("Odd has a field 'version', which every aggregate has already")
  })

  it('[137] refuses an initial version that is none', () => {
    for (const version of [-1, 1.5, '1', Number.NaN]) {
      class Odd extends Aggregate {
        static readonly initialVersion = version as number // what plain JavaScript may have
      }
      expect(() => new Odd()).toThrow('Odd.initialVersion must be a whole number from 0')
    }
  })
})

describe('the id of a new aggregate', () => {
  it('[141] comes of the arguments of the constructor, or of the data that create is given', () => {
    const given: unknown[][] = []
    @event('Registered', 'name', 'age')
    class Pet extends Aggregate {
      static createId(...args: unknown[]): string {
        given.push(args)
        return uuid5(NAMESPACE_URL, `/pets/${String(args[0])}`)
      }
      readonly name: string
      constructor(name: string, _age: number) {
        super()
        this.name = name
      }
    }
    const pet = new Pet('Tom', 3)
    expect(pet.id).toBe(uuid5(NAMESPACE_URL, '/pets/Tom'))
    // Rebuilding takes the id from the event.
    expect(roundTrip(Pet, pet).id).toBe(pet.id)
    class Plain extends Aggregate<{ Registered: { name: string } }> {
      static readonly events = { Registered(_data: { name: string }): void {} }
      static createId(data: { name: string }): string {
        given.push([data])
        return uuid5(NAMESPACE_URL, `/plain/${data.name}`)
      }
    }
    expect(Plain.create('Registered', { name: 'Tom' }).id).toBe(uuid5(NAMESPACE_URL, '/plain/Tom'))
    expect(Plain.create('Registered', { name: 'Tom' }, { id: 'tom' }).id).toBe('tom')
    expect(given).toEqual([['Tom', 3], [{ name: 'Tom' }]])
  })

  it('[141] is refused where createId is no static method', () => {
    class Odd extends Aggregate {
      static readonly createId = 'tom'
    }
    // @ts-expect-error an id is made by a method
    const odd: AggregateClass = Odd
    expect(() => Reflect.construct(odd, [])).toThrow('Odd.createId must be a static method')
    class Late extends Aggregate {
      createId(): string {
        return 'tom'
      }
    }
    expect(() => new Late()).toThrow('Late.createId must be static: there is no aggregate yet')
  })

  it('[142] is a random UUID unless it is made or given, and there is none of the base class', () => {
    class Plain extends Aggregate {}
    const ids = [new Plain().id, new Plain().id]
    for (const id of ids) expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
    expect(new Set(ids).size).toBe(2)
    // @ts-expect-error the base class is abstract: the compiler refuses to construct it
    const base: new () => Aggregate = Aggregate
    expect(base).toBe(Aggregate)
  })
})
