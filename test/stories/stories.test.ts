/** A class and a decider, each by itself or taking turns, give the same history, byte for byte. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BankAccount } from '../../examples/stories/bank-account/class.js'
import { bankAccounts } from '../../examples/stories/bank-account/decider.js'
import { AccountClosedError, InsufficientFundsError } from '../../examples/stories/bank-account/rules.js'
import { Application, PrismaDatastore } from '../../src/index.js'
import { type FixedClock, fixedClock, fixedIds, given, inMemory, type Replacement } from '../../src/testing/index.js'
import { databases } from '../support/databases.js'
import { type Story, stepByClass, stepByDecider, stories } from './stories.js'

let clock: FixedClock
let ids: Replacement
beforeEach(() => {
  clock = fixedClock()
  ids = fixedIds()
})
afterEach(() => {
  clock.restore()
  ids.restore()
})

/** Begins again, so that the next telling has the same times and ids. */
function again(): void {
  clock.restore()
  ids.restore()
  // A command takes a millisecond, also one that is refused after it has asked for the time.
  clock = fixedClock(undefined, { stepMs: 0 })
  ids = fixedIds()
}

/** Everything that is stored of the events, as text. */
async function history(application: Application): Promise<string[]> {
  const notifications = await application.recorder.selectNotifications(null, 100)
  return notifications.map(({ originatorId, originatorVersion, topic, state }) =>
    [originatorId, originatorVersion, topic, Buffer.from(state).toString('hex')].join(' '),
  )
}

type Tell = (application: Application, story: Story, index: number) => Promise<void>
const byTurns: Tell = async (application, story, index) =>
  await (index % 2 === 0 ? stepByClass : stepByDecider)(application, story, index)

async function tell(application: Application, story: Story, step: Tell): Promise<string[]> {
  again()
  for (const index of story.steps.keys()) {
    clock.advance(1)
    await step(application, story, index)
  }
  return await history(application)
}

async function viewsOf(application: Application, story: Story): Promise<unknown[]> {
  const aggregate = await application.repository.get(story.aggregateClass, story.id)
  const { state } = await application.repository.get(story.decider, story.id)
  return [story.view(Object.assign({}, aggregate) as never), story.view(state as never)]
}

async function holds(story: Story, application: (name: string) => Promise<Application>): Promise<void> {
  const [one, other, both] = [await application('One'), await application('Other'), await application('Both')]
  const told = await tell(one, story, stepByClass)
  expect(told).toHaveLength(story.steps.filter(({ refusal }) => refusal === undefined).length)
  expect(await tell(other, story, stepByDecider)).toEqual(told)
  expect(await tell(both, story, byTurns)).toEqual(told)
  for (const each of [one, other, both]) {
    const [byClass, byDecider] = await viewsOf(each, story)
    expect(byClass).toEqual(byDecider)
    // Whichever style has taken a snapshot, both come to the same.
    await each.takeSnapshot(story.aggregateClass, story.id)
    expect(await viewsOf(each, story)).toEqual([byClass, byDecider])
  }
  await other.takeSnapshot(story.decider, story.id, { version: 2 })
  expect(await viewsOf(other, story)).toEqual(await viewsOf(one, story))
}

it('[151] [152] a bank account refuses in both styles with the errors of its rules, and leaves no trace', () => {
  const account = new BankAccount('Ann')
  expect(() => account.debit(1)).toThrow(InsufficientFundsError)
  account.close()
  expect(() => account.credit(1)).toThrow(AccountClosedError)
  expect(account.pendingEvents.map(({ topic }) => topic)).toEqual(['BankAccount.Opened', 'BankAccount.Closed'])
  const opened = { type: 'Opened', data: { owner: 'Ann' } } as const
  given(bankAccounts, opened).when('debit', 1).thenThrows(InsufficientFundsError)
  given(bankAccounts, opened, { type: 'Closed', data: {} }).when('credit', 1).thenThrows(AccountClosedError)
})

describe.each(stories)('[151] the story of the $name', (story) => {
  it('is the same in both styles, in memory', async () => {
    await holds(story, async () => inMemory(Application, { snapshots: true }))
  })

  it.each(databases)('is the same in both styles, on $name', async (kind) => {
    const database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    try {
      await holds(story, async (name) =>
        new Application({ name, datastore, snapshots: true, env: { CREATE_TABLE: 'yes' } }).ready(),
      )
    } finally {
      await datastore.close()
      await database.drop()
    }
  })
})
