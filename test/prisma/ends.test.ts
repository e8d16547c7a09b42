/** The end of a transaction is one: whoever asks for it, at the same time or while something waits for its turn. */
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { EscapeError, type ManagedTransaction, TransactionTimeoutError } from '../../src/index.js'
import { databases } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const gone = new DOMException('The client has gone.', 'AbortError')

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  const nested = async (dog: string): Promise<void> =>
    await open.datastore.transaction(async () => await newOwner(dog), { propagation: 'nested' })
  const hooksOf = ({ transaction }: ManagedTransaction<TestClient>): string[] => {
    const seen: string[] = []
    transaction.afterCommit(() => seen.push('committed'))
    transaction.afterRollback(() => seen.push('rolled back'))
    return seen
  }

  it('an aborted signal ends nothing: parts that wait for each other go on', async () => {
    const managed = open.datastore.begin()
    await managed.run(async () => {
      managed.abort(gone)
      await Promise.all([nested('one'), nested('two'), newOwner('three')])
    })
    await managed.commit()
    expect(await open.dogs()).toEqual(['one', 'three', 'two'])
    expect(managed.transaction.signal.reason).toBe(gone)
  })

  it('an aborted signal ends nothing: who waits for a connection gets it', async () => {
    const gate = newGate()
    const holders = Array.from({ length: 12 }, async (_, n) => {
      await open.datastore.transaction(async () => {
        await newOwner(`holder ${n}`)
        await gate.opened
      })
    })
    const managed = open.datastore.begin()
    managed.abort(gone)
    const work = managed.run(async () => await newOwner('Fido'))
    gate.open()
    await Promise.all([work, ...holders])
    await managed.commit()
    expect(await open.dogs()).toContain('Fido')
  })

  it('a commit that finds work after the signal was aborted has rolled back when it rejects', async () => {
    const managed = open.datastore.begin()
    const seen = hooksOf(managed)
    let late: Promise<void> | undefined
    await managed.run(async () => {
      await newOwner('Fido')
      managed.abort(gone)
      late = newOwner('late')
      await Promise.resolve()
    })
    await expect(managed.commit()).rejects.toBeInstanceOf(EscapeError)
    expect(managed.transaction.state).toBe('rolledBack')
    expect(seen).toEqual(['rolled back'])
    await late
    expect(await open.dogs()).toEqual([])
  })

  it('a commit that waits for a part until the deadline has rolled back when it rejects', async () => {
    const managed = open.datastore.begin({ deadlineMs: 300 })
    const seen = hooksOf(managed)
    const gate = newGate()
    const part = managed.run(
      async () =>
        await open.datastore.transaction(
          async () => {
            await newOwner('Fido')
            await gate.opened
          },
          { propagation: 'nested' },
        ),
    )
    part.catch(() => {})
    await expect(managed.commit()).rejects.toBeInstanceOf(TransactionTimeoutError)
    expect(managed.transaction.state).toBe('rolledBack')
    expect(seen).toEqual(['rolled back'])
    gate.open()
    await expect(part).rejects.toBeInstanceOf(TransactionTimeoutError)
    expect(await open.dogs()).toEqual([])
  })

  it('a rollback that comes during the commit waits for that, and changes nothing', async () => {
    const { stats: before } = open.datastore
    const managed = open.datastore.begin()
    const seen = hooksOf(managed)
    await managed.run(async () => await newOwner('Fido'))
    const commit = managed.commit()
    // Past what comes before COMMIT.
    while (managed.transaction.state === 'open') await new Promise(setImmediate)
    await Promise.all([managed.rollback(), managed.rollback()])
    expect(managed.transaction.state).toBe('committed')
    await commit
    expect(seen).toEqual(['committed'])
    const { committed, rolledBack, open: opened } = open.datastore.stats
    expect([committed, rolledBack, opened]).toEqual([before.committed + 1, before.rolledBack, 0])
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('a label that fails is left out of the message of the deadline', async () => {
    const label = (): string => {
      throw new Error('no label')
    }
    const late = open.datastore.transaction(
      async (tx) => {
        await newOwner('Fido')
        await once(tx.signal, 'abort')
      },
      { deadlineMs: 300, label },
    )
    await expect(late).rejects.toThrow('the transaction was still open 300 ms after its first use of the database')
    expect(await open.dogs()).toEqual([])
  })

  it('a second commit is refused, and changes nothing', async () => {
    const managed = open.datastore.begin()
    const seen = hooksOf(managed)
    await managed.run(async () => await newOwner('Fido'))
    const ends = await Promise.allSettled([managed.commit(), managed.commit()])
    expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(seen).toEqual(['committed'])
    expect(await open.dogs()).toEqual(['Fido'])
  })
})
