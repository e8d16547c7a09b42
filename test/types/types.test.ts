/** What the compiler infers for users, and what it refuses: wrong names, missing arguments, unknown commands and events. */
import fastify from 'fastify'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { transactions } from '../../adapters/fastify.js'
import {
  Aggregate,
  Application,
  type DeciderState,
  type DomainEvent,
  defineDecider,
  defineEvent,
  type EventHandlers,
  readEvent,
  typed,
} from '../../src/index.js'
import { given, inMemory } from '../../src/testing/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'

interface CatEvents {
  Registered: { name: string }
  Fed: { grams: number; food?: string }
}

class Cat extends Aggregate<CatEvents> {
  static readonly events: EventHandlers<Cat, CatEvents> = {
    Registered({ name }) {
      expectTypeOf(name).toEqualTypeOf<string>()
      this.name = name
    },
    Fed({ grams, food }) {
      expectTypeOf(grams).toEqualTypeOf<number>()
      expectTypeOf(food).toEqualTypeOf<string | undefined>()
      this.eaten += grams
    },
  }
  name = ''
  eaten = 0
  feed(grams: number): void {
    this.trigger('Fed', { grams })
  }
  misuse(): unknown[] {
    return [
      // @ts-expect-error there is no such event
      () => this.trigger('Bathed', {}),
      // @ts-expect-error a field is missing
      () => this.trigger('Fed', { food: 'fish' }),
      // @ts-expect-error a field has another type
      () => this.trigger('Fed', { grams: '10' }),
    ]
  }
}

type Colour = 'red' | 'blue'
const Painted = defineEvent('Painted', typed<{ colour: Colour; coats: number }>())
const Cleaned = defineEvent('Cleaned')

const walls = defineDecider([Painted, Cleaned], {
  name: 'Wall',
  initialState: (): { colour: Colour | undefined } => ({ colour: undefined }),
  evolve: {
    Painted: (_state, { colour, coats }) => {
      expectTypeOf(colour).toEqualTypeOf<Colour>()
      expectTypeOf(coats).toEqualTypeOf<number>()
      return { colour }
    },
    Cleaned: () => ({ colour: undefined }),
  },
  decide: {
    paint: (state, colour: Colour, coats: number = 1) => (state.colour === colour ? [] : [Painted({ colour, coats })]),
    clean: () => [Cleaned()],
    repaint: (_state, ...colours: Colour[]) => colours.map((colour) => Painted({ colour, coats: 1 })),
  },
})

const counters = defineDecider({
  name: 'Counter',
  initialState: () => 0,
  evolve: { Counted: (state, data: { by: number }) => state + data.by, Reset: () => 0 },
  decide: {
    count: (_state, by: number) => [{ type: 'Counted', data: { by } }],
    reset: (state) => (state === 0 ? [] : [{ type: 'Reset', data: {} }]),
  },
})

describe('what the compiler infers', () => {
  it('for aggregates', async () => {
    const school = inMemory(TrainingSchool)
    expectTypeOf(school).toEqualTypeOf<TrainingSchool>()
    await school.register('Fido')
    const dog = await school.repository.get(Dog, Dog.createId('Fido'))
    expectTypeOf(dog).toEqualTypeOf<Dog>()
    const cat = Cat.create('Registered', { name: 'Tom' })
    expectTypeOf(cat).toEqualTypeOf<Cat>()
    cat.feed(10)
    const [, fed] = cat.pendingEvents
    if (fed === undefined) throw new Error('there are two events')
    const read = readEvent(Cat, 'Fed', fed)
    expectTypeOf(read).toEqualTypeOf<DomainEvent<{ grams: number; food?: string }> | undefined>()
    expect(read?.data.grams).toBe(10)
    const misuses = [
      // @ts-expect-error there is no such event
      () => Cat.create('Bathed', {}),
      // @ts-expect-error a field is missing
      () => Cat.create('Registered', {}),
      // @ts-expect-error there is no such event
      () => readEvent(Cat, 'Bathed', fed),
      // @ts-expect-error the definition is given with its data
      () => Cat.create(Painted),
    ]
    expect(misuses.concat(cat.misuse() as never[])).toHaveLength(7)
  })

  it('for deciders', async () => {
    const application = new Application()
    const id = crypto.randomUUID()
    await application.execute(walls, id, 'paint', 'red')
    await application.execute(walls, id, 'paint', 'blue', 2)
    await application.execute(walls, id, 'repaint', 'red', 'blue', 'red')
    const painted = await application.repository.get(walls, id)
    expectTypeOf(painted).toEqualTypeOf<DeciderState<{ colour: Colour | undefined }>>()
    expect(painted).toEqual({ id, version: 5, state: { colour: 'red' } })
    expectTypeOf(await application.execute(walls, id, 'clean')).toEqualTypeOf<typeof painted>()
    expectTypeOf(await application.execute(counters, crypto.randomUUID(), 'count', 1)).toEqualTypeOf<
      DeciderState<number>
    >()
    const misuses = [
      // @ts-expect-error there is no such command
      () => application.execute(walls, id, 'burn'),
      // @ts-expect-error an argument is missing
      () => application.execute(walls, id, 'paint'),
      // @ts-expect-error an argument has another type
      () => application.execute(walls, id, 'paint', 'green'),
      // @ts-expect-error an argument is too many
      () => application.execute(counters, id, 'reset', 1),
      // @ts-expect-error a field has another type
      () => Painted({ colour: 'green', coats: 1 }),
    ]
    expect(misuses).toHaveLength(5)
  })

  it('for scenarios', () => {
    given(walls, Painted({ colour: 'red', coats: 1 }))
      .when('clean')
      .thenEvents(Cleaned())
      .thenState({ colour: undefined })
    given(counters, { type: 'Counted', data: { by: 2 } })
      .when('reset')
      .thenEvents({ type: 'Reset' })
    const misuses = [
      // @ts-expect-error there is no such event
      () => given(counters, { type: 'Lost', data: {} }),
      // @ts-expect-error the data are those of another event
      () => given(counters, { type: 'Counted', data: {} }),
      // @ts-expect-error there is no such command
      () => given(counters).when('burn'),
      // @ts-expect-error an argument is missing
      () => given(counters).when('count'),
      // @ts-expect-error there is no such member
      () => given(walls).when('clean').thenState({ size: 1 }),
    ]
    expect(misuses).toHaveLength(5)
  })
})

describe('the options of a route', () => {
  it('are refused by the best-known wrong names', () => {
    const server = fastify()
    expect(transactions.length).toBe(3) // its module declares them
    server.get('/read-only', { config: { transaction: { readOnly: true, deadlineMs: 100 } } }, async () => [])
    // @ts-expect-error it is called readOnly
    server.get('/readonly', { config: { transaction: { readonly: true } } }, async () => [])
    // @ts-expect-error it is called deadlineMs
    server.get('/timeout', { config: { transaction: { timeout: 100 } } }, async () => [])
    // @ts-expect-error of another type
    server.get('/retries', { config: { transaction: { retries: '3' } } }, async () => [])
  })
})
