/** A class and a decider, each by itself or taking turns, give the same history, byte for byte. */

import { describe, expect, it } from 'vitest'
import { BankAccount } from '../../examples/stories/bank-account/class.js'
import { bankAccounts } from '../../examples/stories/bank-account/decider.js'
import { AccountClosedError, InsufficientFundsError } from '../../examples/stories/bank-account/rules.js'
import { Application, PrismaDatastore } from '../../src/index.js'
import { given, inMemory } from '../../src/testing/index.js'
import { oneOfEach } from '../support/databases.js'
import { type Story, stories } from './stories.js'
import { statesOf, type Telling, tell, topicsOf } from './tell.js'

const tellings: Readonly<Record<string, Telling>> = {
  byClass: { does: () => 'class' },
  byDecider: { does: () => 'decider' },
  byTurns: { does: (index) => (index % 2 === 0 ? 'class' : 'decider') },
  byTurnsOtherwise: { does: (index) => (index % 2 === 0 ? 'decider' : 'class') },
  // Each style goes on from snapshots of its own, of the other, and of both.
  classFromItsOwn: { does: () => 'class', snapshots: () => 'class' },
  classFromOther: { does: () => 'class', snapshots: () => 'decider' },
  deciderFromItsOwn: { does: () => 'decider', snapshots: () => 'decider' },
  deciderFromOther: { does: () => 'decider', snapshots: () => 'class' },
  byTurnsFromBoth: {
    does: (index) => (index % 2 === 0 ? 'class' : 'decider'),
    snapshots: (index) => (index % 4 < 2 ? 'class' : 'decider'),
  },
}

/** Those that a database may tell apart: who stores, and whose snapshots are read. */
const stored = ['byClass', 'byDecider', 'byTurnsFromBoth']

async function holds(
  story: Story,
  names: readonly string[],
  open: (name: string) => Promise<Application>,
): Promise<void> {
  const histories = new Map<string, string[]>()
  for (const name of names) {
    const telling = tellings[name]
    if (telling === undefined) throw new Error(`There is no telling ${name}.`)
    const application = await open(name)
    histories.set(name, await tell(application, story, telling))
    expect(await statesOf(application, story)).toEqual([story.ends, story.ends])
    await application.takeSnapshot(story.aggregateClass, story.id)
    expect(await statesOf(application, story)).toEqual([story.ends, story.ends])
    await application.takeSnapshot(story.decider, story.id)
    expect(await statesOf(application, story)).toEqual([story.ends, story.ends])
  }
  const [first, ...others] = histories.values()
  expect(first?.map((stored) => stored.split(' ')[0])).toEqual(topicsOf(story))
  expect(others).toEqual(others.map(() => first))
}

describe.each(stories)('the story of the $name', (story) => {
  it('[152] is the same in both styles, in memory', async () => {
    await holds(story, Object.keys(tellings), async () => inMemory(Application, { snapshots: true }))
  })

  it.each(oneOfEach)('[152] is the same in both styles, on $name', async (kind) => {
    const database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    try {
      await holds(story, stored, async (name) =>
        new Application({ name, datastore, snapshots: true, env: { CREATE_TABLE: 'yes' } }).ready(),
      )
    } finally {
      await datastore.close()
      await database.drop()
    }
  })
})

describe('the story of the bank account', () => {
  it('[151] is one of seven events', () => {
    const account = new BankAccount('Ann')
    account.credit(1000)
    account.credit(1000)
    account.debit(1500)
    expect(account.balance).toBe(500)
    expect(() => account.debit(1500)).toThrow(InsufficientFundsError)
    account.setOverdraftLimit(10_000)
    account.debit(1500)
    expect(account.balance).toBe(-1000)
    account.close()
    expect(() => account.debit(1500)).toThrow(AccountClosedError)
    expect(account.pendingEvents).toHaveLength(7)
  })

  it('[151] [152] refuses with the same errors as a decider', () => {
    const opened = { type: 'Opened', data: { owner: 'Ann' } } as const
    given(bankAccounts, opened).when('debit', 1).thenThrows(InsufficientFundsError)
    given(bankAccounts, opened, { type: 'Closed', data: {} }).when('credit', 1).thenThrows(AccountClosedError)
  })
})
