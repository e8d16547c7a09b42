/** Applications: names, variables, saving, deciders, and where their recorders come from. */
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest'
import { Application } from '../../src/application/application.js'
import { domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import {
  ConcurrencyError,
  EnvironmentError,
  IntegrityError,
  NotSupportedError,
  ProgrammingError,
} from '../../src/errors.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { ZlibCompressor } from '../../src/persistence/compressor.js'
import type { Environment } from '../../src/persistence/environment.js'
import { InMemoryFactory } from '../../src/persistence/in-memory-factory.js'
import { InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import { accounts, Dog, TrainingSchool } from './dogs.js'

const idsOf = (recordings: ReadonlyArray<{ readonly notification?: { readonly id: bigint } }>): unknown[] =>
  recordings.map(({ notification }) => notification?.id)

describe('the name of an application', () => {
  it('is that of its class, of each class its own [168]', () => {
    class Own extends Application {
      static override readonly name = 'training'
    }
    class Inheriting extends Own {}
    expect(new TrainingSchool().name).toBe('TrainingSchool')
    expect(new Application().name).toBe('')
    expect(new Own().name).toBe('training')
    expect(new Inheriting().name).toBe('Inheriting')
  })

  it('may be given, also as no name at all', () => {
    expect(new TrainingSchool({ name: 'school' }).name).toBe('school')
    expect(new TrainingSchool({ name: '' }).name).toBe('')
  })
})

describe('the variables of an application', () => {
  afterEach(() => {
    delete process.env['DOG_SCHOOL_B']
    delete process.env['DOG_SCHOOL_C']
  })

  it('come from the class, then process.env, then the constructor', () => {
    class DogSchool extends Application {
      static override readonly env = { A: 'class', DOG_SCHOOL_B: 'class', DOG_SCHOOL_C: 'class' }
    }
    process.env['DOG_SCHOOL_B'] = 'process'
    process.env['DOG_SCHOOL_C'] = 'process'
    const { environment } = new DogSchool({ name: 'dog_school', env: { DOG_SCHOOL_C: 'constructor' } })
    expect(['A', 'B', 'C'].map((key) => environment.get(key))).toEqual(['class', 'process', 'constructor'])
  })

  it('name compressor and cipher, unless they are given', async () => {
    const env = { CIPHER_KEY: AESCipher.createKey(), COMPRESSOR_TOPIC: 'zlib' }
    const configured = (await new TrainingSchool({ env }).eventStore()).mapper
    expect(configured.cipher).toBeInstanceOf(AESCipher)
    expect(configured.compressor).toBeInstanceOf(ZlibCompressor)
    const cipher = new AESCipher(AESCipher.createKey())
    expect((await new TrainingSchool({ env, cipher }).eventStore()).mapper.cipher).toBe(cipher)
  })
})

describe('saving', () => {
  it('records events in the order of the objects, and ignores what has none [169, 171]', async () => {
    const school = new TrainingSchool()
    expect(await school.save()).toEqual([])
    expect(await school.save(null, undefined)).toEqual([])
    const fido = new Dog('Fido')
    expect(idsOf(await school.save(fido))).toEqual([1n])
    expect(await school.save(fido)).toEqual([])
    expect(idsOf(await school.save(new Dog('Buster')))).toEqual([2n])
    const [rex, bella] = [new Dog('Rex'), new Dog('Bella')]
    rex.addTrick('sit')
    const recordings = await school.save(bella, null, rex)
    expect(idsOf(recordings)).toEqual([3n, 4n, 5n])
    expect(recordings.map(({ event }) => [event.originatorId, event.topic])).toEqual([
      [bella.id, 'Dog.Registered'],
      [rex.id, 'Dog.Registered'],
      [rex.id, 'Dog.TrickAdded'],
    ])
  })

  it('stores nothing when one of the aggregates or events conflicts [170]', async () => {
    const school = new TrainingSchool()
    await school.register('Fido')
    const bare = domainEvent({
      originatorId: 'a log',
      originatorVersion: 1,
      topic: 'Log.Logged',
      timestamp: createTimestamp(),
      data: {},
    })
    await expect(school.save(new Dog('Buster'), bare, new Dog('Fido'))).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await school.repository.has(Dog, Dog.createId('Buster'))).toBe(false)
    expect(await school.recorder.maxNotificationId()).toBe(1n)
    expect(idsOf(await school.save(new Dog('Buster'), bare))).toEqual([2n, 3n])
  })

  it('collects the events at once, so that later ones belong to the next save', async () => {
    const school = new TrainingSchool()
    const fido = new Dog('Fido')
    const saving = school.save(fido)
    fido.addTrick('sit')
    expect(await saving).toHaveLength(1)
    expect(await school.save(fido)).toHaveLength(1)
    expect(await school.getTricks('Fido')).toEqual(['sit'])
  })

  it('refuses a writer that is late [176]', async () => {
    const school = new TrainingSchool()
    await school.register('Fido')
    const [first, second] = await Promise.all([1, 2].map(() => school.repository.get(Dog, Dog.createId('Fido'))))
    first?.addTrick('sit')
    second?.addTrick('roll over')
    await school.save(first)
    await expect(school.save(second)).rejects.toBeInstanceOf(IntegrityError)
    expect(await school.getTricks('Fido')).toEqual(['sit'])
  })

  it('refuses to leave a gap after events that were never stored', async () => {
    const school = new TrainingSchool()
    const fido = new Dog('Fido')
    fido.collectEvents()
    fido.addTrick('sit')
    await expect(school.save(fido)).rejects.toBeInstanceOf(ConcurrencyError)
  })

  it('refuses objects that have no events', async () => {
    // @ts-expect-error a plain object cannot be saved
    await expect(new TrainingSchool().save({})).rejects.toBeInstanceOf(ProgrammingError)
  })
})

describe('a decider', () => {
  it('is loaded, decides and is saved', async () => {
    const bank = new Application({ name: 'Bank' })
    const opened = await bank.execute(accounts, 'account-1', 'open', 'Alice')
    expect(opened).toMatchObject({ id: 'account-1', version: 1, state: { balance: 0, isOpen: true } })
    expectTypeOf(opened.state).toEqualTypeOf<{ balance: number; isOpen: boolean }>()
    await bank.execute(accounts, 'account-1', 'change', 1000)
    await bank.execute(accounts, 'account-1', 'open', 'Alice')
    await expect(bank.execute(accounts, 'account-1', 'change', -1500)).rejects.toThrow('insufficient funds')
    const account = await bank.repository.get(accounts, 'account-1')
    expect(account).toMatchObject({ id: 'account-1', version: 2, state: { balance: 1000 } })
    expect(await bank.repository.get(accounts, 'account-1', { version: 1 })).toMatchObject({
      version: 1,
      state: { balance: 0 },
    })
    // @ts-expect-error the amount is a number
    await bank.execute(accounts, 'account-1', 'change', '10').catch(() => undefined)
    // @ts-expect-error there is no such command
    await expect(bank.execute(accounts, 'account-1', 'close')).rejects.toThrow(TypeError)
  })
})

describe('the recorder of an application', () => {
  const module = './test/persistence/modules/persistence.js'

  it('is in memory when nothing is configured', async () => {
    const school = new TrainingSchool()
    expect(school.recorder).toBeInstanceOf(InMemoryApplicationRecorder)
    expect(school.recorder).toBe(school.recorder)
    await expect(school.recorder.transaction(async () => {})).rejects.toBeInstanceOf(NotSupportedError)
  })

  it('comes from a datastore or a factory at once', async () => {
    const environments: Environment[] = []
    const datastore = {
      infrastructureFactory(environment: Environment) {
        environments.push(environment)
        return new InMemoryFactory()
      },
    }
    const school = new TrainingSchool({ datastore, env: { PERSISTENCE_MODULE: './missing.js' } })
    expect(environments).toEqual([school.environment])
    expect(school.recorder).toBeInstanceOf(InMemoryApplicationRecorder)
    await school.register('Fido')
    expect(await school.recorder.maxNotificationId()).toBe(1n)
    expect(new TrainingSchool({ factory: new InMemoryFactory() }).recorder).toBeInstanceOf(InMemoryApplicationRecorder)
    expect(() => new TrainingSchool({ datastore, factory: new InMemoryFactory() })).toThrow(ProgrammingError)
  })

  it('is loaded at first use when a module is configured, or by ready()', async () => {
    const school = new TrainingSchool({ env: { TRAININGSCHOOL_PERSISTENCE_MODULE: module } })
    expect(() => school.recorder).toThrow(ProgrammingError)
    expect(() => school.recorder).toThrow(/ready\(\)/)
    await Promise.all([school.register('Fido'), school.register('Buster')])
    expect(await school.recorder.maxNotificationId()).toBe(2n)
    const other = await new TrainingSchool({ env: { PERSISTENCE_MODULE: module } }).ready()
    expect(await other.recorder.maxNotificationId()).toBeNull()
  })

  it('is refused at first use when its module cannot be used [82]', async () => {
    const school = new TrainingSchool({ env: { PERSISTENCE_MODULE: './missing.js#factory' } })
    await expect(school.ready()).rejects.toBeInstanceOf(EnvironmentError)
    await expect(school.register('Fido')).rejects.toThrow(
      /TRAININGSCHOOL_PERSISTENCE_MODULE, PERSISTENCE_MODULE.*missing\.js#factory/,
    )
  })

  it('is prepared once, before its first use, and again after that has failed', async () => {
    let failures = 1
    let preparations = 0
    class Preparing extends InMemoryFactory {
      async prepare(): Promise<void> {
        await new Promise((resolve) => setImmediate(resolve))
        if (failures > 0) {
          failures -= 1
          throw new Error('not yet')
        }
        preparations += 1
      }
    }
    const school = new TrainingSchool({ factory: new Preparing() })
    await expect(school.ready()).rejects.toThrow('not yet')
    await Promise.all([school.ready(), school.register('Fido'), school.register('Rex')])
    await school.register('Buster')
    expect(preparations).toBe(1)
  })
})

describe('closing an application', () => {
  it('closes its factory once, and refuses further use', async () => {
    let closings = 0
    class Counting extends InMemoryFactory {
      override async close(): Promise<void> {
        closings += 1
      }
    }
    const school = new TrainingSchool({ factory: new Counting() })
    await school.register('Fido')
    await school.close()
    await school[Symbol.asyncDispose]()
    expect(closings).toBe(1)
    await expect(school.register('Buster')).rejects.toBeInstanceOf(ProgrammingError)
    await expect(school.getTricks('Fido')).rejects.toThrow(/TrainingSchool after it was closed/)
  })
})

describe('transcodings', () => {
  it('are those of the class and of the options', async () => {
    class Money {
      readonly cents: number
      constructor(cents: number) {
        this.cents = cents
      }
    }
    class Shop extends Application {
      static override readonly transcodings = [
        {
          name: 'money',
          type: Money,
          encode: ({ cents }: Money) => cents,
          decode: (cents: number) => new Money(cents),
        },
        { name: 'map', type: Map, encode: () => [], decode: () => new Map() },
      ]
    }
    const asItems = {
      name: 'map',
      type: Map,
      encode: (map: Map<unknown, unknown>) => [...map],
      decode: (items: Array<[unknown, unknown]>) => new Map(items),
    }
    const shop = new Shop({ transcodings: [asItems] })
    const data = { price: new Money(5), stock: new Map([['a', 1]]) }
    await shop.save(
      domainEvent({ originatorId: 'a', originatorVersion: 1, topic: 'A.B', timestamp: createTimestamp(), data }),
    )
    expect((await (await shop.eventStore()).get('a'))[0]?.data).toStrictEqual(data)
  })
})
