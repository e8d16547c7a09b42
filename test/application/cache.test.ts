/** The cache: what it keeps and gives out, what it reads again, and what never gets into it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Aggregate } from '../../src/domain/aggregate.js'
import { defineDecider } from '../../src/domain/decider.js'
import { event } from '../../src/domain/event-decorator.js'
import {
  Application,
  ConcurrencyError,
  EnvironmentError,
  type InMemoryApplicationRecorder,
  LRUCache,
} from '../../src/index.js'
import { InMemoryFactory } from '../../src/persistence/in-memory-factory.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { accounts, Dog } from './dogs.js'

class OneStore extends InMemoryFactory {
  readonly recorder = super.applicationRecorder()
  override applicationRecorder(): InMemoryApplicationRecorder {
    return this.recorder
  }
}

/** How many rows the gets read. */
async function readsOf(application: Application, work: () => Promise<unknown>): Promise<number> {
  const select = vi.spyOn(application.recorder, 'selectEvents')
  await work()
  const pages = await Promise.all(select.mock.results.map(async ({ value }) => (await value).length as number))
  select.mockRestore()
  return pages.reduce((sum, length) => sum + length, 0)
}

describe('an application with a cache', () => {
  let factory: OneStore
  let school: Application
  beforeEach(() => {
    factory = new OneStore()
    school = new Application({ factory, cache: true })
  })

  const saved = async (name: string, ...tricks: string[]): Promise<Dog> => {
    const dog = new Dog(name)
    for (const trick of tricks) dog.addTrick(trick)
    await school.save(dog)
    return dog
  }

  it('caches at the first get, and reads only what came after [183, 184]', async () => {
    const { id } = await saved('Fido', 'sit', 'beg')
    expect(school.repository.cache?.entries.get(id)).toBeUndefined()
    expect(await readsOf(school, () => school.repository.get(Dog, id))).toBe(3)
    expect(school.repository.cache?.entries.get(id)?.originator.version).toBe(3)
    expect(await readsOf(school, () => school.repository.get(Dog, id))).toBe(1)
    const behind = new Application({ factory })
    const dog = await behind.repository.get(Dog, id)
    dog.addTrick('roll over')
    await behind.save(dog)
    expect((await school.repository.get(Dog, id)).tricks).toEqual(['sit', 'beg', 'roll over'])
    expect(await readsOf(school, () => school.repository.get(Dog, id))).toBe(1)
  })

  it('gives each get a copy of its own, unless it is told not to [185]', async () => {
    const { id } = await saved('Fido', 'sit')
    const dog = await school.repository.get(Dog, id)
    dog.addTrick('beg')
    dog.tricks.push('never happened')
    expect((await school.repository.get(Dog, id)).tricks).toEqual(['sit'])
    const shared = await school.repository.get(Dog, id, { deepCopy: false })
    expect(await school.repository.get(Dog, id, { deepCopy: false })).toBe(shared)
    const sharing = new Application({ factory, cache: { deepCopy: false } })
    expect(await sharing.repository.get(Dog, id)).toBe(await sharing.repository.get(Dog, id))
  })

  it('gives the version that is asked for without the cache [189]', async () => {
    const { id } = await saved('Fido', 'sit', 'beg')
    await school.repository.get(Dog, id)
    expect((await school.repository.get(Dog, id, { version: 2 })).tricks).toEqual(['sit'])
    expect(school.repository.cache?.entries.get(id)?.originator.version).toBe(3)
  })

  it('keeps as many as it is told, the last used [182]', async () => {
    school = new Application({ factory, cache: { maxSize: 2 } })
    const ids = await Promise.all(['Fido', 'Rex', 'Ace'].map(async (name) => (await saved(name)).id))
    for (const id of ids) await school.repository.get(Dog, id)
    expect(ids.map((id) => school.repository.cache?.entries.get(id) !== undefined)).toEqual([false, true, true])
    for (const id of ids) expect((await school.repository.get(Dog, id)).id).toBe(id)
  })

  it('without fast-forward knows what this process has saved, and reads nothing [183, 184]', async () => {
    school = new Application({ factory, cache: { fastForward: false } })
    const { id } = await saved('Fido', 'sit')
    expect(await readsOf(school, () => school.repository.get(Dog, id))).toBe(0)
    const behind = new Application({ factory })
    const dog = await behind.repository.get(Dog, id)
    dog.addTrick('beg')
    await behind.save(dog)
    const stale = await school.repository.get(Dog, id)
    expect(stale.version).toBe(2)
    stale.addTrick('roll over')
    await expect(school.save(stale)).rejects.toBeInstanceOf(ConcurrencyError)
    // After the conflict it is read anew.
    expect((await school.repository.get(Dog, id)).tricks).toEqual(['sit', 'beg'])
  })

  it('gives what there is while another get reads, where it may skip [186]', async () => {
    school = new Application({ factory, cache: { fastForwardSkipping: true } })
    const { id } = await saved('Fido')
    await school.repository.get(Dog, id)
    const reads = await readsOf(school, () => Promise.all([1, 2, 3].map(() => school.repository.get(Dog, id))))
    expect(reads).toBe(1)
  })

  it('is never behind what was saved, among 100 workers on one aggregate [186]', async () => {
    const { id } = await saved('Fido')
    let conflicts = 0
    const work = async (worker: number): Promise<void> => {
      for (let job = 0; job < 1; ) {
        const dog = await school.repository.get(Dog, id)
        dog.addTrick(`${worker} ${job}`)
        try {
          await school.save(dog)
        } catch (error) {
          expect(error).toBeInstanceOf(ConcurrencyError)
          conflicts += 1
          continue
        }
        job += 1
        expect((await school.repository.get(Dog, id)).version).toBeGreaterThanOrEqual(dog.version)
      }
    }
    await Promise.all(Array.from({ length: 100 }, (_, worker) => work(worker)))
    const dog = await school.repository.get(Dog, id)
    expect(dog.tricks).toHaveLength(100)
    expect(new Set(dog.tricks).size).toBe(100)
    expect(conflicts).toBeGreaterThan(0)
    expect(dog.equals(await new Application({ factory }).repository.get(Dog, id))).toBe(true)
  })

  it('caches deciders too, each kind its own', async () => {
    const { id } = await saved('Fido')
    await school.execute(accounts, 'account', 'open', 'Ann')
    await school.execute(accounts, 'account', 'change', 10)
    expect(await readsOf(school, () => school.execute(accounts, 'account', 'change', 5))).toBe(1 + 1)
    expect((await school.repository.get(accounts, 'account')).state.balance).toBe(15)
    expect((await school.repository.get(Dog, id)).tricks).toEqual([])
  })

  it('[185] gives copies of the states of deciders', async () => {
    const lists = defineDecider({
      name: 'List',
      initialState: () => ({ items: [] as string[], seen: new Map<string, number>() }),
      evolve: {
        Added: (state, { item }: { item: string }) => {
          // Not how it should be written: the next reader must not see it twice even so.
          state.items.push(item)
          state.seen.set(item, state.items.length)
          return state
        },
      },
      decide: { add: (_state, item: string) => [{ type: 'Added', data: { item } }] },
    })
    for (const item of ['a', 'b', 'c']) await school.execute(lists, 'list', 'add', item)
    const { state } = await school.repository.get(lists, 'list')
    state.items.push('mine')
    state.seen.clear()
    const again = await school.repository.get(lists, 'list')
    expect(again.state).toEqual({
      items: ['a', 'b', 'c'],
      seen: new Map([
        ['a', 1],
        ['b', 2],
        ['c', 3],
      ]),
    })
    const shared = await school.repository.get(lists, 'list', { deepCopy: false })
    expect((await school.repository.get(lists, 'list', { deepCopy: false })).state).toBe(shared.state)
  })

  it('refuses aggregates with private members that it could not copy', async () => {
    class Safe extends Aggregate {
      #cents = 0
      @event('Filled', 'cents') fill(cents: number): void {
        this.#cents += cents
      }
      get cents(): number {
        return this.#cents
      }
    }
    const safe = new Safe()
    await school.save(safe)
    await expect(school.repository.get(Safe, safe.id)).rejects.toThrow(
      'Safe has #private members, which snapshots and caches cannot see: give it snapshotState() and restoreState(state)',
    )
    const uncached = new Application({ factory })
    expect((await uncached.repository.get(Safe, safe.id)).cents).toBe(0)
  })

  it('reads anew what is not the same any more', async () => {
    const { id } = await saved('Fido', 'sit')
    await school.repository.get(Dog, id)
    await factory.recorder.deleteEvents(id, { lte: 2 })
    const other = new Dog('Fido')
    other.addTrick('beg')
    await new Application({ factory }).save(other)
    expect((await school.repository.get(Dog, id)).tricks).toEqual(['beg'])
  })

  it('is set up by variables', async () => {
    const cached = new Application({
      factory,
      env: { AGGREGATE_CACHE_MAXSIZE: '0', AGGREGATE_CACHE_FASTFORWARD: 'n', DEEPCOPY_FROM_AGGREGATE_CACHE: 'n' },
    })
    expect(cached.repository.cache?.fastForward).toBe(false)
    expect(new Application({ factory }).repository.cache).toBeUndefined()
    expect(
      new Application({ factory, cache: false, env: { AGGREGATE_CACHE_MAXSIZE: '5' } }).repository.cache,
    ).toBeUndefined()
    for (const value of ['abc', '-1', '1.5']) {
      expect(() => new Application({ factory, env: { AGGREGATE_CACHE_MAXSIZE: value } })).toThrow(EnvironmentError)
      expect(() => new Application({ factory, env: { AGGREGATE_CACHE_MAXSIZE: value } })).toThrow(
        `AGGREGATE_CACHE_MAXSIZE is '${value}'`,
      )
    }
  })
})

describe('a cache that forgets what was not used for longest [188]', () => {
  const keysOf = (cache: LRUCache<number, number>): number[] =>
    [1, 2, 3, 4].filter((key) => cache.get(key) !== undefined)

  it('gives, replaces and takes out entries, and keeps no empty ones', () => {
    const cache = new LRUCache<string, number>()
    expect(cache.get('a')).toBeUndefined()
    expect(cache.put('a', 1)).toBeUndefined()
    cache.put('a', 2)
    cache.put('b', null)
    expect([cache.get('a'), cache.get('b'), cache.size]).toEqual([2, undefined, 1])
    expect([cache.evict('a'), cache.evict('a'), cache.size]).toEqual([2, undefined, 0])
  })

  it('gives back what had to go', () => {
    const cache = new LRUCache<number, number>(2)
    expect([cache.put(1, 1), cache.put(2, 2), cache.put(3, 3)]).toEqual([undefined, undefined, [1, 1]])
    cache.get(2)
    expect(cache.put(4, 4)).toEqual([3, 3])
    expect(keysOf(cache)).toEqual([2, 4])
  })

  it.each([1, 2, 3])('keeps its order when %i is taken out', (evicted) => {
    const cache = new LRUCache<number, number>(3)
    for (const key of [1, 2, 3]) cache.put(key, key)
    cache.evict(evicted)
    cache.put(4, 4)
    const [oldest] = [1, 2, 3].filter((key) => key !== evicted)
    expect(cache.put(5, 5)).toEqual([oldest, oldest])
  })
})

describe.each(oneOfEach)('a cache on $name', (kind) => {
  let open: OpenDatabase
  let school: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
    school = new Application<unknown>({ name: '', datastore: open.datastore, cache: true })
    await school.save(new Dog('Fido'))
  })

  const id = Dog.createId('Fido')
  const get = async (): Promise<Dog> => await school.repository.get(Dog, id)
  const cachedVersion = (): number | undefined => school.repository.cache?.entries.get(id)?.originator.version

  it.each([
    ['with autoflush', true],
    ['without autoflush', false],
  ])('keeps nothing of a transaction that was rolled back, %s [190]', async (_label, autoflush) => {
    await get()
    const undone = open.datastore.transaction(
      async () => {
        const dog = await get()
        dog.addTrick('sit')
        await school.save(dog)
        expect((await get()).tricks).toEqual(['sit'])
        throw new Error('undo')
      },
      { autoflush },
    )
    await expect(undone).rejects.toThrow('undo')
    expect(cachedVersion()).toBe(1)
    const dog = await get()
    expect(dog.tricks).toEqual([])
    dog.addTrick('beg')
    await school.save(dog)
    expect((await get()).tricks).toEqual(['beg'])
  })

  it('gets what a transaction has read and saved after its commit', async () => {
    await open.datastore.transaction(async () => {
      const dog = await get()
      dog.addTrick('sit')
      await school.save(dog)
      await get()
      expect(cachedVersion()).toBeUndefined()
    })
    expect(cachedVersion()).toBe(2)
  })

  it('keeps nothing that a flush has lost, although the transaction goes on', async () => {
    await get()
    const beside = new Application({ name: '', datastore: open.datastore })
    await open.datastore.transaction(
      async (tx) => {
        const dog = await get()
        dog.addTrick('lost')
        await school.save(dog)
        expect((await get()).tricks).toEqual(['lost'])
        if (kind.provider !== 'sqlite') {
          await open.datastore.transaction(
            async () => {
              const other = await beside.repository.get(Dog, id)
              other.addTrick('sit')
              await beside.save(other)
            },
            { propagation: 'requiresNew' },
          )
        } else {
          const stored = await open.database.query('SELECT count(*) AS n FROM stored_events')
          expect(Number(stored[0]?.['n'])).toBe(1)
        }
        if (kind.provider === 'sqlite') return
        await expect(tx.flush()).rejects.toBeInstanceOf(ConcurrencyError)
      },
      { autoflush: false },
    )
    const expected = kind.provider === 'sqlite' ? ['lost'] : ['sit']
    expect((await get()).tricks).toEqual(expected)
    expect((await beside.repository.get(Dog, id)).tricks).toEqual(expected)
  })

  it('reads once and writes once for a command', async () => {
    await get()
    const dog = await get()
    expect(await readsOf(school, async () => void (await get()))).toBe(1)
    dog.addTrick('sit')
    await school.save(dog)
    expect((await get()).tricks).toEqual(['sit'])
  })
})
