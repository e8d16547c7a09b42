/** Reading single events: of which kind they are, with their data in the present shape and typed. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { Aggregate } from '../../src/domain/aggregate.js'
import { decide, defineDecider, fold, initial } from '../../src/domain/decider.js'
import { event } from '../../src/domain/event-decorator.js'
import { defineEvent, typed } from '../../src/domain/event-definition.js'
import { readEvent, topicsOf } from '../../src/domain/read-event.js'
import { EventDataError } from '../../src/errors.js'

const TrickAdded = defineEvent('TrickAdded', z.object({ trick: z.string().trim().min(1) }))
const Renamed = defineEvent('Renamed', typed<{ name: string }>())
const Unused = defineEvent('Unused')

class Dog extends Aggregate {
  static readonly formerTopics = { 'kennel:Dog': 'Dog', 'Dog.TrickLearned': 'Dog.TrickAdded' }
  static readonly upcasts = { TrickAdded: [(data: { what: string }) => ({ trick: data.what })] }
  readonly tricks: string[] = []
  @event(TrickAdded, 'trick') addTrick(trick: string): void {
    this.tricks.push(trick)
  }
}

const dogs = defineDecider([TrickAdded, Renamed], {
  name: 'Dog',
  initialState: () => ({ tricks: [] as readonly string[], name: '' }),
  evolve: {
    TrickAdded: (state, { trick }) => ({ ...state, tricks: [...state.tricks, trick] }),
    Renamed: (state, { name }) => ({ ...state, name }),
  },
  decide: {
    addTrick: (_state, trick: string) => [TrickAdded({ trick })],
    reset: () => [Renamed({ name: '' })],
  },
})

describe('reading an event', () => {
  it('gives its data with their type and in their present shape', () => {
    const dog = new Dog()
    dog.addTrick('sit')
    const [created, added] = dog.collectEvents()
    if (created === undefined || added === undefined) throw new Error('there are two events')
    const read = readEvent(Dog, TrickAdded, added)
    expectTypeOf(read?.data.trick).toEqualTypeOf<string | undefined>()
    expect(read).toEqual(added)
    expect(readEvent(Dog, TrickAdded, created)).toBeUndefined()
    const { classVersion: _version, ...fields } = added
    const old = { ...fields, topic: 'kennel:Dog.TrickLearned', data: { what: 'roll' } }
    expect(readEvent(Dog, TrickAdded, old)?.data).toEqual({ trick: 'roll' })
    expect(() => readEvent(Dog, Unused, added)).toThrow("Dog does not know this definition of 'Unused'")
    expect(() => readEvent(Dog, 'TrickAded', added)).toThrow("Dog has no event 'TrickAded'")
    expect(() => topicsOf(dogs, 'TrickAded')).toThrow("Dog has no event 'TrickAded'")
  })

  it('gives the topics that it may be stored with', () => {
    expect(topicsOf(Dog, TrickAdded)).toEqual([
      'Dog.TrickAdded',
      'Dog.TrickLearned',
      'kennel:Dog.TrickAdded',
      'kennel:Dog.TrickLearned',
    ])
    expect(topicsOf(dogs, 'Renamed')).toEqual(['Dog.Renamed'])
  })
})

describe('a decider with definitions', () => {
  it('decides events that their schemas accept, and reads them by name', () => {
    const decision = decide(dogs, initial(dogs, 'rex'), { name: 'addTrick', args: ['  sit '] })
    expect(decision.state.tricks).toEqual(['sit'])
    const [added] = decision.collectEvents()
    if (added === undefined) throw new Error('there is an event')
    expect(added.data).toEqual({ trick: 'sit' })
    const read = readEvent(dogs, 'TrickAdded', added)
    expectTypeOf(read?.data).toEqualTypeOf<{ trick: string } | undefined>()
    expect(read?.data.trick).toBe('sit')
    expect(readEvent(dogs, TrickAdded, added)?.data).toEqual({ trick: 'sit' })
    expect(fold(dogs, initial(dogs, 'rex'), [added]).state).toEqual({ tricks: ['sit'], name: '' })
    expect(() => decide(dogs, initial(dogs, 'rex'), { name: 'addTrick', args: [' '] })).toThrow(EventDataError)
    expect(() => decide(dogs, initial(dogs, 'rex'), { name: 'addTrick', args: [' '] })).toThrow(
      'Cannot trigger Dog.TrickAdded, version 1 of rex: trick: ',
    )
  })

  it('has a body for each, and no others', () => {
    expect(() =>
      defineDecider([TrickAdded, Unused], {
        name: 'Odd',
        initialState: () => 0,
        // @ts-expect-error a body is missing
        evolve: { TrickAdded: (state) => state },
        decide: {
          // @ts-expect-error there is no such event
          rename: () => [Renamed({ name: '' })],
          // @ts-expect-error a field is missing
          add: (_state: number) => [TrickAdded({})],
        },
      }),
    ).toThrow("events of the decider Odd names 'Unused', which evolve does not have")
  })
})
