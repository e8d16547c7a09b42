/** The kit for decisions by tags. */
import { AssertionError } from 'node:assert/strict'
import { describe, expect, it } from 'vitest'
import { defineEvent, type Facts, facts, secret, typed } from '../../src/index.js'
import { givenFacts } from '../../src/testing/index.js'

const SeatsSet = defineEvent('SeatsSet', typed<{ course: string; seats: number }>(), {
  tags: ({ course }) => ({ course }),
})
const Joined = defineEvent('Joined', typed<{ course: string; email: string }>(), {
  tags: ({ course, email }) => ({ course, email: secret(email) }),
})
const seats = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [when(SeatsSet, (_seats, data) => data.seats)], { onlyLast: true })
const taken = (course: string): Facts<number> => facts({ course }, 0, (when) => [when(Joined, (count) => count + 1)])
const isIn = (course: string, email: string): Facts<boolean> =>
  facts({ course, email: secret(email) }, false, (when) => [when(Joined, () => true)])

const items = { seats: seats('c'), taken: taken('c'), isIn: isIn('c', 'ann') }
const join = (known: { seats: number; taken: number; isIn: boolean }): ReturnType<typeof Joined>[] => {
  if (known.isIn) return []
  if (known.taken >= known.seats) throw new RangeError('full')
  return [Joined({ course: 'c', email: 'ann' })]
}

describe('givenFacts', () => {
  it('gives the events of a decision, nothing, or its error', () => {
    givenFacts(SeatsSet({ course: 'c', seats: 1 }))
      .whenDecide(items, join)
      .thenEvents(Joined({ course: 'c', email: 'ann' }))
    givenFacts(
      SeatsSet({ course: 'c', seats: 1 }),
      SeatsSet({ course: 'c', seats: 2 }),
      Joined({ course: 'c', email: 'bob' }),
    )
      .whenDecide(items, join)
      .thenEvents({ type: 'Joined', data: { course: 'c', email: 'ann' } })
    givenFacts(Joined({ course: 'c', email: 'ann' }))
      .whenDecide(items, join)
      .thenNothing()
    givenFacts().whenDecide(items, join).thenThrows(RangeError)
  })

  it('refuses events outside of what is asked for, and checks that do not hold', () => {
    expect(() => givenFacts(SeatsSet({ course: 'd', seats: 1 })).whenDecide(items, join)).toThrow(/none of the facts/)
    expect(() => givenFacts().whenDecide(items, join).thenNothing()).toThrow('full')
    const outcome = givenFacts(SeatsSet({ course: 'c', seats: 1 })).whenDecide(items, join)
    expect(() => outcome.thenNothing()).toThrow(AssertionError)
    expect(() => givenFacts({ type: 'Joined', data: {} })).toThrow(/definitions make/)
  })
})
