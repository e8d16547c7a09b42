/** What passes by a transaction or outlives it is found, and what only looks like that is not. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  EscapeError,
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  TransactionClosedError,
  uuid5,
} from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { oneOfEach } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warningsOf } from './warnings.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')

describe.each(oneOfEach)('on $name, where they are refused', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const owner = (dog: string) => ({ data: { name: 'Ann', dog } })
  const newOwner = (dog: string) => open.db.owner.create(owner(dog))
  const failureOf = async (work: () => Promise<unknown>, label = 'POST /dogs'): Promise<unknown> =>
    await open.datastore.transaction(work, { label }).then(
      () => undefined,
      (error: unknown) => error,
    )

  describe('a commit fails', () => {
    it('for an operation that was made and not awaited, and says which one and where', async () => {
      const error = await failureOf(async () => {
        await newOwner('Fido')
        void open.db.owner.create(owner('Rex'))
      })
      expect(error).toBeInstanceOf(EscapeError)
      expect(error).toMatchObject({ code: 'ES_ESCAPE' })
      expect(String(error)).toMatch(
        /made in the transaction "POST \/dogs" and not awaited before its commit, so it did not run: owner\.create \(at .*escapes\.test\.ts:\d+:\d+\)/,
      )
      expect(await open.dogs()).toEqual([])
    })

    it('for an operation that is still running', async () => {
      let late: Promise<unknown> | undefined
      const error = await failureOf(async () => {
        await newOwner('Fido')
        late = newOwner('Rex').then(() => undefined)
      })
      expect(error).toBeInstanceOf(EscapeError)
      expect(String(error)).toMatch(
        /still running in the transaction "POST \/dogs" when it was to commit: owner\.create \(at .*escapes\.test\.ts/,
      )
      await late
      expect(await open.dogs()).toEqual([])
    })

    it('for a nested transaction that is still open', async () => {
      const { datastore } = open
      let late: Promise<unknown> | undefined
      const error = await failureOf(async () => {
        late = datastore.transaction(async () => await newOwner('Rex'), { propagation: 'nested' })
      })
      expect(String(error)).toContain('when it was to commit: a nested transaction.')
      await late
      expect(await open.dogs()).toEqual([])
    })

    it('for a read of a recorder that is still running', async () => {
      let late: Promise<unknown> | undefined
      const error = await failureOf(async () => {
        await newOwner('Fido')
        late = recorder.selectEvents(fido)
      })
      expect(String(error)).toContain('when it was to commit: a read or write of a recorder.')
      await late
      expect(await open.dogs()).toEqual([])
    })

    it('for what an array of operations leaves out', async () => {
      const { db } = open
      const error = await failureOf(async () => {
        const [first, , third] = [newOwner('Ace'), newOwner('Bob'), newOwner('Cid')]
        if (first !== undefined && third !== undefined) await db.$transaction([first, third])
      })
      expect(String(error)).toMatch(/so it did not run: owner\.create \(at [^,]*\)\. Await it/)
    })

    it('of a nested part alone, for what was left over in it', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        await newOwner('Fido')
        const part = datastore.transaction(
          async () => {
            await newOwner('Rex')
            void newOwner('Ace')
          },
          { propagation: 'nested' },
        )
        await expect(part).rejects.toThrow('made in a nested part of the transaction and not awaited before its commit')
      })
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('for the failure that came first, where there was one', async () => {
      const undo = new Error('undo')
      const error = await failureOf(async () => {
        void newOwner('Fido')
        throw undo
      })
      expect(error).toBe(undo)
    })
  })

  describe('a commit does not mind', () => {
    const committed = async (work: () => Promise<unknown>, dogs: readonly string[]): Promise<void> => {
      expect(await failureOf(work)).toBeUndefined()
      expect(await open.dogs()).toEqual(dogs)
    }

    it('calls that are awaited together, or later, or by then', async () => {
      await committed(async () => {
        const later = newOwner('Ace')
        await Promise.all([newOwner('Bob'), newOwner('Cid').then(() => newOwner('Dan'))])
        await later.then(() => undefined)
        expect(await Promise.allSettled([open.db.owner.count(), later])).toHaveLength(2)
      }, ['Ace', 'Bob', 'Cid', 'Dan'])
    })

    it('raw queries, and calls on the transaction client', async () => {
      const { datastore, db } = open
      await committed(async () => {
        const { client } = datastore.currentTransaction
        await client.owner.create(owner('Fido'))
        await Promise.all([db.$queryRaw`SELECT 1`, client.$executeRaw`UPDATE toys SET name = ${'x'} WHERE 1 = 0`])
      }, ['Fido'])
    })

    it('relations that are reached from a call', async () => {
      await committed(async () => {
        await newOwner('Fido')
        const found = open.db.owner.findUnique({ where: { dog: 'Fido' } })
        expect(await found.toys()).toEqual([])
      }, ['Fido'])
    })

    it('calls that an extension wraps, and those that it makes itself', async () => {
      const extended = open.db.$extends({
        query: {
          owner: {
            async create({ args, query }) {
              expect(await open.db.owner.count()).toBe(0)
              return await query(args)
            },
          },
        },
      })
      await committed(async () => await extended.owner.create(owner('Fido')), ['Fido'])
    })

    it('arrays of operations, also one that fails before all of them have run', async () => {
      const { db } = open
      await committed(async () => {
        const operations = [newOwner('Ace')]
        for (const dog of ['Bob', 'Cid']) if (dog === 'Bob') operations.push(newOwner(dog))
        await db.$transaction(operations)
        const failing = db.$transaction([newOwner('Ace'), newOwner('Dan'), newOwner('Eve')])
        await expect(failing).rejects.toMatchObject({ code: 'P2002' })
        await db.$transaction([])
      }, ['Ace', 'Bob'])
    })

    it('calls that Prisma sends together with those of other transactions', async () => {
      const { datastore, db } = open
      await committed(async () => {
        await newOwner('Fido')
        const find = async () => await db.owner.findUnique({ where: { dog: 'Fido' } })
        const outside = datastore.transaction(find, { propagation: 'notSupported' })
        const others = [1, 2, 3].map(() => datastore.transaction(find, { propagation: 'nested' }))
        expect(await Promise.all([find(), outside, find(), ...others])).toHaveLength(6)
      }, ['Fido'])
    })

    it('work outside of it that nobody awaits', async () => {
      const { datastore, db } = open
      const isOver = newGate()
      let background: Promise<unknown> | undefined
      await committed(async () => {
        const read = async (): Promise<number> => {
          await isOver.opened
          return await db.owner.count()
        }
        background = datastore.transaction(read, { propagation: 'notSupported' })
        await newOwner('Fido')
      }, ['Fido'])
      isOver.open()
      expect(await background).toBe(1)
    })

    it('parts that have failed, whatever they have left over', async () => {
      const { datastore } = open
      await committed(async () => {
        await newOwner('Fido')
        const part = datastore.transaction(
          async () => {
            void newOwner('Ace')
            throw new Error('no')
          },
          { propagation: 'nested' },
        )
        await expect(part).rejects.toThrow('no')
      }, ['Fido'])
    })

    it('a nested part in which it is asked for: it waits for that', async () => {
      const { datastore } = open
      const managed = datastore.begin()
      let committing: Promise<void> | undefined
      await managed.run(() =>
        datastore.transaction(
          async () => {
            await newOwner('Ace')
            committing = managed.commit()
            await newOwner('Bob')
          },
          { propagation: 'nested' },
        ),
      )
      await committing
      expect(await open.dogs()).toEqual(['Ace', 'Bob'])
    })
  })

  it('a statement of a client that does not join is refused, with the transaction that it passes by', async () => {
    const error = await failureOf(async () => {
      await newOwner('Fido')
      await open.base.owner.count()
    }, 'GET /owners')
    expect(String(error)).toContain('does not join the transaction "GET /owners"')
    expect(String(error)).toMatch(
      /SELECT COUNT.* \(at (async )?.*escapes\.test\.ts:\d+:\d+\) — use datastore\.client/is,
    )
    expect(await open.dogs()).toEqual([])
  })

  it('the label of a transaction is asked for by messages only', async () => {
    let asked = 0
    const label = (): string => {
      asked += 1
      return 'POST /dogs'
    }
    await open.datastore.transaction(async () => await newOwner('Fido'), { label })
    expect(asked).toBe(0)
  })

  describe('after the end', () => {
    const ended = async (late: () => Promise<void>): Promise<void> => {
      const { datastore } = open
      let running: Promise<void> | undefined
      await datastore.transaction(
        async (tx) => {
          await newOwner('Fido')
          const isOver = new Promise((resolve) => tx.afterCommit(() => void setImmediate(resolve)))
          running = isOver.then(late)
          running.catch(() => undefined)
        },
        { label: () => 'POST /dogs' },
      )
      await running
    }

    it('db is refused, with the call, its place and what to do', async () => {
      await ended(async () => {
        const error: unknown = await newOwner('Rex').then(undefined, (reason: unknown) => reason)
        expect(error).toBeInstanceOf(TransactionClosedError)
        expect(error).toMatchObject({ message: expect.stringMatching(/^owner\.create .*was called after /) })
        expect(error).toMatchObject({ message: expect.stringContaining('the transaction "POST /dogs" had ended') })
        expect(error).toMatchObject({ message: expect.stringContaining('propagation "requiresNew"') })
        expect(error).toMatchObject({ stack: expect.stringMatching(/at newOwner .*escapes\.test\.ts/) })
      })
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('recorders, hooks, and transactions that would join or be a part are refused', async () => {
      const { datastore } = open
      await ended(async () => {
        const tx = datastore.currentTransaction
        await expect(recorder.appendEvents([storedEvent(fido, 1)])).rejects.toBeInstanceOf(TransactionClosedError)
        expect(() => tx.afterCommit(() => undefined)).toThrow(TransactionClosedError)
        for (const propagation of ['required', 'nested', 'mandatory', 'supports', 'never'] as const) {
          const joining = datastore.transaction(async () => await newOwner('Rex'), { propagation })
          await expect(joining).rejects.toBeInstanceOf(TransactionClosedError)
        }
        await expect(open.db.$transaction([newOwner('Rex')])).rejects.toBeInstanceOf(TransactionClosedError)
      })
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('a new transaction stores, and so does work outside of any', async () => {
      const { datastore } = open
      await ended(async () => {
        await datastore.transaction(async () => await newOwner('Ace'), { propagation: 'requiresNew' })
        await datastore.transaction(async () => await newOwner('Bob'), { propagation: 'notSupported' })
      })
      expect(await open.dogs()).toEqual(['Ace', 'Bob', 'Fido'])
    })

    it('functions given to afterCommit can use db', async () => {
      let found: number | undefined
      await open.datastore.transaction(async (tx) => {
        await newOwner('Fido')
        tx.afterCommit(async () => {
          await newOwner('Rex')
          found = await open.db.owner.count()
        })
      })
      expect(found).toBe(2)
    })
  })
})

describe.each(oneOfEach)('on $name, where they are warned about', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind, { onEscape: 'warn' })
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const newOwner = (dog: string) => open.db.owner.create({ data: { name: 'Ann', dog } })

  it('the transaction commits, with what was running, and the same warning comes once', async () => {
    const late: Array<Promise<unknown>> = []
    const warnings = await warningsOf('ES_ESCAPE', async () => {
      for (const dog of ['Ace', 'Bob', 'Cid']) {
        await open.datastore.transaction(
          async () => {
            await newOwner(dog)
            late.push(newOwner(`late ${dog}`).then(() => undefined))
          },
          { label: 'POST /dogs' },
        )
        await open.datastore.transaction(
          async () => {
            await newOwner(`second ${dog}`)
            void newOwner('never')
          },
          { label: 'PUT /dogs' },
        )
      }
    })
    await Promise.all(late)
    expect(warnings).toHaveLength(2)
    expect(warnings[0]).toContain('still running in the transaction "POST /dogs" when it was to commit: owner.create.')
    expect(warnings[1]).toContain(
      'made in the transaction "PUT /dogs" and not awaited before its commit, so it did not run: owner.create.',
    )
    const dogs = ['Ace', 'Bob', 'Cid'].flatMap((dog) => [dog, `late ${dog}`, `second ${dog}`])
    expect(await open.dogs()).toEqual(dogs.sort())
  })
})

describe.each(oneOfEach)('on $name, where they are not looked for', (kind) => {
  it('the transaction commits, and nothing is said', async () => {
    const open = await openDatabase(kind, { onEscape: 'off' })
    const newOwner = (dog: string) => open.db.owner.create({ data: { name: 'Ann', dog } })
    let late: Promise<unknown> | undefined
    const warnings = await warningsOf('ES_ESCAPE', async () => {
      await open.datastore.transaction(async () => {
        void newOwner('Ace')
        late = newOwner('Bob').then(() => undefined)
      })
    })
    await late
    expect(warnings).toEqual([])
    expect(await open.dogs()).toEqual(['Bob'])
    await open.close()
  })
})
