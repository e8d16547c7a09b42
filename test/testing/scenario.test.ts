/** Scenarios: what they accept, and what they say when something else came of it. */
import { AssertionError } from 'node:assert'
import { describe, expect, it } from 'vitest'
import { defineDecider } from '../../src/index.js'
import { type FixedClock, fixedClock, given } from '../../src/testing/index.js'
import { accounts, Dog } from '../application/dogs.js'

const registered = { type: 'Registered', data: { name: 'Fido' } }
const opened = { type: 'Opened', data: { owner: 'Ann' } } as const

function failed(check: () => unknown): AssertionError {
  try {
    check()
  } catch (error) {
    if (error instanceof AssertionError) return error
    throw error
  }
  throw new Error('expected an assertion to fail')
}

const failureOf = (check: () => unknown): string => failed(check).message

describe('a scenario of an aggregate', () => {
  it('tells the events and the state that follow', () => {
    const outcome = given(Dog, registered, { type: 'TrickAdded', data: { trick: 'sit' } }).when((dog) => {
      dog.addTrick('beg')
      dog.addTrick('roll over')
    })
    outcome
      .thenEvents({ type: 'TrickAdded', data: { trick: 'beg' } }, { type: 'TrickAdded', data: { trick: 'roll over' } })
      .thenState({ tricks: ['sit', 'beg', 'roll over'], version: 4 })
    given(Dog)
      .when(() => new Dog('Rex'))
      .thenEvents({ type: 'Registered', data: { name: 'Rex' } })
    expect(
      given(Dog, registered)
        .when(() => undefined)
        .thenEvents(),
    ).toBeDefined()
  })

  it('tells that something is refused', () => {
    const outcome = given(Dog, registered).when(() => {
      throw new RangeError('too old')
    })
    outcome.thenThrows(/too old/).thenThrows(RangeError)
    expect(failureOf(() => outcome.thenThrows(/too young/))).toContain('too old')
    expect(failureOf(() => outcome.thenThrows(TypeError))).toContain('too old')
    expect(() => outcome.thenEvents()).toThrow('too old')
  })

  it('fails with the difference', () => {
    const outcome = given(Dog, registered).when((dog) => dog.addTrick('beg'))
    expect(failureOf(() => outcome.thenEvents({ type: 'TrickAdded', data: { trick: 'sit' } }))).toMatch(/beg[\s\S]*sit/)
    expect(failureOf(() => outcome.thenEvents())).toContain('TrickAdded')
    expect(failureOf(() => outcome.thenState({ tricks: [] }))).toContain('beg')
    expect(failureOf(() => outcome.thenThrows(/anything/))).toContain('It was not refused.')
    expect(
      failureOf(() =>
        given(Dog)
          .when(() => undefined)
          .thenEvents(),
      ),
    ).toContain('has to return the new aggregate')
  })
})

describe('a check that fails', () => {
  it('tells the scenario in words, and gives frameworks both sides', () => {
    const outcome = given(Dog, registered).when((dog) => dog.addTrick('beg'))
    const error = failed(() => outcome.thenEvents({ type: 'TrickAdded', data: { trick: 'sit' } }))
    expect(error.message).toMatch(
      /^Given Dog: Registered { name: 'Fido' }\nwhen \(dog\) => dog.addTrick\(.beg.\)\nOther events followed.\n/,
    )
    expect(error.message).toMatch(/\+ +trick: 'beg'[\s\S]*- +trick: 'sit'/)
    expect(error.message.split("'sit'")).toHaveLength(2)
    expect(error.actual).toEqual([{ type: 'TrickAdded', data: { trick: 'beg' } }])
    expect(error.expected).toEqual([{ type: 'TrickAdded', data: { trick: 'sit' } }])
    expect(error.stack?.split('\n').find((line) => line.includes(' at '))).toContain('scenario.test.ts')
  })

  it('tells the command of a decider, and the end of a long past', () => {
    const changes = Array.from({ length: 9 }, (_, amount) => ({ type: 'Changed', data: { amount } }) as const)
    const message = failureOf(() =>
      given(accounts, opened, ...changes)
        .when('change', 10)
        .thenNothing(),
    )
    expect(message).toContain('Given Account: 5 events, Changed { amount: 4 }, Changed { amount: 5 }')
    expect(message).toContain('when change(10)\nEvents followed.')
    expect(failureOf(() => given(accounts).when('open', 'Ann').thenNothing())).toContain('Given Account: no events\n')
  })

  it('keeps the error that came instead of the expected one', () => {
    const tooOld = new RangeError('too old')
    const outcome = given(Dog, registered).when(() => {
      throw tooOld
    })
    const error = failed(() => outcome.thenThrows(TypeError))
    expect(error).toMatchObject({ actual: 'RangeError: too old', expected: 'TypeError', cause: tooOld })
    expect(failureOf(() => outcome.thenThrows(/too young/))).toContain('It was refused by another error.')
    const foreign = given(Dog, registered).when(() => {
      throw Object.assign(new Error(''), { name: 'TypeError' })
    })
    expect(failureOf(() => foreign.thenThrows(TypeError))).toContain('It was refused by another error.')
  })

  it('fails where events were triggered before the refusal', () => {
    const outcome = given(Dog, registered).when((dog) => {
      dog.addTrick('beg')
      throw new RangeError('too old')
    })
    expect(failed(() => outcome.thenThrows(RangeError)).actual).toMatchObject([{ type: 'TrickAdded' }])
  })

  it('is no refusal by the aggregate', () => {
    expect(
      failureOf(() =>
        given(Dog)
          .when(() => undefined)
          .thenThrows(Error),
      ),
    ).toContain('has to return the new')
    const later = async (): Promise<void> => await Promise.reject(new Error('later'))
    expect(failureOf(() => given(Dog, registered).when(later))).toContain('returned a promise')
  })
})

describe('the state after a scenario', () => {
  const carts = defineDecider({
    name: 'Cart',
    initialState: () => ({
      lines: {} as Readonly<Record<string, number>>,
      buyer: { town: 'Bern', tags: new Set(['new']) },
    }),
    evolve: {
      Added: (state, { item, count }: { item: string; count?: number | undefined }) => ({
        ...state,
        lines: { ...state.lines, [item]: count ?? 1 },
      }),
    },
    decide: { add: (_state, item: string, count?: number) => [{ type: 'Added', data: { item, count } }] },
  })
  const counters = defineDecider({
    name: 'Counter',
    initialState: () => 0,
    evolve: { Counted: (state, { by }: { by: number }) => state + by },
    decide: { count: (_state, by: number) => [{ type: 'Counted', data: { by } }] },
  })

  it('is compared as a whole below the members that are named', () => {
    const outcome = given(carts).when('add', 'bone')
    outcome.thenState({ lines: { bone: 1 } }).thenState({ buyer: { town: 'Bern', tags: new Set(['new']) } })
    expect(failed(() => outcome.thenState({ lines: {} })).actual).toEqual({ lines: { bone: 1 } })
    expect(failureOf(() => outcome.thenState({ buyer: { town: 'Bern', tags: new Set(['old']) } }))).toMatch(
      /\+ +'new'[\s\S]*- +'old'/,
    )
  })

  it('is compared itself where it is no object', () => {
    const outcome = given(counters, { type: 'Counted', data: { by: 2 } }).when('count', 3)
    outcome.thenState(5)
    expect(failed(() => outcome.thenState(6))).toMatchObject({ actual: 5, expected: 6 })
    // @ts-expect-error: the state is a number
    expect(() => outcome.thenState('5')).toThrow(AssertionError)
  })

  it('comes of events in which undefined members are not there', () => {
    const outcome = given(carts).when('add', 'bone', undefined)
    outcome.thenEvents({ type: 'Added', data: { item: 'bone', count: undefined } })
    outcome.thenEvents({ type: 'Added', data: { item: 'bone' } })
  })
})

describe('the past', () => {
  function timesAfter(clock?: FixedClock): string[] {
    const times: string[] = []
    given(Dog, registered, { type: 'TrickAdded', data: { trick: 'sit' } })
      .when((dog) => {
        times.push(dog.createdOn.iso, dog.modifiedOn.iso)
        dog.addTrick('beg')
        times.push(dog.modifiedOn.iso)
      })
      .thenEvents({ type: 'TrickAdded', data: { trick: 'beg' } })
    clock?.restore()
    return times
  }

  it('is before what is done, and a fixed clock is not moved on by it', () => {
    for (const stepMs of [0, 1]) {
      expect(timesAfter(fixedClock('2026-05-01T10:00:00Z', { stepMs }))).toEqual([
        '2026-05-01T09:59:59.998000+00:00',
        '2026-05-01T09:59:59.999000+00:00',
        '2026-05-01T10:00:00.000000+00:00',
      ])
    }
    const times = timesAfter()
    expect([...new Set(times)].sort()).toEqual(times)
    expect(times).toHaveLength(3)
  })
})

describe('a scenario of a decider', () => {
  it('tells the events and the state that follow', () => {
    given(accounts, opened)
      .when('change', 10)
      .thenEvents({ type: 'Changed', data: { amount: 10 } })
      .thenState({ balance: 10, isOpen: true })
    given(accounts).when('open', 'Ann').thenEvents(opened)
    expect(given(accounts, opened).when('open', 'Bea').thenEvents()).toBeDefined()
  })

  it('has a past of older events, too', () => {
    const notes = defineDecider({
      name: 'Note',
      upcasts: { Written: [({ body }: { body: string }) => ({ text: body })] },
      initialState: () => ({ texts: [] as readonly string[] }),
      evolve: { Written: (state, { text }: { text: string }) => ({ texts: [...state.texts, text] }) },
      decide: { write: (_state, text: string) => [{ type: 'Written', data: { text } }] },
    })
    given(notes, { type: 'Written', data: { body: 'a' }, classVersion: 1 }, { type: 'Written', data: { text: 'b' } })
      .when('write', 'c')
      .thenState({ texts: ['a', 'b', 'c'] })
  })

  it('tells that nothing has happened', () => {
    given(accounts, opened).when('open', 'Ann').thenNothing().thenState({ isOpen: true })
    given(Dog, registered)
      .when(() => undefined)
      .thenNothing()
    const refused = given(accounts, opened).when('change', -1)
    expect(() => refused.thenNothing()).toThrow('insufficient')
  })

  it('tells that something is refused', () => {
    given(accounts, opened)
      .when('change', -1)
      .thenThrows(RangeError)
      .thenThrows(/insufficient/)
    expect(failureOf(() => given(accounts, opened).when('change', 1).thenThrows(RangeError))).toContain('Changed')
  })

  it('knows the commands and events of its decider', () => {
    // @ts-expect-error: no such command
    given(accounts, opened).when('close').thenThrows(TypeError)
    // @ts-expect-error: no such event
    expect(() => given(accounts, { type: 'Closed', data: {} }).when('change', 1)).toThrow(/no event/)
  })
})
