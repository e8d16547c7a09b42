/** A nested part that is undone while something in it still runs: nothing of that is stored by the transaction around it. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ConcurrencyError, PrismaApplicationRecorder, TransactionClosedError } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const undo = new Error('undo')

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const nested = async <T>(work: () => Promise<T>): Promise<T> =>
    await open.datastore.transaction(work, { propagation: 'nested' })
  /** A transaction with a part that fails, and then another one that is kept. */
  const aroundFailing = async (part: () => Promise<void>, after: () => Promise<void>): Promise<void> =>
    await open.datastore.transaction(async () => {
      await newOwner('before')
      await expect(nested(part)).rejects.toBe(undo)
      await after()
      await nested(async () => await newOwner('after'))
    })

  it('refuses what a part inside of it still sends', async () => {
    const [begun, undone] = [newGate(), newGate()]
    let inner: Promise<void> | undefined
    const part = async (): Promise<void> => {
      inner = nested(async () => {
        await newOwner('inside')
        begun.open()
        await undone.opened
        await newOwner('late')
      })
      inner.catch(() => {})
      await begun.opened
      throw undo
    }
    await aroundFailing(part, async () => {
      undone.open()
      await expect(inner).rejects.toBeInstanceOf(TransactionClosedError)
    })
    expect(await open.dogs()).toEqual(['after', 'before'])
  })

  it('goes on in a part whose first statement has failed, since events of the transaction around it could not be written', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const state = new TextEncoder().encode('{}')
    const gap = { originatorId: randomUUID(), originatorVersion: 3, topic: 'Gap', state }
    const predecessors = [{ originatorId: gap.originatorId, originatorVersion: 2 }]
    await open.datastore.transaction(async () => {
      await recorder.appendEvents([gap], { predecessors })
      await nested(async () => {
        await expect(newOwner('first')).rejects.toBeInstanceOf(ConcurrencyError)
        await newOwner('second')
      })
    })
    expect(await open.dogs()).toEqual(['second'])
  })

  it('refuses the end of a part inside of it, whose hooks are those of a rollback', async () => {
    const [begun, undone] = [newGate(), newGate()]
    const seen: string[] = []
    let inner: Promise<void> | undefined
    const part = async (): Promise<void> => {
      inner = nested(async () => {
        open.datastore.currentTransaction.afterCommit(() => seen.push('committed'))
        open.datastore.currentTransaction.afterRollback(() => seen.push('rolled back'))
        await newOwner('inside')
        begun.open()
        await undone.opened
      })
      inner.catch(() => {})
      await begun.opened
      throw undo
    }
    await aroundFailing(part, async () => {
      undone.open()
      await expect(inner).rejects.toBeInstanceOf(TransactionClosedError)
    })
    expect(await open.dogs()).toEqual(['after', 'before'])
    expect(seen).toEqual(['rolled back'])
  })

  it('undoes the parts that run side by side with the one that fails it', async () => {
    const part = async (): Promise<void> => {
      const failed = nested(async () => {
        await newOwner('failed')
        throw undo
      })
      const others = ['one', 'two'].map(
        async (dog) =>
          await nested(async () => {
            await newOwner(`${dog} 1`)
            await newOwner(`${dog} 2`)
          }),
      )
      await Promise.all([failed, ...others])
    }
    await aroundFailing(part, async () => await delay(20))
    expect(await open.dogs()).toEqual(['after', 'before'])
  })

  it('undoes a call in it that nobody has awaited', async () => {
    let call: Promise<void> | undefined
    const part = async (): Promise<void> => {
      call = newOwner('late')
      call.catch(() => {})
      // It has begun.
      await Promise.resolve()
      throw undo
    }
    await aroundFailing(part, async () => void (await Promise.allSettled([call])))
    expect(await open.dogs()).toEqual(['after', 'before'])
  })

  it('refuses what a query extension in it still sends', async () => {
    const [begun, undone] = [newGate(), newGate()]
    const twice = open.db.$extends({
      query: {
        owner: {
          async create({ args, query }) {
            const first = await query(args)
            begun.open()
            await undone.opened
            await query({ data: { name: 'Ann', dog: 'late' } })
            return first
          },
        },
      },
    })
    let call: Promise<unknown> | undefined
    const part = async (): Promise<void> => {
      call = twice.owner.create({ data: { name: 'Ann', dog: 'inside' } }).then((owner) => owner)
      call.catch(() => {})
      await begun.opened
      setImmediate(() => undone.open())
      throw undo
    }
    await aroundFailing(part, async () => {
      await expect(call).rejects.toBeInstanceOf(TransactionClosedError)
    })
    expect(await open.dogs()).toEqual(['after', 'before'])
  })
})
