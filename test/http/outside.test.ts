/** Writes outside of any transaction beside the middleware: what is told of them, and what says that it is meant. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { isEventSourcingError } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warningsOf } from '../prisma/warnings.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { type Exchange, frameworks, type RunningServer } from './servers.js'

/** Calls back from one place for all requests, as an old client of a cache does. */
class SharedQueue {
  readonly #waiting: Array<() => void> = []
  readonly #timer = setInterval(() => this.#waiting.shift()?.(), 2)

  call(back: () => void): void {
    this.#waiting.push(back)
  }

  close(): void {
    clearInterval(this.#timer)
  }
}

const post = async (server: RunningServer): Promise<number> =>
  (await fetch(`${server.url}/dogs`, { method: 'POST' })).status

describe.each(oneOfEach)('on $name', (kind) => {
  const queue = new SharedQueue()
  let strict: OpenDatabase
  let server: RunningServer | undefined
  beforeAll(async () => {
    strict = await openDatabase(kind, { outside: 'refuse', name: 'kennel' })
  })
  beforeEach(async () => {
    await strict.clear()
  })
  afterEach(async () => {
    await server?.close()
    server = undefined
  })
  afterAll(async () => {
    queue.close()
    await strict.close()
  })

  const create = async ({ db }: OpenDatabase, dog = 'Fido'): Promise<unknown> =>
    await db.owner.create({ data: { name: 'Ann', dog } })
  const save = async ({ datastore }: OpenDatabase): Promise<unknown> =>
    await new TrainingSchool({ datastore }).register('Fido')
  const createWithToy = async ({ db }: OpenDatabase): Promise<unknown> =>
    await db.owner.create({ data: { name: 'Ann', dog: 'Fido', toys: { create: { name: 'ball' } } } })
  const raw = async (open: OpenDatabase): Promise<unknown> =>
    await open.db.$executeRawUnsafe(`INSERT INTO ${open.quoted('owners')} (name, dog) VALUES ('Ann', 'Fido')`)
  const ofBase = async ({ base }: OpenDatabase): Promise<unknown> =>
    await base.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
  const writes = [
    { name: 'a call on db', write: create },
    { name: 'a call with a nested write', write: createWithToy },
    { name: 'a raw statement', write: raw },
    { name: 'a call on the client below', write: ofBase },
    { name: 'an application', write: save },
  ]

  describe.each(casesOn(kind, frameworks))('$name', (framework) => {
    const lose =
      (write: () => Promise<unknown>) =>
      async ({ send }: Exchange) => {
        await new Promise<void>((resolve, reject) => {
          queue.call(() => void write().then(() => resolve(), reject))
        })
        send(201)
      }

    it.each(writes)('refuses $name in a callback that has lost the transaction', async ({ write }) => {
      const handle = lose(async () => await write(strict))
      server = await framework.start(strict.datastore, [{ method: 'POST', path: '/dogs', handle }])
      expect(await post(server)).toBe(500)
      expect(await strict.dogs()).toEqual([])
      expect(await new TrainingSchool({ datastore: strict.datastore }).repository.has(Dog, Dog.createId('Fido'))).toBe(
        false,
      )
    })

    it('tells of them once for each place, where nobody has set the option', async () => {
      const open = await openDatabase(kind)
      const handle = lose(async () => {
        for (const n of [1, 2]) await create(open, `Fido ${n}`)
        await save(open)
      })
      server = await framework.start(open.datastore, [{ method: 'POST', path: '/dogs', handle }])
      // Nothing is said of fixtures.
      expect(await warningsOf('ES_OUTSIDE', async () => await create(open, 'Rex'))).toEqual([])
      const { url } = server
      const warnings = await warningsOf('ES_OUTSIDE', async () => await fetch(`${url}/dogs`, { method: 'POST' }))
      expect(warnings).toHaveLength(2)
      for (const warning of warnings) expect(warning).toMatch(/(outside\.test|dogs)\.ts:\d+/)
      await server.close()
      await open.close()
    })

    it('refuses them in an app without the middleware, and on a datastore that it was not given', async () => {
      const handle = async ({ send }: Exchange): Promise<void> => {
        await create(strict)
        send(201)
      }
      server = await framework.start([], [{ method: 'POST', path: '/dogs', handle }])
      expect(await post(server)).toBe(500)
      await server.close()
      const other = await openDatabase(kind)
      server = await framework.start(other.datastore, [{ method: 'POST', path: '/dogs', handle }])
      expect(await post(server)).toBe(500)
      await other.close()
      expect(await strict.dogs()).toEqual([])
    })

    it('takes what is said to be meant: a route without transactions, outside(), and what runs after the commit', async () => {
      const written: string[] = []
      const write = async (dog: string): Promise<void> => {
        await create(strict, dog)
        written.push(dog)
      }
      server = await framework.start(strict.datastore, [
        {
          method: 'POST',
          path: '/dogs',
          transaction: false,
          handle: async ({ send }) => {
            await write('without')
            send(201)
          },
        },
        {
          method: 'GET',
          path: '/dogs',
          handle: async ({ send }) => {
            await strict.db.owner.count()
            strict.datastore.currentTransaction.afterCommit(() => write('after'))
            send(200)
          },
        },
      ])
      expect(await post(server)).toBe(201)
      expect((await fetch(`${server.url}/dogs`)).status).toBe(200)
      await expect.poll(() => written).toEqual(['without', 'after'])
      expect(await strict.dogs()).toEqual(['after', 'without'])
    })
  })

  it('refuses by name, and says what to do', async () => {
    for (const { write } of writes) {
      const error: unknown = await write(strict).catch((reason: unknown) => reason)
      expect(isEventSourcingError(error) ? error.code : Reflect.get(error as object, 'code')).toBe('ES_NO_TRANSACTION')
      expect(String(error)).toMatch(/outside of any transaction of kennel: .*datastore\.outside\(\)/s)
    }
  })

  it('takes reads, transactions of every kind, and what is outside on purpose', async () => {
    const { datastore, db } = strict
    expect(await db.owner.findMany()).toEqual([])
    const row = (dog: string) => db.owner.create({ data: { name: 'Ann', dog } })
    await db.$transaction([row('a'), row('b')])
    await db.$transaction(async (tx) => await tx.owner.create({ data: { name: 'Ann', dog: 'c' } }))
    await datastore.transaction(async () => await row('d'))
    await datastore.outside(async () => await row('e'))
    await datastore.outside(() => row('f'))
    for (const [index, propagation] of (['notSupported', 'supports', 'never'] as const).entries()) {
      await datastore.transaction(async () => await row(`g${index}`), { propagation })
    }
    await datastore.transaction(async (tx) => {
      tx.afterCommit(async () => void (await row('h')))
    })
    expect(await strict.dogs()).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g0', 'g1', 'g2', 'h'])
  })

  it('allows them in production, where nobody has set the option', async () => {
    const { NODE_ENV: before } = process.env
    process.env['NODE_ENV'] = 'production'
    const open = await openDatabase(kind)
    process.env['NODE_ENV'] = before
    const handle = async ({ send }: Exchange): Promise<void> => {
      await create(open)
      send(201)
    }
    server = await frameworks[1]?.start([], [{ method: 'POST', path: '/dogs', handle }])
    const running = server
    if (running === undefined) throw new Error('there is no second framework')
    expect(await warningsOf('ES_OUTSIDE', async () => await post(running))).toEqual([])
    await open.close()
  })
})
