/** An event owns its data: nobody who has them, or had them, changes it, and what was changed in its body is the same after a load. */
import { deepStrictEqual } from 'node:assert/strict'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, Application, defineDecider, defineEvent, event, Timestamp, typed } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { Money, money } from './cases.js'

@event('Opened', 'due')
class Loan extends Aggregate {
  static readonly snapshots = {}
  readonly paid: unknown[] = []
  readonly fee: Money = new Money(1)
  readonly since: Date
  readonly due: Date
  constructor(due: Date) {
    super()
    this.due = due
    this.since = this.createdOn
  }
  @event('Extended', 'days') extend(days: number): void {
    this.due.setUTCDate(this.due.getUTCDate() + days)
    this.fee.double()
  }
  @event('Paid', 'money', 'at', 'receipt') pay(amount: Money, at: Date, receipt: Uint8Array): void {
    amount.double()
    at.setUTCFullYear(at.getUTCFullYear() + 1)
    receipt.fill(7)
    this.paid.push(amount, at, receipt)
  }
}

const loans = defineDecider({
  name: 'LoanDecider',
  snapshots: {},
  initialState: (): { readonly due: readonly Date[]; readonly tags: readonly string[] } => ({ due: [], tags: [] }),
  evolve: {
    Opened: (state, { due, tags }: { due: Date; tags: string[] }) => {
      due.setUTCFullYear(1999)
      tags.push('evolved')
      return { due: [...state.due, due], tags }
    },
  },
  decide: { open: (_state, due: Date, tags: string[]) => [{ type: 'Opened', data: { due, tags } }] },
})

const stateOf = (value: object): object => Object.assign({}, value)
const centsOf = (loan: Loan): unknown[] => [loan.fee.cents, (loan.paid[0] as Money).cents]

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let app: Application
  let cached: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    const options = { name: '', datastore: open.datastore, transcodings: [money] }
    app = new Application(options)
    cached = new Application({ ...options, cache: true })
  })
  afterAll(async () => {
    await open.close()
  })

  it('dates and instances that callers and bodies change do not change an event, and the object is the same once loaded', async () => {
    const [due, at, amount, receipt] = [
      new Date('2026-01-01'),
      new Date('2026-02-01'),
      new Money(5),
      Uint8Array.of(1),
    ] as const
    const loan = new Loan(due)
    loan.pay(amount, at, receipt)
    loan.extend(7)
    due.setUTCFullYear(1999)
    at.setTime(Number.NaN)
    amount.double()
    receipt[0] = 9
    const events = loan.pendingEvents.map(({ data }) => data)
    deepStrictEqual(events.slice(0, 2), [
      { due: Timestamp.fromISO('2026-01-01T00:00:00+00:00') },
      { money: new Money(5), at: Timestamp.fromISO('2026-02-01T00:00:00+00:00'), receipt: Uint8Array.of(1) },
    ])
    const [opened, paid] = events as [{ due: Date }, { money: Money }]
    expect(paid.money.cents).toBe(5)
    expect(() => opened.due.setUTCFullYear(2000)).toThrow('Cannot change a timestamp')
    await app.save(loan)

    const check = (loaded: Loan): void => {
      deepStrictEqual(stateOf(loaded), stateOf(loan))
      expect(centsOf(loaded)).toEqual([2, 10])
      expect(JSON.stringify(loaded)).toBe(JSON.stringify(loan))
      expect(loaded.due.toISOString()).toBe('2026-01-08T00:00:00.000Z')
    }
    for (const from of [app, cached, cached]) check(await from.repository.get(Loan, loan.id))
    await app.takeSnapshot(Loan, loan.id)
    const restored = await app.repository.get(Loan, loan.id)
    check(restored)
    for (const each of [loan, restored]) each.extend(1)
    deepStrictEqual(stateOf(restored), stateOf(loan))
  })

  it('a decider that changes data in evolve changes no event, and its state is the same once loaded', async () => {
    const id = crypto.randomUUID()
    const [due, tags] = [new Date('2026-01-01'), ['a']]
    const { state } = await app.execute(loans, id, 'open', due, tags)
    expect([due.getUTCFullYear(), tags]).toEqual([2026, ['a']])
    const [opened] = await (await app.eventStore()).get(id)
    expect(opened?.data).toEqual({ due: new Date('2026-01-01'), tags: ['a'] })
    for (const from of [app, cached, cached]) deepStrictEqual((await from.repository.get(loans, id)).state, state)
    await app.takeSnapshot(loans, id)
    const restored = await app.repository.get(loans, id)
    deepStrictEqual(restored.state, state)
    expect(JSON.stringify(restored.state)).toBe(JSON.stringify(state))
  })
})

it('a timestamp without microseconds stays one in a snapshot, and a date a date', async () => {
  const app = new Application({ snapshots: true })
  class Times extends Aggregate {
    readonly times: Date[] = []
    @event('Put', 'timestamp') put(timestamp?: Date): void {
      this.times.push(
        timestamp as Date,
        new Date(0),
        new Date(123),
        Timestamp.fromISO('2026-01-02T03:04:05.678000+00:00'),
      )
    }
  }
  const times = new Times()
  times.put(new Date('2026-01-02T03:04:05.678Z'))
  times.put(new Date('2026-01-02T03:04:05Z'))
  times.put()
  await app.save(times)
  await app.takeSnapshot(Times, times.id)
  deepStrictEqual((await app.repository.get(Times, times.id)).times, times.times)
})

it('a schema gets copies, and what it gives is pinned', () => {
  const shared = new Date(0)
  const Put = defineEvent('Put', {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: (value: unknown) => {
        ;(value as { at: Date }).at.setTime(5)
        return { value: { at: shared } }
      },
    },
  })
  class Box extends Aggregate {
    @event(Put, 'at') put(_at: Date): void {}
  }
  const box = new Box()
  const given = new Date(1)
  box.put(given)
  shared.setTime(9)
  expect([given.getTime(), box.pendingEvents[1]?.data]).toEqual([1, { at: new Date(0) }])
  const Counted = defineEvent('Counted', typed<{ n: number }>())
  class Count extends Aggregate {
    @event(Counted, 'n') count(_n: number): void {}
  }
  expect(() => new Count().count(Number.NaN)).toThrow('n is NaN')
})
