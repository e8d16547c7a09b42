/** Deciders: deciding, folding, inferred types, and streams shared with a class of aggregates. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type Decider, type DeciderState, decide, defineDecider, fold, initial } from '../../src/domain/decider.js'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { defineEvent } from '../../src/domain/event-definition.js'
import { rebuild } from '../../src/domain/rebuild.js'
import { OriginatorIdError, OriginatorVersionError, TopicError } from '../../src/errors.js'
import { Dog } from './dog.js'

interface DogState {
  readonly name: string
  readonly tricks: readonly string[]
}

const dogs = defineDecider({
  name: 'Dog',
  formerTopics: ['__main__:Dog'],
  initialState: (): DogState => ({ name: '', tricks: [] }),
  evolve: {
    Registered: (state, { name }: { name: string }) => ({ ...state, name }),
    TrickAdded: (state, data: { trick: string }) => ({ ...state, tricks: [...state.tricks, data.trick] }),
  },
  decide: {
    register: (_state, name: string) => [{ type: 'Registered', data: { name } }],
    addTrick: (state, trick: string) => {
      if (state.name === '') throw new Error('register the dog first')
      return state.tricks.includes(trick) ? [] : [{ type: 'TrickAdded', data: { trick } }]
    },
    addTricks: (_state, ...tricks: string[]) =>
      tricks.map((trick) => ({ type: 'TrickAdded' as const, data: { trick } })),
  },
})

const id = Dog.createId('Fido')

describe('a decider', () => {
  it('begins with its initial state at version 0', () => {
    expect(initial(dogs, id)).toEqual({ id, version: 0, state: { name: '', tricks: [] } })
  })

  it('decides events and the state after them, and leaves the state before as it is', () => {
    const before = initial(dogs, id)
    const registered = decide(dogs, before, { name: 'register', args: ['Fido'] })
    const decided = decide(dogs, registered, {
      name: 'addTricks',
      args: ['sit', 'roll over'],
      metadata: { by: 'Alice' },
    })
    expect(before.state.name).toBe('')
    expect([registered.version, decided.version]).toEqual([1, 3])
    expect(decided.state).toEqual({ name: 'Fido', tricks: ['sit', 'roll over'] })
    expect(registered.pendingEvents).toMatchObject([
      {
        originatorId: id,
        originatorVersion: 1,
        topic: 'Dog.Registered',
        originatorTopic: 'Dog',
        data: { name: 'Fido' },
      },
    ])
    expect(decided.collectEvents()).toMatchObject([
      { originatorVersion: 2, topic: 'Dog.TrickAdded', data: { trick: 'sit' }, metadata: { by: 'Alice' } },
      { originatorVersion: 3, topic: 'Dog.TrickAdded', data: { trick: 'roll over' } },
    ])
    expect(decided.collectEvents()).toEqual([])
    expect(decided.pendingEvents).toEqual([])
  })

  it('decides nothing where nothing changes, and refuses by throwing', () => {
    const before = initial(dogs, id)
    expect(() => decide(dogs, before, { name: 'addTrick', args: ['sit'] })).toThrow('register the dog first')
    const state = { id, version: 2, state: { name: 'Fido', tricks: ['sit'] } }
    const decided = decide(dogs, state, { name: 'addTrick', args: ['sit'] })
    expect([decided.version, decided.pendingEvents]).toEqual([2, []])
  })

  it('shares its streams with a class of aggregates of the same topic', () => {
    const dog = new Dog('Fido')
    dog.addTrick('sit')
    const folded = fold(dogs, initial(dogs, id), dog.collectEvents())
    expect(folded).toEqual({ id, version: 2, state: { name: 'Fido', tricks: ['sit'] } })
    const events = [
      ...decide(dogs, initial(dogs, id), { name: 'register', args: ['Fido'] }).collectEvents(),
      ...decide(dogs, { ...folded, version: 1 }, { name: 'addTrick', args: ['wave'] }).collectEvents(),
    ]
    expect(rebuild(Dog, events)).toMatchObject({ id, version: 2, name: 'Fido', tricks: ['wave'] })
  })

  it('folds former topics, and refuses unknown ones, gaps, repetitions and other originators', () => {
    const dog = new Dog('Fido')
    dog.addTrick('sit')
    const [registered, added] = dog.collectEvents() as [DomainEvent, DomainEvent]
    const start = initial(dogs, id)
    const old = [domainEvent({ ...registered, topic: '__main__:Dog.Registered' }), added]
    expect(fold(dogs, start, old).state).toEqual({ name: 'Fido', tricks: ['sit'] })
    expect(fold(dogs, start, [])).toBe(start)
    expect(() => fold(dogs, start, [domainEvent({ ...registered, topic: 'Dog.Lost' })])).toThrow(TopicError)
    expect(() => fold(dogs, start, [added])).toThrow(OriginatorVersionError)
    expect(() => fold(dogs, start, [registered, registered])).toThrow(OriginatorVersionError)
    expect(() => fold(dogs, start, [domainEvent({ ...registered, originatorId: 'rex' })])).toThrow(OriginatorIdError)
  })

  it('refuses unknown commands, asynchronous ones and events that evolve does not have', () => {
    const odd = {
      name: 'Odd',
      initialState: () => 0,
      evolve: { Moved: (state: number) => state + 1 },
      decide: { later: () => Promise.resolve([]), odd: () => [null], lose: () => [{ type: 'Lost', data: {} }] },
    } as unknown as Decider<number, { Moved: object }, { later: []; odd: []; lose: []; nothing: [] }>
    expect(() => decide(odd, initial(odd, id), { name: 'later', args: [] })).toThrow('it gave a promise')
    expect(() => decide(odd, initial(odd, id), { name: 'odd', args: [] })).toThrow('gave null in the place of an event')
    expect(() => decide(odd, initial(odd, id), { name: 'lose', args: [] })).toThrow(
      "gave 'Lost', which evolve does not have",
    )
    expect(() => decide(odd, initial(odd, id), { name: 'nothing', args: [] })).toThrow('does not exist')
  })

  it('is refused when it is defined, or else at its first use, where it cannot work', () => {
    const good = { name: 'Odd', initialState: () => 0, evolve: { Moved: (state: number) => state + 1 }, decide: {} }
    const wrongs: Array<[object, string]> = [
      [{ name: '' }, 'A decider needs a name'],
      [{ initialState: async () => Promise.resolve(0) }, 'initialState of the decider Odd is asynchronous'],
      [{ evolve: { Moved: async () => Promise.resolve(0) } }, 'evolve.Moved of the decider Odd is asynchronous'],
      [{ evolve: { Moved: 1 } }, 'evolve.Moved of the decider Odd must be a function'],
      [{ evolve: { 'Moved.on': () => 0 } }, "'Moved.on' cannot be the name of an event"],
      [{ decide: { move: async () => Promise.resolve([]) } }, 'decide.move of the decider Odd is asynchronous'],
      [{ snapshots: { every: 0 } }, 'the decider Odd: snapshots.every must be a whole number from 1, not 0'],
      [{ upcasts: { Lost: [] } }, "upcasts of the decider Odd names 'Lost', which evolve does not have"],
      [{ upcasts: { Moved: [1] } }, 'upcasts.Moved of the decider Odd must be a function'],
    ]
    for (const [part, message] of wrongs) {
      const odd = { ...good, ...part }
      expect(() => defineDecider(odd as never)).toThrow(message)
      expect(() => initial(odd as never, id)).toThrow(message)
    }
    const Moved = defineEvent('Moved')
    expect(() => defineDecider([Moved, Moved], good)).toThrow(
      "events of the decider Odd has two definitions of 'Moved'",
    )
  })

  it('has its types inferred from its definition', () => {
    expectTypeOf(initial(dogs, id)).toEqualTypeOf<DeciderState<DogState>>()
    expectTypeOf(decide(dogs, initial(dogs, id), { name: 'register', args: ['Fido'] }).state).toEqualTypeOf<DogState>()
    const misuses = [
      // @ts-expect-error the argument is a text
      () => decide(dogs, initial(dogs, id), { name: 'addTrick', args: [7] }),
      // @ts-expect-error an argument is missing
      () => decide(dogs, initial(dogs, id), { name: 'addTrick', args: [] }),
      // @ts-expect-error there is no such command
      () => decide(dogs, initial(dogs, id), { name: 'bury', args: [] }),
      () =>
        defineDecider({
          name: 'Odd',
          initialState: () => 0,
          evolve: { Moved: (state, data: { by: number }) => state + data.by },
          // @ts-expect-error the event's data have no `to`
          decide: { move: (_state) => [{ type: 'Moved', data: { to: 1 } }] },
        }),
      () =>
        defineDecider({
          name: 'Odd',
          initialState: () => 0,
          evolve: { Moved: (state, data: { by: number }) => state + data.by },
          // @ts-expect-error there is no event of that name
          decide: { move: (_state) => [{ type: 'Lost', data: { by: 1 } }] },
        }),
    ]
    expect(misuses).toHaveLength(5)
    const counter = defineDecider({
      name: 'Counter',
      initialState: () => 0,
      evolve: { Added: (state, data: { by: number }) => state + data.by, Cleared: () => 0 },
      decide: {
        clear: () => [{ type: 'Cleared', data: {} }],
        add: (_state, by: number) => [{ type: 'Added', data: { by } }],
      },
    })
    expectTypeOf(decide(counter, initial(counter, 'c'), { name: 'clear', args: [] }).state).toEqualTypeOf<number>()
    expect(decide(counter, initial(counter, 'c'), { name: 'add', args: [2] }).state).toBe(2)
    const written = {
      name: 'Lamp',
      initialState: () => ({ isOn: false }),
      evolve: { Switched: (_state: { isOn: boolean }, data: { isOn: boolean }) => ({ isOn: data.isOn }) },
      decide: { turn: (_state: { isOn: boolean }, isOn: boolean) => [{ type: 'Switched' as const, data: { isOn } }] },
    }
    const lit = decide(written, initial(written, 'lamp'), { name: 'turn', args: [true] })
    expectTypeOf(lit.state).toEqualTypeOf<{ isOn: boolean }>()
    expect(lit.state).toEqual({ isOn: true })
  })
})
