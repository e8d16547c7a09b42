/** Aggregates: identity, versions, times, pending events, rebuilding. */
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { Aggregate } from '../../src/domain/aggregate.js'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { event } from '../../src/domain/event-decorator.js'
import { rebuild } from '../../src/domain/rebuild.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { OriginatorIdError, OriginatorVersionError, TopicError } from '../../src/errors.js'
import { Dog } from './dog.js'

function rebuilt<A extends Aggregate<object>>(aggregate: A | undefined): A {
  if (aggregate === undefined) throw new Error('there were no events')
  return aggregate
}

describe('an aggregate', () => {
  it('[131] [132] triggers Created when its class declares nothing else', () => {
    class Plain extends Aggregate {}
    const before = createTimestamp()
    const plain = new Plain()
    const after = createTimestamp()
    expect(plain.version).toBe(1)
    expect(plain.createdOn).toBe(plain.modifiedOn)
    expect(plain.createdOn > before && plain.createdOn < after).toBe(true)
    expect(plain.pendingEvents).toHaveLength(1)
    expect(plain.pendingEvents[0]).toMatchObject({
      originatorId: plain.id,
      originatorVersion: 1,
      topic: 'Plain.Created',
      originatorTopic: 'Plain',
      data: {},
    })
  })

  it('[137] begins with the initial version of its class', () => {
    class Zero extends Aggregate {
      static readonly initialVersion = 0
    }
    class Two extends Aggregate {
      static readonly initialVersion = 2
    }
    expect(new Zero().version).toBe(0)
    expect(new Dog('Fido').version).toBe(1)
    const two = new Two()
    expect(two.version).toBe(2)
    expect(rebuilt(rebuild(Two, two.collectEvents())).version).toBe(2)
  })

  it('[141] has the id that createId makes of the constructor arguments', () => {
    expect(new Dog('Fido').id).toBe(Dog.createId('Fido'))
    expect(Dog.createId('Fido')).toBe('1e1d7398-8986-57af-bb01-11a89b2f8b02')
    class Plain extends Aggregate {}
    expect(new Plain().id).not.toBe(new Plain().id)
  })

  it('[141] is not created when createId gives a promise, a number or nothing', () => {
    const ids: unknown[] = [Promise.reject(new Error('no id')), 7, '', undefined]
    for (const id of ids) {
      class Odd extends Aggregate {
        static createId(): string {
          return id as string // what plain JavaScript may return
        }
      }
      expect(() => new Odd()).toThrow(/Odd\.createId (gave a promise|must give a text)/)
    }
  })

  it('[144] gains a version, a later time and a pending event from each event', () => {
    const dog = new Dog('Fido')
    dog.addTrick('roll over')
    expect(dog.version).toBe(2)
    expect(dog.modifiedOn > dog.createdOn).toBe(true)
    expect(dog.pendingEvents.map((pending) => [pending.originatorVersion, pending.topic, pending.data])).toEqual([
      [1, 'Dog.Registered', { name: 'Fido' }],
      [2, 'Dog.TrickAdded', { trick: 'roll over' }],
    ])
    expect(dog.pendingEvents[1]).not.toHaveProperty('originatorTopic')
  })

  it('[145] refuses an event of another version or of another aggregate, and an event twice', () => {
    const dog = new Dog('Fido')
    dog.addTrick('roll over')
    const [registered, added] = dog.collectEvents() as [DomainEvent, DomainEvent]
    const copy = rebuilt(rebuild(Dog, [registered]))
    const elsewhere = domainEvent({ ...added, originatorId: Dog.createId('Rex') })
    expect(() => rebuild(copy.constructor as typeof Dog, [elsewhere], copy)).toThrow(OriginatorIdError)
    expect(() =>
      rebuild(copy.constructor as typeof Dog, [domainEvent({ ...added, originatorVersion: 3 })], copy),
    ).toThrow(OriginatorVersionError)
    rebuild(copy.constructor as typeof Dog, [added], copy)
    expect(() => rebuild(copy.constructor as typeof Dog, [added], copy)).toThrow(OriginatorVersionError)
    expect(copy.version).toBe(2)
    expect(copy.tricks).toEqual(['roll over'])
  })

  it('[146] keeps version, time and pending events when a stored event cannot be applied', () => {
    class Fragile extends Aggregate {
      static readonly events = {
        Broken(): void {
          throw new Error('broken')
        },
      }
    }
    const fragile = new Fragile()
    const broken = { topic: 'Fragile.Broken', originatorId: fragile.id, originatorVersion: 2, data: {} }
    const modifiedOn = fragile.modifiedOn
    expect(() =>
      rebuild(fragile.constructor as typeof Dog, [domainEvent({ ...broken, timestamp: createTimestamp() })], fragile),
    ).toThrow('broken')
    expect([fragile.version, fragile.modifiedOn, fragile.pendingEvents.length]).toEqual([1, modifiedOn, 1])
  })

  it('[147] [148] is equal to what its collected events rebuild, and collecting empties the list', () => {
    const dog = new Dog('Fido')
    dog.addTrick('roll over')
    dog.addTrick('play dead')
    const events = dog.collectEvents()
    expect(dog.pendingEvents).toEqual([])
    const copy = rebuilt(rebuild(Dog, events))
    expect(copy).not.toBe(dog)
    expect(copy).toBeInstanceOf(Dog)
    expect(copy.equals(dog)).toBe(true)
    expect(copy.collectEvents()).toEqual([])
    copy.addTrick('sit')
    expect(copy.equals(dog)).toBe(false)
  })

  it('[148] differs by creation time and by pending events', () => {
    const dog = new Dog('Fido')
    expect(dog.equals(dog)).toBe(true)
    expect(dog.equals(new Dog('Fido'))).toBe(false)
    expect(dog.equals(Object.assign({}, dog))).toBe(false)
    const copy = rebuilt(rebuild(Dog, dog.pendingEvents))
    expect(dog.equals(copy)).toBe(false)
    dog.collectEvents()
    expect(dog.equals(copy)).toBe(true)
  })

  it('[149] shows class, id, version, times and state when it is inspected', () => {
    const dog = new Dog('Fido')
    dog.addTrick('sit')
    expect(inspect(dog, { breakLength: Number.POSITIVE_INFINITY })).toBe(
      `Dog { id: '${dog.id}', version: 2, createdOn: '${dog.createdOn.iso}', modifiedOn: '${dog.modifiedOn.iso}', ` +
        `name: 'Fido', tricks: [ 'sit' ] }`,
    )
    expect(inspect({ a: { b: { dog } } })).toContain(`[Dog ${dog.id}]`)
  })

  it('[151] tells the story of a bank account', () => {
    const account = new BankAccount('Alice')
    account.transact(1000)
    account.transact(1000)
    account.transact(-1500)
    expect(account.balance).toBe(500)
    expect(() => account.transact(-1500)).toThrow('insufficient funds')
    account.setOverdraftLimit(10_000)
    account.transact(-1500)
    expect(account.balance).toBe(-1000)
    account.close()
    expect(() => account.transact(-1500)).toThrow('account closed')
    expect(account.collectEvents()).toHaveLength(7)
  })
})

describe('rebuilding', () => {
  it('gives undefined for no events', () => {
    expect(rebuild(Dog, [])).toBeUndefined()
  })

  it('runs the constructor, so that private and readonly members are there', () => {
    const account = new BankAccount('Alice')
    account.transact(1000)
    const copy = rebuilt(rebuild(BankAccount, account.collectEvents()))
    expect([copy.balance, copy.owner]).toEqual([1000, 'Alice'])
    copy.transact(-400)
    expect(copy.balance).toBe(600)
  })

  it('reads rows with former topics of the class and of its events [99, 100]', () => {
    class Hound extends Aggregate {
      static readonly topic = 'hound'
      static readonly formerTopics = {
        '__main__:Dog': 'hound',
        'hound.TrickAdded': 'hound.TrickLearned',
        'kennel:Barked': 'hound.Barked',
      }
      readonly heard: string[] = []
      @event('TrickLearned', 'trick') learn(trick: string): void {
        this.heard.push(trick)
      }
      @event('Barked', 'sound') bark(sound: string): void {
        this.heard.push(sound)
      }
    }
    const base = { originatorId: 'rex', timestamp: createTimestamp() }
    const topics = [
      '__main__:Dog.Created',
      '__main__:Dog.TrickAdded',
      'hound.TrickLearned',
      'kennel:Barked',
      'hound.Barked',
    ]
    const events = topics.map((topic, index) =>
      domainEvent({ ...base, topic, originatorVersion: index + 1, data: { trick: `t${index}`, sound: `s${index}` } }),
    )
    expect(rebuilt(rebuild(Hound, events)).heard).toEqual(['t1', 't2', 's3', 's4'])
    expect(new Hound().pendingEvents[0]).toMatchObject({ topic: 'hound.Created', originatorTopic: 'hound' })
  })

  it('refuses unknown topics, a stream without its beginning and a second creation', () => {
    const dog = new Dog('Fido')
    dog.addTrick('sit')
    const [registered, added] = dog.collectEvents() as [DomainEvent, DomainEvent]
    expect(() => rebuild(Dog, [domainEvent({ ...registered, topic: 'Cat.Registered' })])).toThrow(TopicError)
    expect(() => rebuild(Dog, [registered, domainEvent({ ...added, topic: 'Dog.toString' })])).toThrow(TopicError)
    expect(() => rebuild(Dog, [added])).toThrow(OriginatorVersionError)
    expect(() => rebuild(Dog, [domainEvent({ ...added, originatorVersion: 1 })])).toThrow(TopicError)
    expect(() => rebuild(Dog, [registered, domainEvent({ ...registered, originatorVersion: 2 })])).toThrow(TopicError)
  })

  it('keeps the events that a constructor triggers after the first apart from it', () => {
    class Welcomed extends Dog {
      readonly greeting: string = 'hello'
      constructor(name = 'Rex') {
        super(name)
        this.addTrick('wave')
      }
    }
    const welcomed = new Welcomed()
    expect(welcomed.pendingEvents.map((pending) => pending.topic)).toEqual([
      'Welcomed.Registered',
      'Welcomed.TrickAdded',
    ])
    const copy = rebuilt(rebuild(Welcomed, welcomed.collectEvents()))
    expect(copy.equals(welcomed)).toBe(true)
    expect([copy.name, copy.tricks, copy.greeting]).toEqual(['Rex', ['wave'], 'hello'])
  })

  it('refuses a class whose constructor arguments no event keeps', () => {
    class Cat extends Aggregate {
      readonly name: string
      constructor(name: string) {
        super()
        this.name = name
      }
    }
    expect(() => new Cat('Tom')).toThrow(/The constructor of Cat has parameters, and no event keeps them/)
  })
})

@event('Opened', 'owner')
class BankAccount extends Aggregate {
  #balance = 0
  #isClosed = false
  overdraftLimit = 0
  readonly owner: string

  constructor(owner: string) {
    super()
    this.owner = owner
  }

  get balance(): number {
    return this.#balance
  }

  @event('Transacted', 'cents')
  transact(cents: number): void {
    if (this.#isClosed) throw new Error('account closed')
    if (this.#balance + cents < -this.overdraftLimit) throw new Error('insufficient funds')
    this.#balance += cents
  }

  @event('OverdraftLimitSet', 'cents')
  setOverdraftLimit(cents: number): void {
    this.overdraftLimit = cents
  }

  @event('Closed')
  close(): void {
    this.#isClosed = true
  }
}
