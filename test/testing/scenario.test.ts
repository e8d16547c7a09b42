/** Scenarios: what they accept, and what they say when something else came of it. */
import { AssertionError } from 'node:assert'
import { describe, expect, it } from 'vitest'
import { given } from '../../src/testing/index.js'
import { accounts, Dog } from '../application/dogs.js'

const registered = { type: 'Registered', data: { name: 'Fido' } }
const opened = { type: 'Opened', data: { owner: 'Ann' } } as const

function failureOf(check: () => unknown): string {
  try {
    check()
  } catch (error) {
    if (error instanceof AssertionError) return error.message
    throw error
  }
  throw new Error('expected an assertion to fail')
}

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

describe('a scenario of a decider', () => {
  it('tells the events and the state that follow', () => {
    given(accounts, opened)
      .when('change', 10)
      .thenEvents({ type: 'Changed', data: { amount: 10 } })
      .thenState({ balance: 10, isOpen: true })
    given(accounts).when('open', 'Ann').thenEvents(opened)
    expect(given(accounts, opened).when('open', 'Bea').thenEvents()).toBeDefined()
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
