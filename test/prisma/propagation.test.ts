/** Transactions inside of transactions, point by point: what is joined, what can fail alone, whose hooks run and when. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  ConcurrencyError,
  NAMESPACE_URL,
  NoTransactionError,
  NotSupportedError,
  PrismaApplicationRecorder,
  ProgrammingError,
  RollbackOnlyError,
  type Transaction,
  uuid5,
} from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warningsOf } from './warnings.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')
const undo = new Error('undo')
const conflict = (): Error => new ConcurrencyError('again', { originatorId: fido, expectedVersion: 1 })

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
  const nested = async <T>(work: (tx: Transaction<TestClient>) => Promise<T>): Promise<T> =>
    await open.datastore.transaction(work, { propagation: 'nested' })

  describe('without a current transaction', () => {
    it.each(['required', 'nested', 'requiresNew'] as const)('%s opens one', async (propagation) => {
      const { datastore } = open
      const work = async (tx: Transaction<TestClient>): Promise<void> => {
        expect(datastore.currentTransaction).toBe(tx)
        await newOwner('Fido')
        expect(await open.dogs()).toEqual([])
        throw undo
      }
      await expect(datastore.transaction(work, { propagation })).rejects.toBe(undo)
      expect(await open.dogs()).toEqual([])
    })

    it.each(['supports', 'notSupported', 'never'] as const)('%s runs without', async (propagation) => {
      const { datastore } = open
      const seen: string[] = []
      const work = async (tx: Transaction<TestClient>): Promise<void> => {
        expect(datastore.tryCurrentTransaction).toBeUndefined()
        await tx.client.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        tx.afterCommit(() => seen.push('at once'))
        tx.afterRollback(() => seen.push('never'))
        await tx.flush()
        expect(() => tx.rollbackOnly()).toThrow(NoTransactionError)
        throw undo
      }
      await expect(datastore.transaction(work, { propagation })).rejects.toBe(undo)
      expect(await open.dogs()).toEqual(['Fido'])
      expect(seen).toEqual(['at once'])
    })

    it('a hook that fails becomes a warning, as it does after a commit', async () => {
      const seen: string[] = []
      const warnings = await warningsOf('ES_HOOK_FAILED', async () => {
        const work = async (tx: Transaction<TestClient>): Promise<void> => {
          tx.afterCommit(async () => await Promise.reject(new Error('it rejects')))
          tx.afterCommit(() => {
            throw new Error('it throws')
          })
          seen.push('goes on')
        }
        await open.datastore.transaction(work, { propagation: 'supports' })
      })
      expect(seen).toEqual(['goes on'])
      expect(warnings.join()).toMatch(/it throws.*it rejects/s)
      expect(warnings).toHaveLength(2)
    })
  })

  describe('a nested part', () => {
    it('can have parts itself, each of which fails alone', async () => {
      await open.datastore.transaction(async () => {
        await newOwner('1')
        await nested(async () => {
          await newOwner('2')
          const inner = nested(async () => {
            await newOwner('3')
            await nested(async () => await newOwner('4'))
            throw undo
          })
          await expect(inner).rejects.toBe(undo)
          await nested(async () => await newOwner('5'))
        })
        const failing = nested(async () => {
          await nested(async () => await newOwner('6'))
          throw undo
        })
        await expect(failing).rejects.toBe(undo)
      })
      expect(await open.dogs()).toEqual(['1', '2', '5'])
    })

    it('is undone alone by rollbackOnly, where what joins it undoes it, too', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        await newOwner('Fido')
        const part = nested(async () => {
          await newOwner('Rex')
          await datastore.transaction(async (joined) => joined.rollbackOnly())
        })
        await expect(part).rejects.toBeInstanceOf(RollbackOnlyError)
      })
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('is all that a swallowed failure can cost', async () => {
      await open.datastore.transaction(async () => {
        await newOwner('Fido')
        const part = nested(async () => {
          await newOwner('Rex')
          await expect(newOwner('Fido')).rejects.toMatchObject({ code: 'P2002' })
        })
        // PostgreSQL undoes what came before in the part; others do not.
        if (database.provider === 'postgresql') await expect(part).rejects.toBeInstanceOf(RollbackOnlyError)
        else await part
      })
      expect(await open.dogs()).toEqual(database.provider === 'postgresql' ? ['Fido'] : ['Fido', 'Rex'])
    })

    it('cannot have another isolation level, or write in a read-only transaction', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        const part = datastore.transaction(async () => {}, { propagation: 'nested', isolationLevel: 'Serializable' })
        await expect(part).rejects.toBeInstanceOf(ProgrammingError)
      })
      const readOnly = datastore.transaction(
        async () => await datastore.transaction(async () => {}, { propagation: 'nested', readOnly: false }),
        { readOnly: true },
      )
      await expect(readOnly).rejects.toBeInstanceOf(ProgrammingError)
    })

    it('has its own autoflush, and leaves that of the transaction as it was', async () => {
      const recorder = new PrismaApplicationRecorder(open.datastore)
      await open.datastore.transaction(async (tx) => {
        await open.datastore.transaction(
          async (part) => {
            expect([part.autoflush, tx.autoflush]).toEqual([false, true])
            await recorder.appendEvents([storedEvent(fido, 1)])
            expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
            expect(part.state).toBe('open')
          },
          { propagation: 'nested', autoflush: false },
        )
        expect(tx.autoflush).toBe(true)
      })
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
    })
  })

  describe('what belongs to the outermost', () => {
    it('is the deadline', async () => {
      const { datastore } = open
      await datastore.transaction(async (tx) => {
        await newOwner('Fido')
        for (const propagation of ['required', 'nested'] as const) {
          const work = async (inside: Transaction<TestClient>): Promise<void> => {
            expect(inside.signal).toBe(tx.signal)
            await new Promise((resolve) => setTimeout(resolve, 30))
            await newOwner(propagation)
          }
          await datastore.transaction(work, { propagation, deadlineMs: 1 })
        }
      })
      expect(await open.dogs()).toEqual(['Fido', 'nested', 'required'])
    })

    it('is the retry, of all there is', async () => {
      const { datastore } = open
      const seen: string[] = []
      await datastore.transaction(
        async (tx) => {
          seen.push(`outer ${tx.attempt}`)
          for (const propagation of ['required', 'nested'] as const) {
            const work = async (inside: Transaction<TestClient>): Promise<void> => {
              seen.push(`${propagation} ${inside.attempt}`)
              await newOwner(propagation)
              if (propagation === 'nested' && inside.attempt < 2) throw conflict()
            }
            await datastore.transaction(work, { propagation, retries: 5 })
          }
        },
        { retries: 1 },
      )
      expect(seen).toEqual(['outer 1', 'required 1', 'nested 1', 'outer 2', 'required 2', 'nested 2'])
      expect(await open.dogs()).toEqual(['nested', 'required'])
    })

    it('is how often: a failure that stays is the last one, and one that cannot pass is the first', async () => {
      const { datastore } = open
      const attempts: number[] = []
      const work = async (error: () => Error): Promise<void> => {
        const failing = datastore.transaction(
          async (tx) => {
            attempts.push(tx.attempt)
            throw error()
          },
          { retries: 2 },
        )
        await failing
      }
      await expect(work(conflict)).rejects.toBeInstanceOf(ConcurrencyError)
      await expect(work(() => undo)).rejects.toBe(undo)
      expect(attempts).toEqual([1, 2, 3, 1])
    })
  })

  describe('hooks', () => {
    it('of parts that are kept run after the commit of all, in the order in which they were given', async () => {
      const seen: string[] = []
      await open.datastore.transaction(async (tx) => {
        tx.afterCommit(() => seen.push('1'))
        await nested(async (part) => {
          part.afterCommit(() => seen.push('2'))
          await nested(async (inner) => inner.afterCommit(() => seen.push('3')))
          await newOwner('Fido')
        })
        tx.afterCommit(() => seen.push('4'))
        expect(seen).toEqual([])
      })
      expect(seen).toEqual(['1', '2', '3', '4'])
    })

    it('of a part that is undone run then, and those of the parts in it; for a commit they are gone', async () => {
      const seen: string[] = []
      await open.datastore.transaction(async (tx) => {
        tx.afterRollback(() => seen.push('never'))
        const part = nested(async (inside) => {
          inside.afterCommit(() => seen.push('never'))
          inside.afterRollback(() => seen.push('part'))
          await nested(async (inner) => {
            inner.afterCommit(() => seen.push('never'))
            inner.afterRollback(() => seen.push('part in it'))
          })
          throw undo
        })
        await expect(part).rejects.toBe(undo)
        expect(seen).toEqual(['part', 'part in it'])
      })
      expect(seen).toEqual(['part', 'part in it'])
    })

    it('of parts that were kept run with a rollback of all', async () => {
      const seen: string[] = []
      const transaction = open.datastore.transaction(async (tx) => {
        tx.afterRollback(() => seen.push('all'))
        await nested(async (part) => {
          part.afterRollback(() => seen.push('part'))
          await newOwner('Fido')
        })
        throw undo
      })
      await expect(transaction).rejects.toBe(undo)
      expect(seen).toEqual(['all', 'part'])
    })

    it('of a failed attempt run once, and are not carried into the next', async () => {
      const seen: string[] = []
      const work = async (tx: Transaction<TestClient>): Promise<void> => {
        tx.afterCommit(() => seen.push(`committed ${tx.attempt}`))
        tx.afterRollback(() => seen.push(`rolled back ${tx.attempt}`))
        await newOwner('Fido')
        if (tx.attempt < 2) throw conflict()
      }
      await open.datastore.transaction(work, { retries: 1 })
      expect(seen).toEqual(['rolled back 1', 'committed 2'])
    })
  })

  it('noAutoflush is over when its function is, also when that fails', async () => {
    await open.datastore.transaction(async (tx) => {
      expect(await tx.noAutoflush(async () => tx.autoflush)).toBe(false)
      expect(tx.autoflush).toBe(true)
      await expect(tx.noAutoflush(async () => await Promise.reject(undo))).rejects.toBe(undo)
      expect(tx.autoflush).toBe(true)
      tx.autoflush = false
      await tx.noAutoflush(async () => {})
      expect(tx.autoflush).toBe(false)
    })
  })

  it.skipIf(database.provider === 'sqlite')(
    'requiresNew has its own end, hooks and retries (SQLite has one writer, and refuses it)',
    async () => {
      const { datastore } = open
      const recorder = new PrismaApplicationRecorder(datastore)
      const seen: string[] = []
      const transaction = datastore.transaction(async (outer) => {
        outer.afterRollback(() => seen.push('outer rolled back'))
        await newOwner('Fido')
        await datastore.transaction(
          async (inner) => {
            expect(inner).not.toBe(outer)
            inner.afterCommit(() => seen.push('inner committed'))
            await recorder.appendEvents([storedEvent(fido, inner.attempt)])
            await inner.flush()
            if (inner.attempt < 2) throw conflict()
          },
          { propagation: 'requiresNew', retries: 1 },
        )
        seen.push('outer goes on')
        throw undo
      })
      await expect(transaction).rejects.toBe(undo)
      expect(seen).toEqual(['inner committed', 'outer goes on', 'outer rolled back'])
      expect(await open.dogs()).toEqual([])
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([2])
    },
  )

  it.skipIf(database.provider === 'sqlite')(
    'a second transaction that would wait for the current one to save events is refused at once',
    async () => {
      const { datastore } = open
      const recorder = new PrismaApplicationRecorder(datastore)
      const save = async (version: number): Promise<void> =>
        await recorder.appendEvents([storedEvent(uuid5(NAMESPACE_URL, `/dogs/${version}`), 1)])
      const propagation = 'requiresNew'
      await datastore.transaction(async () => {
        await save(1)
        // Nothing of the current one has its place in the log yet.
        await datastore.transaction(async () => await save(2), { propagation })
        await recorder.selectEvents(uuid5(NAMESPACE_URL, '/dogs/1'))
        for (const [version, other] of [
          [3, propagation],
          [4, 'notSupported'],
        ] as const) {
          const refused = datastore.transaction(async () => await save(version), { propagation: other })
          if (database.provider === 'postgresql') await refused
          else await expect(refused).rejects.toThrow(NotSupportedError)
        }
        datastore.currentTransaction.afterCommit(async () => await save(5))
      })
      const stored = await recorder.selectNotifications(1n, 10)
      expect(stored.map(({ originatorId }) => originatorId)).toEqual(
        (database.provider === 'postgresql' ? [2, 1, 3, 4, 5] : [2, 1, 5]).map((n) =>
          uuid5(NAMESPACE_URL, `/dogs/${n}`),
        ),
      )
    },
  )
})
