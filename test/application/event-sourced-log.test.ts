/** Event-sourced logs: in memory and on every database. */
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest'
import { Application, ConcurrencyError, EventSourcedLog, NAMESPACE_URL, uuid5 } from '../../src/index.js'
import { openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { Dog } from './dogs.js'

interface Registrations {
  readonly Registered: { readonly name: string }
  readonly Retired: { readonly name: string; readonly reason: string }
}

const stores = [
  { name: 'memory', open: async () => ({ application: new Application(), close: async () => {} }) },
  ...oneOfEach.map((kind) => ({
    name: kind.name,
    async open() {
      const opened = await openDatabase(kind)
      const application = new Application({ name: '', datastore: opened.datastore })
      return { application, close: () => opened.close() }
    },
  })),
]

describe.each(stores)('a log on $name', ({ open }) => {
  let application: Application
  let close: () => Promise<void>
  let logs = 0
  const newLog = (): EventSourcedLog<Registrations> => {
    logs += 1
    return new EventSourcedLog(application, { id: uuid5(NAMESPACE_URL, `/logs/${logs}`), topic: 'DogNames' })
  }
  beforeAll(async () => {
    const opened = await open()
    application = opened.application as Application
    close = opened.close
  })
  afterAll(async () => {
    await close()
  })

  it('is empty, then has a first and a last event [195]', async () => {
    const log = newLog()
    expect([await log.first(), await log.last()]).toEqual([undefined, undefined])
    const fido = await log.trigger('Registered', { name: 'Fido' })
    expect(fido).toMatchObject({ topic: 'DogNames.Registered', originatorVersion: 1 })
    await application.save(fido)
    expect([await log.first(), await log.last()].map((logged) => logged?.data)).toEqual([fido.data, fido.data])
    const rex = await log.trigger('Registered', { name: 'Rex' })
    await application.save(rex, await log.trigger('Registered', { name: 'Ace' }, 3))
    expect((await log.first())?.data).toEqual({ name: 'Fido' })
    expect(await log.last()).toMatchObject({ originatorVersion: 3, data: { name: 'Ace' } })
  })

  it('gives the range that is asked for [196]', async () => {
    const log = newLog()
    for (const name of ['Fido', 'Rex', 'Ace']) await application.save(await log.trigger('Registered', { name }))
    const versions = async (range?: Parameters<typeof log.get>[0]): Promise<number[]> =>
      (await log.get(range)).map(({ originatorVersion }) => originatorVersion)
    expect(await versions()).toEqual([1, 2, 3])
    expect(await versions({ gt: 1 })).toEqual([2, 3])
    expect(await versions({ lte: 2 })).toEqual([1, 2])
    expect(await versions({ limit: 1 })).toEqual([1])
    expect(await versions({ desc: true })).toEqual([3, 2, 1])
  })

  it('is saved together with an aggregate, or neither is [197]', async () => {
    const log = newLog()
    const [fido, rex] = [new Dog(`Fido ${logs}`), new Dog(`Rex ${logs}`)]
    const logged = await log.trigger('Registered', { name: 'Fido' })
    await application.save(fido, logged)
    await expect(application.save(rex, logged)).rejects.toBeInstanceOf(ConcurrencyError)
    expect((await log.get()).map(({ data }) => data)).toEqual([{ name: 'Fido' }])
    expect(await application.repository.has(Dog, fido.id)).toBe(true)
    expect(await application.repository.has(Dog, rex.id)).toBe(false)
  })

  it('has events of several kinds, each with its own data [198]', async () => {
    const log = newLog()
    await application.save(await log.trigger('Registered', { name: 'Fido' }))
    const retired = await log.trigger('Retired', { name: 'Fido', reason: 'age' })
    expectTypeOf(retired.data).toEqualTypeOf<{ readonly name: string; readonly reason: string }>()
    await application.save(retired)
    expect((await log.get()).map(({ topic }) => topic)).toEqual(['DogNames.Registered', 'DogNames.Retired'])
  })

  it('refuses what is no event', async () => {
    const log = new EventSourcedLog(application, { id: uuid5(NAMESPACE_URL, '/logs'), topic: 'Anything' })
    await expect(log.trigger('not a name', {})).rejects.toBeInstanceOf(TypeError)
    await expect(log.trigger('Listed', ['Fido'])).rejects.toBeInstanceOf(TypeError)
  })
})
