/** The verification of snapshots finds what the events say otherwise, and nothing else. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  defineDecider,
  event,
  MapperError,
  PersistenceError,
  PrismaDatastore,
} from '../../src/index.js'
import { inMemory, verifySnapshots } from '../../src/testing/index.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

const rule = { factor: 1, forbidden: '' }

class Account extends Aggregate {
  static readonly snapshots: { every: number; revision?: number } = { every: 10 }
  cents = 0
  readonly days = new Date(0)
  note: string | undefined
  @event('Changed', 'cents') change(cents: number): void {
    this.cents += cents * rule.factor
    this.note = cents > 5 ? 'big' : undefined
  }
}

class Safe extends Aggregate {
  static readonly snapshots = { every: 2 }
  #cents = 0
  @event('Filled', 'cents') fill(cents: number): void {
    this.#cents += cents * rule.factor
  }
  snapshotState(): object {
    return { cents: this.#cents }
  }
  restoreState(state: { cents: number }): void {
    this.#cents = state.cents
  }
}

const counters = defineDecider({
  name: 'Counter',
  snapshots: { every: 2 },
  initialState: () => 0,
  evolve: { Counted: (state, data: { by: number }) => state + data.by * rule.factor },
  decide: { count: (_state, by: number) => [{ type: 'Counted', data: { by } }] },
})

async function withHistory(bank: Application): Promise<{ account: Account; safe: Safe; counter: string }> {
  const account = new Account()
  for (let cents = 0; cents < 25; cents += 1) account.change(cents)
  const safe = new Safe()
  safe.fill(3)
  const counter = crypto.randomUUID()
  await bank.save(account, safe)
  for (const by of [1, 2, 3]) await bank.execute(counters, counter, 'count', by)
  return { account, safe, counter }
}

async function verified(bank: Application): Promise<void> {
  rule.factor = 1
  const { account, safe, counter } = await withHistory(bank)
  expect(await verifySnapshots(bank, Account)).toEqual({ checked: 2, passedOver: 0, differences: [] })
  expect(await verifySnapshots(bank, Safe)).toEqual({ checked: 1, passedOver: 0, differences: [] })
  expect(await verifySnapshots(bank, counters)).toEqual({ checked: 1, passedOver: 0, differences: [] })

  rule.factor = 2
  const { differences } = await verifySnapshots(bank, Account)
  expect(differences.map(({ id, version }) => [id, version])).toEqual([
    [account.id, 10],
    [account.id, 20],
  ])
  expect(differences[0]).toMatchObject({ expected: { cents: 72 }, actual: { cents: 36 } })
  expect((await verifySnapshots(bank, Safe)).differences).toMatchObject([
    { id: safe.id, expected: { cents: 6 }, actual: { cents: 3 } },
  ])
  expect((await verifySnapshots(bank, counters)).differences).toMatchObject([{ id: counter, version: 2 }])
  expect(await verifySnapshots(bank, Account, { ids: [crypto.randomUUID()] })).toMatchObject({ checked: 0 })
  Object.assign(Account.snapshots, { revision: 2 })
  try {
    expect(await verifySnapshots(bank, Account)).toEqual({ checked: 0, passedOver: 2, differences: [] })
  } finally {
    Object.assign(Account.snapshots, { revision: undefined })
    rule.factor = 1
  }
}

describe('the verification of snapshots', () => {
  it('finds what the events say otherwise, in memory', async () => {
    await verified(inMemory(Application))
  })
})

describe('what is wrong with one originator', () => {
  const notes = defineDecider({
    name: 'Note',
    snapshots: { every: 1 },
    initialState: () => ({ text: '' }),
    evolve: { Written: (_state, { text }: { text: string }) => (text === rule.forbidden ? refuse(text) : { text }) },
    decide: { write: (_state, text: string) => [{ type: 'Written', data: { text } }] },
  })
  function refuse(text: string): never {
    throw new RangeError(`no more ${text}`)
  }
  const [first, second, third] = ['1', '2', '3'].map((n) => `00000000-0000-4000-8000-00000000000${n}`) as [
    string,
    string,
    string,
  ]
  let book: Application
  beforeEach(async () => {
    book = inMemory(Application)
    for (const id of [first, second, third]) {
      for (const text of ['a', `${id}b`, 'c']) await book.execute(notes, id, 'write', text)
    }
  })
  afterEach(() => {
    rule.forbidden = ''
  })

  it('is a difference where its events cannot be applied, and the others are verified', async () => {
    rule.forbidden = `${second}b`
    const { checked, differences } = await verifySnapshots(book, notes)
    const error = new RangeError(`no more ${second}b`)
    expect(checked).toBe(9)
    expect(differences).toEqual([
      { id: second, version: 2, expected: error, actual: { text: `${second}b` }, isPersonal: false },
      { id: second, version: 3, expected: error, actual: { text: 'c' }, isPersonal: false },
    ])
  })

  it('is a difference where its snapshot cannot be read', async () => {
    const { recorder } = await book.snapshotStore()
    const [stored] = await recorder.selectEvents(first, { limit: 1 })
    await recorder.deleteEvents?.(first, { lte: 2 })
    if (stored !== undefined) await recorder.insertEvents([{ ...stored, state: Buffer.from('{') }])
    const { checked, differences } = await verifySnapshots(book, notes)
    expect(checked).toBe(8)
    expect(differences).toMatchObject([{ id: first, version: 1, expected: { text: 'a' } }])
    expect(differences[0]?.actual).toBeInstanceOf(MapperError)
  })

  it('is a difference where its events end before the snapshot', async () => {
    const { recorder } = await book.snapshotStore()
    const [latest] = await recorder.selectEvents(third, { desc: true, limit: 1 })
    if (latest !== undefined) await recorder.insertEvents([{ ...latest, originatorVersion: 4 }])
    const { checked, differences } = await verifySnapshots(book, notes)
    expect(checked).toBe(10)
    expect(differences).toEqual([
      { id: third, version: 4, expected: undefined, actual: { text: 'c' }, isPersonal: false },
    ])
  })

  it('is a difference where neither side can tell its state', async () => {
    class Box extends Safe {
      override snapshotState(): object {
        return rule.forbidden === 'all' ? refuse('boxes') : super.snapshotState()
      }
    }
    const box = new Box()
    box.fill(3)
    await book.save(box)
    expect((await verifySnapshots(book, Box)).differences).toEqual([])
    rule.forbidden = 'all'
    const error = new RangeError('no more boxes')
    expect((await verifySnapshots(book, Box)).differences).toEqual([
      { id: box.id, version: 2, expected: error, actual: error, isPersonal: false },
    ])
  })

  it('is told only of the originators that are asked for', async () => {
    rule.forbidden = 'a'
    const { checked, differences } = await verifySnapshots(book, notes, { ids: [third] })
    expect([checked, ...differences.map(({ id }) => id)]).toEqual([3, third, third, third])
  })

  it('is passed over where somebody in it was forgotten', async () => {
    class Customer extends Aggregate {
      static readonly snapshots = { every: 2 }
      static readonly personal = { Named: { name: true } } as const
      name: unknown
      @event('Named', 'name') rename(name: string): void {
        this.name = name
      }
    }
    const [ann, bob] = [new Customer(), new Customer()]
    ann.rename('Ann')
    bob.rename('Bob')
    await book.save(ann, bob)
    expect(await verifySnapshots(book, Customer)).toEqual({ checked: 2, passedOver: 0, differences: [] })
    await book.forget(ann.id)
    expect(await verifySnapshots(book, Customer)).toEqual({ checked: 1, passedOver: 1, differences: [] })
  })
})

describe('many snapshots of one originator', () => {
  it('are verified by reading its events once', async () => {
    const bank = inMemory(Application)
    const account = new Account()
    for (let cents = 0; cents < 299; cents += 1) account.change(cents)
    await bank.save(account)
    const { recorder } = await bank.eventStore()
    let read = 0
    const selectEvents = recorder.selectEvents.bind(recorder)
    recorder.selectEvents = async (id, range) => {
      const events = await selectEvents(id, range)
      read += events.length
      return events
    }
    expect(await verifySnapshots(bank, Account)).toEqual({ checked: 30, passedOver: 0, differences: [] })
    expect(read).toBe(300)
  })
})

describe.each(oneOfEach)('the verification of snapshots on $name', (kind) => {
  let database: TestDatabase
  let datastore: PrismaDatastore
  beforeAll(async () => {
    database = await kind.createDatabase()
    datastore = new PrismaDatastore({ adapter: database.adapter() })
  })
  afterAll(async () => {
    await datastore.close()
    await database.drop()
  })

  it('finds what the events say otherwise', async () => {
    await verified(new Application({ name: '', datastore }))
  })

  it('takes no failure of the database for a difference', async () => {
    const bank = new Application({ name: '', datastore })
    const { account } = await withHistory(bank)
    await database.query('ALTER TABLE stored_events RENAME TO lost_events')
    await expect(verifySnapshots(bank, Account, { ids: [account.id] })).rejects.toBeInstanceOf(PersistenceError)
  })
})
