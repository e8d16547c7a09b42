/** The verification of snapshots finds what the events say otherwise, and nothing else. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Aggregate, Application, defineDecider, event, PrismaDatastore } from '../../src/index.js'
import { inMemory, verifySnapshots } from '../../src/testing/index.js'
import { databases, type TestDatabase } from '../support/databases.js'

const rule = { factor: 1 }

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

describe.each(databases)('the verification of snapshots on $name', (kind) => {
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
})
