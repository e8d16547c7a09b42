/** Scenarios agree with the store: they refuse what it refuses, rebuild as it does, and find what no event carries. */
import { describe, expect, it } from 'vitest'
import { Aggregate, Application, DataError, defineDecider, event } from '../../src/index.js'
import { given } from '../../src/testing/index.js'
import { Money, refused } from '../values/cases.js'

class Box extends Aggregate {
  value: unknown
  readonly list: unknown[] = []
  readonly label = (): string => 'box'
  count = 0
  @event('Put', 'value') put(value: unknown): void {
    this.value = value
    this.list.push(value)
  }
  @event('Moved', 'days') move(days: number): void {
    const due = this.value as Date
    due.setUTCDate(due.getUTCDate() + days)
  }
  forgotten(): void {
    this.count += 1
  }
  deep(): void {
    this.list.push('no event')
  }
}

const created = { type: 'Created' }

describe('a scenario of an aggregate', () => {
  it.each(refused)('refuses $value, as the trigger does', ({ make, message }) => {
    given(Box, created)
      .when((box) => box.put(make()))
      .thenThrows(DataError)
    expect(() => given(Box, created, { type: 'Put', data: { value: make() } }).when(() => undefined)).toThrow(message)
  })

  it('has the state that the store makes of the events', async () => {
    const at = new Date('2026-01-01')
    const outcome = given(Box, created, { type: 'Put', data: { value: at } }).when((box) => box.move(7))
    outcome.thenEvents({ type: 'Moved', data: { days: 7 } }).thenState({ value: new Date('2026-01-08') })
    expect(at).toEqual(new Date('2026-01-01'))
    given(Box, created)
      .when((box) => box.put(new Money(5)))
      .thenEvents({ type: 'Put', data: { value: new Money(5) } })
      .thenState({ value: new Money(5) })
    const app = new Application()
    const box = new Box()
    box.put(at)
    box.move(7)
    await app.save(box)
    expect((await app.repository.get(Box, box.id)).value).toEqual(new Date('2026-01-08'))
  })

  it.each([
    ['a member', (box: Box) => box.forgotten(), 'count'],
    ['something deeper', (box: Box) => box.deep(), 'no event'],
    [
      'something beside an event',
      (box: Box) => {
        box.put(1)
        box.forgotten()
      },
      'count',
    ],
  ] as const)('finds %s that has changed without an event', (_name, act, told) => {
    const outcome = given(Box, created).when(act)
    for (const check of [() => outcome.thenNothing(), () => outcome.thenEvents(), () => outcome.thenState({})]) {
      expect(check).toThrow(told)
      expect(check).toThrow('something changes without an event')
    }
  })

  it('refuses a state of which no snapshot could be kept, as the first save of it does', async () => {
    class Average extends Aggregate {
      static readonly snapshots = { every: 50 }
      average = 0
      @event('Counted', 'by') count(by: number): void {
        this.average = by / 0
      }
      @event('Closed', { ends: true }) close(): void {}
    }
    const refusal = /^Cannot take a snapshot of Average .*, version 2: .*average is Infinity/
    const average = new Average()
    average.count(1)
    await expect(new Application().save(average)).rejects.toThrow(refusal)
    const outcome = given(Average, created).when((each) => each.count(1))
    outcome.thenThrows(DataError).thenThrows(refusal)
    expect(() => outcome.thenState({})).toThrow(refusal)
    given(Average, created)
      .when((each) => {
        each.count(1)
        each.close()
      })
      .thenEvents({ type: 'Counted', data: { by: 1 } }, { type: 'Closed' })
  })

  it('finds it in a new aggregate, too, and in one that keeps its own state', () => {
    expect(() =>
      given(Box)
        .when(() => Object.assign(new Box(), { count: 5 }))
        .thenEvents(created),
    ).toThrow('something changes without an event')
    class Private extends Aggregate {
      #secret = 0
      reveal(): void {
        this.#secret += 1
      }
      snapshotState(): object {
        return { secret: this.#secret }
      }
      restoreState({ secret }: { secret: number }): void {
        this.#secret = secret
      }
    }
    expect(() =>
      given(Private, created)
        .when((each) => each.reveal())
        .thenNothing(),
    ).toThrow('secret')
  })
})

describe('a scenario of a decider', () => {
  const boxes = defineDecider({
    name: 'BoxDecider',
    initialState: () => ({ values: [] as unknown[] }),
    evolve: { Put: ({ values }, { value }: { value: unknown }) => ({ values: [...values, value] }) },
    decide: {
      put: (_state, value: unknown) => [{ type: 'Put', data: { value } }],
      peek: (state) => {
        state.values.push('changed')
        return []
      },
    },
  })

  it('refuses a state of which no snapshot could be kept', () => {
    const averages = defineDecider({
      name: 'AverageDecider',
      snapshots: { every: 50 },
      initialState: () => ({ average: 0 }),
      evolve: { Counted: (_state, { by }: { by: number }) => ({ average: by / 0 }) },
      decide: { count: (_state, by: number) => [{ type: 'Counted', data: { by } }] },
    })
    given(averages)
      .when('count', 1)
      .thenThrows(/average is Infinity/)
  })

  it('finds a command that changes the state', () => {
    given(boxes)
      .when('put', 1)
      .thenEvents({ type: 'Put', data: { value: 1 } })
    expect(() =>
      given(boxes, { type: 'Put', data: { value: 1 } })
        .when('peek')
        .thenNothing(),
    ).toThrow('changed')
    given(boxes)
      .when('put', Number.NaN)
      .thenThrows(/value is NaN/)
  })
})
