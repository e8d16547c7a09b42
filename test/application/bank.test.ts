/** The example application and what it is made of, from end to end: in memory, on every database and in a named schema. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BankAccount } from '../../examples/stories/bank-account/class.js'
import {
  type ApplicationOptions,
  ConcurrencyError,
  defineDecider,
  EventSourcedLog,
  NAMESPACE_URL,
  uuid5,
  withMetadata,
} from '../../src/index.js'
import { openDatabase } from '../prisma/open-database.js'
import { databasesOf, oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { AccountNotFoundError, Bank } from './bank.js'

interface Store {
  readonly options: ApplicationOptions
  readonly close: () => Promise<void>
}

async function openStore(kind: TestDatabaseKind): Promise<Store> {
  const opened = await openDatabase(kind)
  return {
    options: { datastore: opened.datastore, snapshots: true, env: { CREATE_TABLE: 'yes' } },
    close: () => opened.close(),
  }
}

/** All tables that were made are in the schema. */
async function openNamedSchema(kind: TestDatabaseKind): Promise<Store> {
  const opened = await openDatabase(kind)
  return {
    options: { datastore: opened.datastore, snapshots: true, env: { CREATE_TABLE: 'yes', PRISMA_SCHEMA: 'bank' } },
    async close() {
      const schemas = await opened.database.query(
        `SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name LIKE 'bank%'`,
      )
      await opened.close()
      expect(schemas).toEqual([{ table_schema: 'bank' }])
    },
  }
}

const stores = [
  { name: 'in memory', open: async (): Promise<Store> => ({ options: { snapshots: true }, close: async () => {} }) },
  ...oneOfEach.map((kind) => ({ name: `on ${kind.name}`, open: () => openStore(kind) })),
  ...databasesOf('postgresql').map((kind) => ({
    name: `in a named schema on ${kind.name}`,
    open: () => openNamedSchema(kind),
  })),
]

/** Another projection of the same streams: how often money came in and went out. */
const movements = defineDecider({
  name: 'BankAccount',
  snapshots: { revision: 2 },
  initialState: () => ({ in: 0, out: 0 }),
  evolve: {
    Opened: (state, _data: object) => state,
    Transacted: (state, { cents }: { readonly cents: number }) =>
      cents > 0 ? { ...state, in: state.in + 1 } : { ...state, out: state.out + 1 },
    OverdraftLimitChanged: (state, _data: object) => state,
    Closed: (state, _data: object) => state,
  },
  decide: {},
})

describe.each(stores)('a bank $name', ({ open }) => {
  let store: Store
  let bank: Bank
  let banks = 0
  beforeAll(async () => {
    store = await open()
  })
  afterAll(async () => {
    await store.close()
  })
  /** With tables of its own. */
  const newBank = async (options: ApplicationOptions = {}): Promise<Bank> => {
    banks += 1
    bank = await new Bank({ ...store.options, name: `bank${banks}`, ...options }).ready()
    return bank
  }
  const snapshotsOf = async (id: string): Promise<number[]> =>
    (await (await bank.snapshotStore()).get(id)).map(({ originatorVersion }) => originatorVersion)
  const versionsOf = async (id: string): Promise<number[]> =>
    (await bank.recorder.selectEvents(id)).map(({ originatorVersion }) => originatorVersion)

  it('[173] opens accounts, keeps their balances, and takes snapshots of them at versions', async () => {
    await newBank()
    await expect(bank.balance('b2723fe2-c01a-40d2-875e-a3aac6a09ff5')).rejects.toBeInstanceOf(AccountNotFoundError)
    const id = await bank.open('Ann')
    expect(await bank.balance(id)).toBe(0)
    await bank.credit(id, 1000)
    expect(await bank.balance(id)).toBe(1000)
    await bank.credit(id, 2500)
    await bank.credit(id, 3000)
    expect(await bank.balance(id)).toBe(6500)
    expect((await bank.notificationLog.section('1,10')).items).toHaveLength(4)

    await bank.takeSnapshot(BankAccount, id, { version: 2 })
    expect(await snapshotsOf(id)).toEqual([2])
    const third = await bank.repository.get(BankAccount, id, { version: 3 })
    expect([third.version, third.balance]).toEqual([3, 3500])
    await bank.takeSnapshot(BankAccount, id)
    expect(await snapshotsOf(id)).toEqual([2, 4])
    const last = await bank.account(id)
    expect([last.version, last.balance]).toEqual([4, 6500])
  })

  it('[177] [178] [179] [181] knows an account at each version, with and without snapshots', async () => {
    await newBank()
    const id = await bank.open('Ann')
    for (const cents of [1000, 2500, 3000]) await bank.credit(id, cents)
    const balances = async (): Promise<number[]> =>
      await Promise.all(
        [1, 2, 3, 4].map(async (version) => (await bank.repository.get(BankAccount, id, { version })).balance),
      )
    expect(await balances()).toEqual([0, 1000, 3500, 6500])
    await bank.takeSnapshot(BankAccount, id, { version: 4 })
    await bank.credit(id, 1000)
    expect(await balances()).toEqual([0, 1000, 3500, 6500])
    expect(await bank.balance(id)).toBe(7500)
    const unknown = uuid5(NAMESPACE_URL, '/accounts/unknown')
    expect([await bank.repository.has(BankAccount, id), await bank.repository.has(BankAccount, unknown)]).toEqual([
      true,
      false,
    ])
    await expect(bank.repository.get(BankAccount, unknown)).rejects.toThrow(unknown)
    await expect(bank.repository.get(BankAccount, id, { version: 0 })).rejects.toThrow('at version 0')
  })

  it('[169] [171] numbers what it saves in the order of the arguments', async () => {
    await newBank()
    const [ann, bea, cid] = ['Ann', 'Bea', 'Cid'].map((owner) => new BankAccount(owner))
    bea?.credit(1)
    expect(await bank.save()).toEqual([])
    expect(await bank.save(null)).toEqual([])
    const saved = [...(await bank.save(ann)), ...(await bank.save(cid, bea))]
    expect(saved.map(({ event, notification }) => [notification?.id, event.originatorId, event.topic])).toEqual([
      [1n, ann?.id, 'BankAccount.Opened'],
      [2n, cid?.id, 'BankAccount.Opened'],
      [3n, bea?.id, 'BankAccount.Opened'],
      [4n, bea?.id, 'BankAccount.Transacted'],
    ])
    const logged = await bank.recorder.selectNotifications(null, 10)
    expect(logged.map(({ id, originatorId }) => [id, originatorId])).toEqual(
      saved.map(({ notification }) => [notification?.id, notification?.originatorId]),
    )
  })

  it('[170] [176] refuses a writer that is late, and all that it would have saved', async () => {
    await newBank()
    const id = await bank.open('Ann')
    const [first, second] = [await bank.account(id), await bank.account(id)]
    first.credit(1)
    second.credit(2)
    await bank.save(first)
    const other = new BankAccount('Bea')
    await expect(bank.save(other, second)).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await versionsOf(id)).toEqual([1, 2])
    expect(await versionsOf(other.id)).toEqual([])
    expect(await bank.balance(id)).toBe(1)
    expect(await bank.recorder.maxNotificationId()).toBe(2n)
  })

  it('[172] stores what is given around a save beside each of its events', async () => {
    await newBank()
    const account = new BankAccount('Ann')
    account.credit(1)
    await withMetadata({ teller: 'Tom' }, async () => await bank.save(account))
    const stored = await (await bank.eventStore()).get(account.id)
    expect(stored.map(({ metadata }) => metadata)).toEqual([{ teller: 'Tom' }, { teller: 'Tom' }])
  })

  it.each([
    ['by itself', false],
    ['with a cache', true],
  ])('[180] serves another projection of the same streams by a decider of that name, %s', async (_how, cache) => {
    await newBank({ cache })
    const id = await bank.open('Ann')
    for (const cents of [1000, 2500]) await bank.credit(id, cents)
    const account = await bank.account(id)
    account.debit(500)
    await bank.save(account)
    const counts = async (): Promise<object> => (await bank.repository.get(movements, id)).state
    expect(await counts()).toEqual({ in: 2, out: 1 })
    await bank.takeSnapshot(movements, id)
    await bank.takeSnapshot(BankAccount, id)
    await bank.credit(id, 1)
    expect([await counts(), await bank.balance(id)]).toEqual([{ in: 3, out: 1 }, 3001])
    const unknown = uuid5(NAMESPACE_URL, '/accounts/unknown')
    await expect(bank.repository.get(movements, unknown)).rejects.toThrow(unknown)
  })

  it('[191] keeps in a snapshot neither id nor version nor pending events', async () => {
    await newBank()
    const id = await bank.open('Ann')
    await bank.takeSnapshot(BankAccount, id)
    const [snapshot] = await (await bank.snapshotStore()).get(id)
    expect(Object.keys(snapshot?.data ?? {}).toSorted()).toEqual(['state', 'topic'])
    expect(Object.keys(Object(snapshot?.data['state'])).toSorted()).toEqual(
      ['_created_on', '_modified_on', 'balance', 'isClosed', 'overdraftLimit', 'owner'].toSorted(),
    )
  })

  it('[194] takes snapshots also where the events of another application make it save', async () => {
    const upstream = await newBank()
    const id = await upstream.open('Ann')
    for (const cents of [1, 2, 3, 4]) await upstream.credit(id, cents)
    class Mirrored extends BankAccount {
      static readonly topic = 'Mirrored'
      static readonly snapshots = { every: 2 }
    }
    const mirror = new Mirrored('Ann')
    const downstream = await newBank()
    for (const { topic, data } of await (await upstream.eventStore()).get(id)) {
      if (topic === 'BankAccount.Transacted') mirror.credit(Number(data['cents']))
      await downstream.save(mirror)
    }
    expect(await snapshotsOf(mirror.id)).toEqual([2, 4])
    expect((await downstream.repository.get(Mirrored, mirror.id)).balance).toBe(10)
  })

  it('[197] lists all accounts from a log that is saved with them', async () => {
    await newBank()
    const log = new EventSourcedLog<{ Opened: { id: string } }>(bank, {
      id: uuid5(NAMESPACE_URL, '/accounts'),
      topic: 'Accounts',
    })
    const ids: string[] = []
    for (const owner of ['Ann', 'Bea', 'Cid']) {
      const account = new BankAccount(owner)
      ids.push(account.id)
      await bank.save(account, await log.trigger('Opened', { id: account.id }))
    }
    expect((await log.get()).map(({ data }) => data.id)).toEqual(ids)
    for (const id of ids) expect(await bank.balance(id)).toBe(0)
  })
})
