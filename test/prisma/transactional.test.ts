/** `@transactional`: methods that are transactions, by standard and legacy decorators. */
import { afterAll, afterEach, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { ConcurrencyError, NoTransactionError, transactional } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const undo = new Error('undo')

describe.each(oneOfEach)('@transactional on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterEach(async () => await open.clear())
  afterAll(async () => await open.close())

  const datastore = () => open.datastore
  const attempts: number[] = []

  class Kennel {
    readonly owner: string = 'Ann'

    @transactional(datastore) async register(name: string, fails = false): Promise<string> {
      const { dog } = await open.db.owner.create({ data: { name: this.owner, dog: name } })
      if (fails) throw undo
      return dog
    }

    @transactional(datastore) async registerAll(...names: string[]): Promise<void> {
      for (const name of names) await this.register(name, name === 'Bad')
    }

    @transactional(datastore, { propagation: 'nested' }) async tryToRegister(name: string): Promise<void> {
      await this.register(name, name === 'Bad')
    }

    @transactional(datastore, { propagation: 'mandatory' }) async onlyInside(): Promise<number> {
      return await open.db.owner.count()
    }

    @transactional(datastore, { retries: 2 }) async stubborn(): Promise<number> {
      const { attempt } = open.datastore.currentTransaction
      attempts.push(attempt)
      await this.register('Rex')
      if (attempt < 3) throw new ConcurrencyError('again', { originatorId: 'x', expectedVersion: 1 })
      return attempt
    }
  }

  class Shelter extends Kennel {
    @transactional(datastore) static async count(this: typeof Shelter, dog: string): Promise<string> {
      await open.db.owner.create({ data: { name: this.name, dog } })
      return `${this.name}: ${await open.db.owner.count()}`
    }

    @transactional(datastore) async #admit(dog: string): Promise<void> {
      await this.register(dog, dog === 'Bad')
    }

    async admit(...dogs: string[]): Promise<void> {
      for (const dog of dogs) await this.#admit(dog)
    }

    // What overrides a decorated method is none, unless it is decorated itself.
    override async registerAll(...names: string[]): Promise<void> {
      await super.register('first')
      await super.registerAll(...names)
    }
  }

  const kennel = new Kennel()

  it('stores what a method has done when it resolves, and nothing when it rejects', async () => {
    expect(await kennel.register('Rex')).toBe('Rex')
    await expect(kennel.register('Ace', true)).rejects.toBe(undo)
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('joins the transaction around it', async () => {
    await expect(kennel.registerAll('Rex', 'Bad')).rejects.toBe(undo)
    expect(await open.dogs()).toEqual([])
    await open.datastore.transaction(async () => {
      await kennel.register('Rex')
      expect(await open.dogs()).toEqual([])
      await expect(kennel.tryToRegister('Bad')).rejects.toBe(undo)
      expect(await kennel.onlyInside()).toBe(1)
    })
    expect(await open.dogs()).toEqual(['Rex'])
    await expect(kennel.onlyInside()).rejects.toThrow(NoTransactionError)
  })

  it('runs a method again', async () => {
    attempts.length = 0
    expect(await kennel.stubborn()).toBe(3)
    expect(attempts).toEqual([1, 2, 3])
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('is for static and private methods, too', async () => {
    expect(await Shelter.count('Rex')).toBe('Shelter: 1')
    await expect(Shelter.count('Rex')).rejects.toMatchObject({ code: 'P2002' })
    await expect(new Shelter().admit('Ace', 'Bad')).rejects.toBe(undo)
    // Two calls, two transactions.
    expect(await open.dogs()).toEqual(['Ace', 'Rex'])
  })

  it('takes the datastore from the object that a method is called on', async () => {
    class Injected {
      readonly datastore: OpenDatabase['datastore']

      constructor({ datastore }: OpenDatabase) {
        this.datastore = datastore
      }

      @transactional((owner: Injected) => owner.datastore) async register(dog: string): Promise<void> {
        await open.db.owner.create({ data: { name: 'Ann', dog } })
        if (dog === 'Bad') throw undo
      }
    }
    const injected = new Injected(open)
    await injected.register('Rex')
    await expect(injected.register('Bad')).rejects.toBe(undo)
    expect(await open.dogs()).toEqual(['Rex'])
  })

  it('is inherited, and holds what super calls of it', async () => {
    await new Shelter().register('Ace')
    await expect(new Shelter().registerAll('Rex', 'Bad')).rejects.toBe(undo)
    expect(await open.dogs()).toEqual(['Ace', 'first'])
  })

  it('keeps the types of the method', async () => {
    expectTypeOf<Kennel['register']>().toEqualTypeOf<(name: string, fails?: boolean) => Promise<string>>()
    expectTypeOf<Kennel['stubborn']>().returns.resolves.toBeNumber()
    // @ts-expect-error the name is no number
    const wrong = (): Promise<string> => kennel.register(1)
    expect(wrong).toBeTypeOf('function')
  })

  it('says in messages which method it was', async () => {
    class Careless {
      @transactional(datastore) async forget(): Promise<void> {
        await open.db.owner.count()
        void open.db.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
      }

      @transactional(datastore, { label: 'a label of its own' }) static async forget(): Promise<void> {
        void open.db.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
      }
    }
    await expect(new Careless().forget()).rejects.toThrow(
      'in the transaction "Careless.forget" and not awaited before its commit',
    )
    await expect(Careless.forget()).rejects.toThrow(
      'in the transaction "a label of its own" and not awaited before its commit',
    )
  })

  it('works as a legacy decorator, and keeps name and length', async () => {
    const method = async function add(this: Kennel, name: string): Promise<string> {
      return await this.register(name)
    }
    const descriptor = { value: method, configurable: true, enumerable: false, writable: true }
    const decorated = transactional(open.datastore)(Kennel.prototype, 'add', descriptor)
    expect(decorated).toMatchObject({ configurable: true, enumerable: false, writable: true })
    expect([decorated.value?.name, decorated.value?.length]).toEqual(['add', 1])
    expect(await decorated.value?.call(kennel, 'Rex')).toBe('Rex')
    expect([kennel.register.name, kennel.register.length]).toEqual(['register', 1])
  })

  it('is refused on anything but a method', () => {
    const decorate = transactional(datastore) as unknown as (target: unknown, context: object) => unknown
    expect(() => decorate(undefined, { kind: 'field', name: 'dogs' })).toThrow('@transactional cannot be on dogs')
    const generator = async function* dogs(): AsyncGenerator {}
    expect(() => decorate(generator, { kind: 'method', name: 'dogs' })).toThrow('cannot be on dogs: it is a generator')
    class Odd {
      // @ts-expect-error the method is not asynchronous
      @transactional(datastore) count(): number {
        return 0
      }
    }
    expect(new Odd()).toBeDefined()
  })
})
