/** What the compiler infers in handlers of projections, and what it refuses: wrong events, fields, columns and models. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  Aggregate,
  applies,
  type DomainEvent,
  defineDecider,
  defineEvent,
  event,
  of,
  on,
  type ProjectedEvent,
  readEvent,
  rows,
  typed,
} from '../../src/index.js'
import type { TestClient } from '../prisma/open-database.js'

const Registered = defineEvent('Registered', typed<{ name: string }>())
const TrickAdded = defineEvent('TrickAdded', typed<{ trick: string }>())

/** Its events are typed by their definitions. */
@event(Registered, 'name')
class Dog extends Aggregate {
  readonly name: string
  tricks = 0
  constructor(name: string) {
    super()
    this.name = name
  }
  @event(TrickAdded) addTrick({ trick }: { trick: string }): void {
    this.tricks += trick.length
  }
}

interface CatEvents {
  Born: { name: string }
  Fed: { grams: number; food?: string }
  Slept: object
  Moved: { to: string }
  Woken: { at: string }
}

/** Its events are typed by what the class says of them, which the decorators are compared with. */
@event('Born', 'name')
class Cat extends Aggregate<CatEvents> {
  readonly name: string
  eaten = 0
  constructor(name: string) {
    super()
    this.name = name
  }
  @event('Fed', 'grams', 'food') feed(grams: number, food?: string): void {
    this.eaten += grams + (food?.length ?? 0)
  }
  @event('Slept') sleep(): void {
    this.eaten = 0
  }
  @event('Moved') move({ to }: { to: string }): void {
    this.eaten += to.length
  }
  wake(): void {
    this.trigger('Woken', { at: 'seven' })
  }
  @applies('Woken', 'at') protected whenWoken(at: string): void {
    this.eaten += at.length
  }
}

const cart = defineDecider({
  name: 'Cart',
  initialState: () => ({ items: [] as readonly string[] }),
  evolve: {
    ItemAdded: (state, data: { item: string }) => ({ items: [...state.items, data.item] }),
    Closed: (state) => state,
  },
  decide: { add: (_state, item: string) => [{ type: 'ItemAdded', data: { item } }] },
})

/** Types only: nothing is called. */
declare const db: TestClient

describe('what the compiler infers', () => {
  it('for decorated classes, with definitions or by what the class says of its events', () => {
    const cat = new Cat('Tom')
    cat.feed(5)
    const [, fed] = cat.pendingEvents
    if (fed === undefined) throw new Error('there are two events')
    const read = readEvent(Cat, 'Fed', fed)
    expectTypeOf(read).toEqualTypeOf<DomainEvent<{ grams: number; food?: string }> | undefined>()
    expect(read?.data.grams).toBe(5)
    expectTypeOf(readEvent(Dog, TrickAdded, fed)).toEqualTypeOf<DomainEvent<{ trick: string }> | undefined>()
  })

  it('for decorators that differ from what the class says', () => {
    expect(() => {
      class Cow extends Aggregate<{ Fed: { grams: number; food: string }; Moved: { to: string } }> {
        // @ts-expect-error there is no such event
        @event('Bathed') bathe(): void {
          expect(this)
        }
        // @ts-expect-error a field is missing
        @event('Fed', 'grams') feed(grams: number): void {
          expect(grams)
        }
        // @ts-expect-error a field has another name
        @event('Moved', 'place') move(place: string): void {
          expect(place)
        }
      }
      class Bull extends Aggregate<{ Fed: { grams: number }; Moved: { to: string } }> {
        // @ts-expect-error a field has another type
        @event('Fed', 'grams') feed(grams: string): void {
          expect(grams)
        }
        // @ts-expect-error the data have another type
        @event('Moved') move(data: { to: number }): void {
          expect(data)
        }
      }
      // @ts-expect-error the constructor makes no such event
      @event('Born', 'name')
      class Calf extends Aggregate<{ Fed: { grams: number } }> {
        readonly name: string
        constructor(name: string) {
          super()
          this.name = name
        }
      }
      return [Cow, Bull, Calf]
    }).not.toThrow()
  })

  it('for on and of', () => {
    const handlers = [
      on(Dog, TrickAdded, (e) => expectTypeOf(e).toEqualTypeOf<ProjectedEvent<{ trick: string }>>()),
      on(Cat, 'Fed', ({ data, position }) => {
        expectTypeOf(data).toEqualTypeOf<{ grams: number; food?: string }>()
        expectTypeOf(position).toEqualTypeOf<bigint | undefined>()
      }),
      on(cart, 'ItemAdded', ({ data }) => expectTypeOf(data).toEqualTypeOf<{ item: string }>()),
      on(TrickAdded, ({ data }) => expectTypeOf(data).toEqualTypeOf<{ trick: string }>()),
      ...of(cart, { ItemAdded: ({ data }) => expectTypeOf(data).toEqualTypeOf<{ item: string }>(), Closed() {} }),
    ]
    expect(handlers).toHaveLength(6)
    const misuses = [
      // @ts-expect-error there is no such event
      () => on(Cat, 'Bathed', () => undefined),
      // @ts-expect-error there is no such event
      () => on(cart, 'Lost', () => undefined),
      // @ts-expect-error there is no such event
      () => of(cart, { Lost: () => undefined }),
      // @ts-expect-error there is no such field
      () => on(Cat, 'Fed', ({ data }) => data.ounces),
      // @ts-expect-error there is no such field
      () => on(Dog, TrickAdded, ({ data }) => data.name),
      // @ts-expect-error there is no such field
      () => of(cart, { ItemAdded: ({ data }) => data.name }),
    ]
    expect(misuses).toHaveLength(6)
  })

  it('for rows', () => {
    const counts = () => db.trickCount
    const id = (e: ProjectedEvent): string => e.originatorId
    const right = () =>
      rows(counts, 'dog', (onRows) => [
        onRows(Dog, Registered, id, (row, { originatorId, data: { name } }) => {
          expectTypeOf(row?.tricks).toEqualTypeOf<number | undefined>()
          expectTypeOf(name).toEqualTypeOf<string>()
          return { dog: originatorId, name, tricks: 0 }
        }),
        onRows(Dog, TrickAdded, id, (row) => row && { ...row, tricks: row.tricks + 1 }),
        onRows(Cat, 'Fed', id, (row, { data }) => (row === undefined ? row : { ...row, tricks: data.grams })),
        onRows(cart, 'ItemAdded', id, () => undefined),
      ])
    const whole = () => db
    const half = () => ({ findMany: () => db.trickCount.findMany() })
    const name = (e: ProjectedEvent<{ trick: string }>): string => e.data.trick
    const misuses = [
      // @ts-expect-error there is no such column to find rows by
      () => rows(counts, 'cat', () => []),
      // @ts-expect-error a client is no model
      () => rows(whole, 'dog', () => []),
      // @ts-expect-error what has no createMany is no model
      () => rows(half, 'dog', () => []),
    ]
    const misfolds = () =>
      rows(counts, 'dog', (onRows) => [
        // @ts-expect-error a column is missing
        onRows(Dog, Registered, id, (_row, e) => ({ dog: e.originatorId })),
        // @ts-expect-error there is no such column
        onRows(Dog, Registered, id, (_row, e) => ({ dog: e.originatorId, name: e.data.name, tricks: 0, treats: 0 })),
        // @ts-expect-error there is no such column
        onRows(Dog, TrickAdded, id, (row) => row && { ...row, treats: 1 }),
        // @ts-expect-error a column has another type
        onRows(Dog, TrickAdded, id, (row) => row && { ...row, tricks: 'many' }),
        // @ts-expect-error the key is made of another event
        onRows(Dog, Registered, name, (row) => row),
        // @ts-expect-error there is no such event
        onRows(Cat, 'Bathed', id, (row) => row),
        // @ts-expect-error there is no such field
        onRows(Cat, 'Fed', id, (row, e) => row && { ...row, name: e.data.name }),
      ])
    expect([right, misfolds, ...misuses]).toHaveLength(5)
  })
})
