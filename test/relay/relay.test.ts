/** A relay on every database: each event at least once, in order, to a broker that may fail. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { withProjectionTables } from '../../src/cli/projection-commands.js'
import { ProgrammingError, readEvent } from '../../src/index.js'
import type { ProjectionTables } from '../../src/persistence/projection-tables.js'
import { type Broker, Relay, type RelayMessage, type RelayOptions } from '../../src/relay/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warnings } from '../prisma/warnings.js'
import { oneOfEach } from '../support/databases.js'

/** Keeps what it is given, and fails as long as it is told to. */
class Kept implements Broker {
  readonly name = 'a list'
  readonly messages: RelayMessage[] = []
  readonly sizes: number[] = []
  failure: Error | undefined
  publish(messages: readonly RelayMessage[]): Promise<void> {
    if (this.failure !== undefined) return Promise.reject(this.failure)
    this.messages.push(...messages)
    this.sizes.push(messages.length)
    return Promise.resolve()
  }
  get ids(): string[] {
    return this.messages.map(({ event }) => event.id)
  }
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  let broker: Kept
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
    broker = new Kept()
  })
  afterEach(async () => {
    await open.close()
  })

  async function relayOf(options: Partial<RelayOptions> = {}): Promise<Relay> {
    const relay = new Relay({
      name: 'dogs',
      application: school,
      datastore: open.datastore,
      to: broker,
      map: ({ data }) => ({ data }),
      poison: { attempts: 2, minMs: 1 },
      ...options,
    })
    await relay.createTable()
    onTestFinished(() => relay.stop())
    return relay
  }

  /** The command opens files by the other driver, and two copies of SQLite in one process do not see each other's locks. */
  const isOpenedAlike = kind.name !== 'SQLite (libsql)'
  const tables = async <T>(work: (access: ProjectionTables) => Promise<T>): Promise<T> =>
    await withProjectionTables({ url: open.database.url, application: 'TrainingSchool' }, work)

  it('publishes what was stored before it and after, with what map gives of it', async () => {
    await school.register('Fido')
    const relay = await relayOf({
      map: (event) => {
        const registered = readEvent(Dog, 'Registered', event)
        return registered === undefined ? undefined : { data: registered.data, type: 'dog.registered' }
      },
    })
    await relay.start()
    await school.addTrick('Fido', 'sit')
    await relay.wait(await school.register('Rex').then(async () => await school.recorder.maxNotificationId()), {
      timeoutMs: 10_000,
    })
    expect(broker.messages.map(({ event: { id, data, type, subject } }) => ({ id, data, type, subject }))).toEqual([
      { id: 'TrainingSchool/1', data: { name: 'Fido' }, type: 'dog.registered', subject: Dog.createId('Fido') },
      { id: 'TrainingSchool/3', data: { name: 'Rex' }, type: 'dog.registered', subject: Dog.createId('Rex') },
    ])
    expect(relay.stats).toMatchObject({ published: 2, failure: undefined, state: 'running', position: 3n })
    expect(relay.healthy()).toBe(true)
  })

  it.runIf(isOpenedAlike)(
    'tries again while the broker is away, shows why and how far behind it is, and loses nothing',
    async () => {
      const relay = await relayOf({ maxEvents: 2 })
      broker.failure = new Error('no broker')
      await relay.start()
      for (const name of ['Fido', 'Rex', 'Max']) await school.register(name)
      await expect.poll(() => relay.stats.failure).toMatch(/event TrainingSchool\/1 to a list: no broker/)
      expect(relay.healthy()).toBe(false)
      const shown = (): Promise<unknown> => tables(async (access) => (await access.status(['dogs']))[0])
      await expect.poll(shown).toMatchObject({
        kind: 'reaction',
        lagEvents: 3,
        position: 0n,
        reason: expect.stringMatching(/no broker/),
      })
      broker.failure = undefined
      await expect.poll(() => broker.ids).toEqual([1, 2, 3].map((position) => `TrainingSchool/${position}`))
      expect(Math.max(...broker.sizes)).toBeLessThanOrEqual(2)
      await expect.poll(shown, { interval: 500 }).toMatchObject({ lagEvents: 0, status: 'live', reason: undefined })
      expect(relay.healthy()).toBe(true)
    },
  )

  it('stands still at an event that map fails on, and says why', async () => {
    let isMended = false
    const relay = await relayOf({
      map: ({ data, originatorVersion }) => {
        if (originatorVersion > 1 && !isMended) throw new Error('no trick')
        return { data }
      },
    })
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await school.register('Rex')
    const told = warnings('ES_PROJECTION_BLOCKED')
    onTestFinished(told.stop)
    await relay.start()
    await expect
      .poll(() => told.seen)
      .toEqual([
        expect.stringMatching(
          /dogs stands still at event 2 .*Could not make a message of event TrainingSchool\/2 \(.*TrickAdded\): map has failed with Error: no trick/,
        ),
      ])
    expect(broker.ids).toEqual(['TrainingSchool/1'])
    expect(relay.healthy()).toBe(false)
    isMended = true
    await relay.retry()
    await expect.poll(() => broker.ids).toEqual([1, 2, 3].map((position) => `TrainingSchool/${position}`))
    expect(relay.healthy()).toBe(true)
  })

  it('is blocked by data that no message can carry', async () => {
    const relay = await relayOf({ to: { name: 'json', publish: () => Promise.reject(new TypeError('1n')) } })
    await school.register('Fido')
    await expect(relay.runOnce()).rejects.toThrow('1n')
  })

  it.runIf(isOpenedAlike)('is paused, resumed and set back, here and by the tables alone', async () => {
    // What others have changed it sees when it renews its lease, a few times while that lasts.
    const relay = await relayOf({ leaseMs: 3_000 })
    for (const name of ['Fido', 'Rex', 'Max']) await school.register(name)
    await relay.start()
    await expect.poll(() => broker.ids).toHaveLength(3)
    await tables((access) => access.pause('dogs'))
    await expect.poll(() => relay.stats.state, { timeout: 15_000 }).toBe('paused')
    await school.register('Ben')
    expect(await relay.rewind(1n)).toBe(3n)
    await relay.resume()
    await expect.poll(() => broker.ids.slice(3)).toEqual([2, 3, 4].map((position) => `TrainingSchool/${position}`))
    const again = broker.messages.slice(3).map(({ deduplicationId }) => deduplicationId)
    expect(again.map((id) => id.replace(/~.*/, '~'))).toEqual([
      'TrainingSchool/2~',
      'TrainingSchool/3~',
      'TrainingSchool/4',
    ])
    await expect.poll(() => relay.stats.position).toBe(4n)
    expect(await tables((access) => access.rewind('dogs', 3n))).toBe(4n)
    await expect.poll(() => broker.ids.slice(6), { timeout: 15_000 }).toEqual(['TrainingSchool/4'])
    expect(await relay.rewind(2n)).toBe(4n)
    await expect.poll(() => broker.ids.slice(7)).toEqual(['TrainingSchool/3', 'TrainingSchool/4'])
    await expect.poll(() => relay.stats.position).toBe(4n)
    await expect(relay.rewind(9n)).rejects.toThrow(/it is at 4. Give a position from 0 to that/)
  })

  it('lets one of two publish, and the other when that has ended', async () => {
    const other = new Kept()
    const [first, second] = [await relayOf(), await relayOf({ to: other })]
    await first.start()
    await second.start()
    await school.register('Fido')
    await expect.poll(() => [...broker.ids, ...other.ids]).toEqual(['TrainingSchool/1'])
    const [working, waiting] = broker.ids.length === 1 ? [first, second] : [second, first]
    await working.stop()
    await school.register('Rex')
    await expect.poll(() => [...broker.ids, ...other.ids]).toContain('TrainingSchool/2')
    expect(waiting.stats.published).toBe(1)
  })

  it('begins behind what is stored, where it is told to', async () => {
    await school.register('Fido')
    const relay = await relayOf({ from: 'now', source: 'https://dogs.example' })
    await relay.start()
    await school.register('Rex')
    await expect
      .poll(() => broker.messages.map(({ event: { id, source } }) => ({ id, source })))
      .toEqual([{ id: 'TrainingSchool/2', source: 'https://dogs.example' }])
  })
})

it('stops within its time where a broker does not answer', async () => {
  const application = new TrainingSchool()
  const relay = new Relay({
    name: 'dogs',
    application,
    to: { name: 'silence', publish: () => new Promise(() => undefined) },
    map: ({ data }) => ({ data }),
  })
  await application.register('Fido')
  await relay.start()
  await expect.poll(() => relay.stats.state).toBe('running')
  const begun = performance.now()
  await relay.stop()
  expect(performance.now() - begun).toBeLessThan(10_000)
})

it('refuses to be made without what it needs', () => {
  const application = new TrainingSchool()
  const to = new Kept()
  const made =
    (options: object): (() => Relay) =>
    () =>
      new Relay({ name: 'dogs', application, to, ...options } as never)
  expect(made({})).toThrow(/without map: .* which is read decrypted/)
  expect(made({ map: () => undefined, maxEvents: 0 })).toThrow(ProgrammingError)
  expect(made({ map: () => undefined, name: 'a b' })).toThrow(/its name has/)
  expect(made({ map: () => undefined, broker: to })).toThrow(/there is no option `broker`/)
})
