/** Snapshots of classes and deciders: taken by hand, by number and by a rule, read again, passed over, upcast and pruned; in memory and on every database. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  Aggregate,
  AggregateNotFoundError,
  Application,
  ConcurrencyError,
  defineDecider,
  Environment,
  event,
  ProgrammingError,
  TranscodingNotRegisteredError,
} from '../../src/index.js'
import { InMemoryFactory } from '../../src/persistence/in-memory-factory.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import type { InfrastructureFactory } from '../../src/recorders.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

@event('Opened', 'owner')
class Account extends Aggregate {
  static readonly topic: string = 'Account'
  static readonly snapshots: object = {}
  readonly owner: string
  balance = 0
  readonly entries: number[] = []
  constructor(owner: string) {
    super()
    this.owner = owner
  }
  @event('Changed', 'amount') change(amount: number): void {
    this.balance += amount
    this.entries.push(amount)
  }
}

class EveryFifth extends Account {
  static override readonly snapshots = { every: 5 }
  static override readonly topic = 'EveryFifth'
}

/** With a member that no snapshot can see. */
@event('Sealed', 'secret')
class Vault extends Aggregate {
  static readonly snapshots = { every: 2 }
  readonly #secret: string
  #opened = 0
  constructor(secret: string) {
    super()
    this.#secret = secret
  }
  @event('VaultOpened', 'secret') open(secret: string): void {
    if (secret !== this.#secret) throw new Error('wrong secret')
    this.#opened += 1
  }
  get opened(): number {
    return this.#opened
  }
  snapshotState(): object {
    return { opened: this.#opened }
  }
  restoreState({ opened }: { readonly opened: number }): void {
    this.#opened = opened
  }
}

/** One store for several applications, so that they can be of different programs. */
class OneStore extends InMemoryFactory {
  readonly events = new InMemoryApplicationRecorder()
  readonly snapshots = new InMemoryAggregateRecorder()
  override applicationRecorder(): InMemoryApplicationRecorder {
    return this.events
  }
  override aggregateRecorder(): InMemoryAggregateRecorder {
    return this.snapshots
  }
}

interface Source {
  readonly factory: InfrastructureFactory
}

const stores = [
  { name: 'memory', open: async () => ({ source: { factory: new OneStore() }, close: async () => {} }) },
  ...oneOfEach.map((kind) => ({
    name: kind.name,
    open: async () => {
      const opened: OpenDatabase = await openDatabase(kind)
      const factory: InfrastructureFactory = opened.datastore.infrastructureFactory(new Environment(''))
      return { source: { factory }, close: () => opened.close() }
    },
  })),
]

describe.each(stores)('snapshots on $name', ({ open }) => {
  let source: Source
  let close: () => Promise<void>
  let bank: Application
  beforeAll(async () => {
    const opened = await open()
    source = opened.source
    close = () => opened.close()
  })
  afterAll(async () => {
    await close()
  })
  beforeEach(() => {
    bank = new Application({ name: '', ...source })
  })

  const snapshotsOf = async (id: string): Promise<number[]> => {
    return (await source.factory.aggregateRecorder('snapshots').selectEvents(id)).map((each) => each.originatorVersion)
  }
  /** How many events a get reads from the stream. */
  const readsOf = async (work: () => Promise<unknown>): Promise<number> => {
    const select = vi.spyOn(bank.recorder, 'selectEvents')
    const selectSince = vi.spyOn(bank.recorder, 'selectSinceSnapshot')
    await work()
    const pages = [
      ...select.mock.results.map(async ({ value }) => (await value).length as number),
      ...selectSince.mock.results.map(async ({ value }) => (await value)?.events.length as number),
    ]
    select.mockRestore()
    selectSince.mockRestore()
    return (await Promise.all(pages)).reduce((sum, length) => sum + length, 0)
  }
  const opened = async (...amounts: number[]): Promise<Account> => {
    const account = new Account('Ann')
    for (const amount of amounts) account.change(amount)
    await bank.save(account)
    return account
  }

  it('gives the account of the example at every version, before and after a snapshot [173, 178, 179]', async () => {
    const { id } = await opened(10, 25, 30)
    const balances = async (): Promise<number[]> =>
      await Promise.all(
        [1, 2, 3, 4].map(async (version) => (await bank.repository.get(Account, id, { version })).balance),
      )
    expect(await balances()).toEqual([0, 10, 35, 65])
    await bank.takeSnapshot(Account, id, { version: 2 })
    await bank.takeSnapshot(Account, id)
    expect(await snapshotsOf(id)).toEqual([2, 4])
    expect(await balances()).toEqual([0, 10, 35, 65])
    const account = await bank.repository.get(Account, id)
    expect([account.version, account.balance]).toEqual([4, 65])
    account.change(10)
    await bank.save(account)
    expect((await bank.repository.get(Account, id)).balance).toBe(75)
    expect((await bank.repository.get(Account, id, { version: 4 })).balance).toBe(65)
  })

  it('makes an aggregate that is equal to the one from its events, and shares nothing with it [191]', async () => {
    const { id } = await opened(10, 25, 30)
    const fromEvents = await bank.repository.get(Account, id)
    await bank.takeSnapshot(Account, id)
    expect(await readsOf(() => bank.repository.get(Account, id))).toBe(0)
    const fromSnapshot = await bank.repository.get(Account, id)
    expect(fromSnapshot.equals(fromEvents)).toBe(true)
    expect(fromSnapshot).toBeInstanceOf(Account)
    expect(fromSnapshot.pendingEvents).toEqual([])
    fromSnapshot.change(1)
    expect(fromEvents.entries).toEqual([10, 25, 30])
    await bank.save(fromSnapshot)
    expect((await bank.repository.get(Account, id)).entries).toEqual([10, 25, 30, 1])
  })

  it('takes one after every so many events, of that class only [192]', async () => {
    const [fifth, other] = [new EveryFifth('Ann'), new Account('Bea')]
    await bank.save(fifth, other)
    for (let n = 2; n <= 13; n += 1) {
      fifth.change(n)
      other.change(n)
      await bank.save(fifth, other)
    }
    expect(await snapshotsOf(fifth.id)).toEqual([5, 10])
    expect(await snapshotsOf(other.id)).toEqual([])
    expect(await readsOf(() => bank.repository.get(EveryFifth, fifth.id))).toBe(3)
    expect((await bank.repository.get(EveryFifth, fifth.id)).equals(fifth)).toBe(true)
  })

  it('takes one for each multiple that a save passes, of the state at that version [193]', async () => {
    const account = new EveryFifth('Ann')
    for (let n = 2; n <= 12; n += 1) account.change(1)
    await bank.save(account)
    expect(await snapshotsOf(account.id)).toEqual([5, 10])
    for (const [version, balance] of [
      [5, 4],
      [9, 8],
      [10, 9],
      [12, 11],
    ] as const) {
      expect((await bank.repository.get(EveryFifth, account.id, { version })).balance).toBe(balance)
    }
  })

  it('takes one where a rule says so, and keeps as many as the policy says', async () => {
    class Ruled extends Account {
      static override readonly topic = 'Ruled'
      static override readonly snapshots = {
        when: ({ before, after }: { before: number; after: number }) => after - before >= 2,
        keep: 2,
      }
    }
    const account = new Ruled('Ann')
    await bank.save(account)
    for (let n = 0; n < 4; n += 1) {
      account.change(1)
      account.change(2)
      await bank.save(account)
    }
    expect(await snapshotsOf(account.id)).toEqual([7, 9])
    expect((await bank.repository.get(Ruled, account.id)).equals(account)).toBe(true)
    expect((await bank.repository.get(Ruled, account.id, { version: 3 })).balance).toBe(3)
  })

  it('passes over snapshots of another revision, and replaces them', async () => {
    const { id } = await opened(10, 25)
    await bank.takeSnapshot(Account, id)
    class Later extends Account {
      static override readonly topic = 'Account'
      static override readonly snapshots = { revision: 2 }
    }
    expect(await readsOf(() => bank.repository.get(Later, id))).toBe(3)
    await bank.takeSnapshot(Later, id)
    expect(await snapshotsOf(id)).toEqual([3])
    expect(await readsOf(() => bank.repository.get(Later, id))).toBe(0)
    expect(await readsOf(() => bank.repository.get(Account, id))).toBe(3)
  })

  it('reads snapshots of older versions of the state in the present shape, and takes new ones in it [126]', async () => {
    const { id } = await opened(10, 25)
    await bank.takeSnapshot(Account, id)
    const steps = [
      ({ balance, ...rest }: { balance: number }) => ({ ...rest, cents: balance * 100 }),
      (state: object) => ({ ...state, currency: 'EUR' }),
    ]
    class Cents extends Aggregate {
      static readonly topic: string = 'Account'
      static readonly snapshots: object = { upcasts: steps.slice(0, 1) }
      owner = ''
      cents = 0
      static readonly events = {
        Opened(this: Cents, { owner }: { owner: string }) {
          this.owner = owner
        },
        Changed(this: Cents, { amount }: { amount: number }) {
          this.cents += amount * 100
        },
      }
    }
    class Currency extends Cents {
      static override readonly topic = 'Account'
      static override readonly snapshots = { upcasts: steps }
      currency = 'none'
    }
    expect(await bank.repository.get(Cents, id)).toMatchObject({ cents: 3500, owner: 'Ann' })
    expect(await readsOf(() => bank.repository.get(Cents, id))).toBe(0)
    expect(await bank.repository.get(Currency, id)).toMatchObject({ cents: 3500, currency: 'EUR' })
    const account = await bank.repository.get(Account, id)
    account.change(1)
    await bank.save(account)
    await bank.takeSnapshot(Cents, id)
    expect(await bank.repository.get(Currency, id)).toMatchObject({ cents: 3600, currency: 'EUR' })
    expect(await readsOf(() => bank.repository.get(Account, id))).toBe(4)
  })

  it('keeps private state by two methods', async () => {
    const vault = new Vault('sesame')
    vault.open('sesame')
    await bank.save(vault)
    expect(await snapshotsOf(vault.id)).toEqual([2])
    expect(await readsOf(() => bank.repository.get(Vault, vault.id))).toBe(0)
    const restored = await bank.repository.get(Vault, vault.id)
    expect(restored.opened).toBe(1)
    expect(() => restored.open('guess')).toThrow('wrong secret')
    restored.open('sesame')
    await bank.save(restored)
    expect((await bank.repository.get(Vault, vault.id)).opened).toBe(2)
  })

  it('is refused at the first save of a class with private members that it could not keep', async () => {
    class Methods extends Aggregate {
      static readonly snapshots = { every: 100 }
      count = 0
      @event('Counted') tick(): void {
        this.#add()
      }
      #add(): void {
        this.count += 1
      }
    }
    @event('Opened', 'name')
    class Fields extends Aggregate {
      static readonly snapshots = { every: 100 }
      readonly #name: string
      constructor(name: string) {
        super()
        this.#name = name
      }
      get name(): string {
        return this.#name
      }
    }
    class Inheriting extends Fields {}
    for (const odd of [new Methods(), new Fields('Ann'), new Inheriting('Bob')]) {
      await expect(bank.save(odd)).rejects.toThrow(`${odd.constructor.name} has #private members`)
      expect(await bank.repository.has(Methods, odd.id)).toBe(false)
    }
  })

  it('is kept of a state that is undefined', async () => {
    const id = crypto.randomUUID()
    const flags = defineDecider({
      name: 'Flag',
      snapshots: { every: 1 },
      initialState: (): string | undefined => undefined,
      evolve: { Set: (_state, { color }: { color?: string }) => color },
      decide: { set: (_state, data: { color?: string }) => [{ type: 'Set', data }] },
    })
    for (const data of [{ color: 'red' }, {}]) await bank.execute(flags, id, 'set', data)
    expect(await readsOf(() => bank.repository.get(flags, id))).toBe(0)
    expect(await bank.repository.get(flags, id)).toEqual({ id, version: 2, state: undefined })
    expect((await bank.repository.get(flags, id, { version: 1 })).state).toBe('red')
  })

  it('serves a class and a decider over one stream alike', async () => {
    const { id } = await opened(10, 25)
    const accounts = defineDecider({
      name: 'Account',
      snapshots: { every: 5 },
      initialState: () => ({ owner: '', balance: 0, entries: [] as readonly number[] }),
      evolve: {
        Opened: (state, { owner }: { readonly owner: string }) => ({ ...state, owner }),
        Changed: (state, { amount }: { readonly amount: number }) => ({
          ...state,
          balance: state.balance + amount,
          entries: [...state.entries, amount],
        }),
      },
      decide: { change: (_state, amount: number) => [{ type: 'Changed', data: { amount } }] },
    })
    await bank.takeSnapshot(Account, id)
    expect(await readsOf(() => bank.repository.get(accounts, id))).toBe(0)
    await bank.execute(accounts, id, 'change', 30)
    await bank.execute(accounts, id, 'change', 1)
    expect(await snapshotsOf(id)).toEqual([3, 5])
    expect((await bank.repository.get(accounts, id)).state).toEqual({
      owner: 'Ann',
      balance: 66,
      entries: [10, 25, 30, 1],
    })
    // A decider does not know when the account was opened, so a class does not use its snapshots.
    expect((await bank.repository.get(Account, id)).balance).toBe(66)
  })

  it('keeps the state of a decider that is no object', async () => {
    const counts = defineDecider({
      name: 'Count',
      snapshots: { every: 2 },
      initialState: () => 0,
      evolve: { Counted: (count, _data: object) => count + 1 },
      decide: { count: (_count) => [{ type: 'Counted', data: {} }] },
    })
    const id = new Account('id only').id
    for (let n = 0; n < 5; n += 1) await bank.execute(counts, id, 'count')
    expect(await snapshotsOf(id)).toEqual([2, 4])
    expect(await bank.repository.get(counts, id)).toEqual({ id, version: 5, state: 5 })
  })

  it('is off where nobody wants it, and says how it is turned on [174]', async () => {
    class Plain extends Aggregate {
      readonly made = true
    }
    const plain = new Plain()
    await bank.save(plain)
    await expect(bank.takeSnapshot(Plain, plain.id)).rejects.toBeInstanceOf(ProgrammingError)
    await expect(bank.takeSnapshot(Plain, plain.id)).rejects.toThrow(
      /snapshots: \{ every: 100 \}.*snapshots: true.*IS_SNAPSHOTTING_ENABLED/s,
    )
    for (const on of [{ snapshots: true }, { env: { IS_SNAPSHOTTING_ENABLED: 'y' } }]) {
      await new Application({ name: '', ...source, ...on }).takeSnapshot(Plain, plain.id)
    }
    expect(await snapshotsOf(plain.id)).toEqual([1])
    const off = new Application({ name: '', ...source, snapshots: false })
    const fifth = new EveryFifth('Ann')
    for (let n = 0; n < 5; n += 1) fifth.change(1)
    await off.save(fifth)
    expect(await snapshotsOf(fifth.id)).toEqual([])
    await expect(bank.takeSnapshot(Account, new Account('unsaved').id)).rejects.toBeInstanceOf(AggregateNotFoundError)
  })
})

describe.each(oneOfEach)('a snapshot on $name', (kind) => {
  it('is stored with the events of its save, or neither is', async () => {
    const opened = await openDatabase(kind)
    const bank = new Application({ name: '', datastore: opened.datastore })
    const count = async (): Promise<number[]> =>
      await Promise.all(
        ['stored_events', 'stored_snapshots'].map(async (table) =>
          Number((await opened.database.query(`SELECT count(*) AS n FROM ${table}`))[0]?.['n']),
        ),
      )
    const account = new EveryFifth('Ann')
    for (let n = 0; n < 4; n += 1) account.change(1)
    const undone = opened.datastore.transaction(async () => {
      await bank.save(account)
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    expect(await count()).toEqual([0, 0])

    class Unstorable extends Aggregate {
      static readonly snapshots = { every: 1 }
      readonly odd = new WeakMap()
    }
    await expect(bank.save(new Unstorable())).rejects.toBeInstanceOf(TranscodingNotRegisteredError)
    expect(await count()).toEqual([0, 0])

    const again = new EveryFifth('Ann')
    for (let n = 0; n < 4; n += 1) again.change(1)
    await bank.save(again)
    expect(await count()).toEqual([5, 1])
    const [one, other] = await Promise.all([1, 2].map(() => bank.repository.get(EveryFifth, again.id)))
    for (const each of [one, other]) for (let n = 0; n < 5; n += 1) each?.change(1)
    await bank.save(one)
    await expect(bank.save(other)).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await count()).toEqual([10, 2])
    await opened.close()
  })
})
