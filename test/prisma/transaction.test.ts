/** The transaction itself: laziness, the buffer, conflicts, propagation, the deadline, the hooks and its one end. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  ConcurrencyError,
  NAMESPACE_URL,
  NoTransactionError,
  NotSupportedError,
  PrismaApplicationRecorder,
  ProgrammingError,
  RollbackOnlyError,
  TransactionClosedError,
  TransactionTimeoutError,
  uuid5,
} from '../../src/index.js'
import { storedEvent, versionsOf } from '../contracts/stored-events.js'
import { databases } from '../support/databases.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')
const rex = uuid5(NAMESPACE_URL, '/dogs/rex')

describe.each(databases)('on $name', (database) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(database)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
  })

  const storedEvents = async (): Promise<number> =>
    Number((await open.database.query('SELECT count(*) AS n FROM stored_events'))[0]?.['n'])
  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }

  it('stores rows and events together, and shows them inside before that [251]', async () => {
    await open.datastore.transaction(async (tx) => {
      await newOwner('Fido')
      await recorder.appendEvents([storedEvent(fido, 1)])
      await recorder.transaction(async (joined) => {
        expect(joined).toBe(tx)
        await recorder.appendEvents([storedEvent(rex, 1)])
      })
      expect(await tx.client.owner.count()).toBe(1)
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
      expect(versionsOf(await recorder.selectEvents(rex))).toEqual([1])
      expect([await open.dogs(), await storedEvents()]).toEqual([[], 0])
    })
    expect([await open.dogs(), await storedEvents()]).toEqual([['Fido'], 2])
  })

  describe('the buffer', () => {
    it('keeps saved events until the end, with autoflush only as long as nobody reads them', async () => {
      await open.datastore.transaction(async (tx) => {
        await recorder.appendEvents([storedEvent(fido, 1)])
        expect(tx.state).toBe('idle')
        expect(await recorder.selectEvents(rex)).toEqual([])
        expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
        expect(await storedEvents()).toBe(0)
      })
      expect(await storedEvents()).toBe(1)
    })

    it('shows the log its own events', async () => {
      await open.datastore.transaction(async () => {
        await recorder.appendEvents([storedEvent(fido, 1), storedEvent(fido, 2)])
        expect(await recorder.selectNotifications(null, 10)).toHaveLength(2)
        expect(await recorder.maxNotificationId()).not.toBeNull()
      })
    })

    it('merges pending events into reads without autoflush, and writes nothing before the end', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      await open.datastore.transaction(
        async (tx) => {
          await recorder.appendEvents([storedEvent(fido, 2), storedEvent(fido, 3)], {
            predecessors: [{ originatorId: fido, originatorVersion: 1 }],
          })
          expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1, 2, 3])
          expect(versionsOf(await recorder.selectEvents(fido, { desc: true, limit: 2 }))).toEqual([3, 2])
          expect(versionsOf(await recorder.selectEvents(fido, { gt: 1, lte: 2 }))).toEqual([2])
          expect(await recorder.selectNotifications(null, 10)).toHaveLength(1)
          await tx.flush()
          expect(await recorder.selectNotifications(null, 10)).toHaveLength(3)
        },
        { autoflush: false },
      )
      expect(await storedEvents()).toBe(3)
    })

    it('tells the notification ids at the flush', async () => {
      const recorded: bigint[][] = []
      const onRecorded = (ids: readonly bigint[]): void => void recorded.push([...ids])
      await open.datastore.transaction(async (tx) => {
        await recorder.appendEvents([storedEvent(fido, 1)], { onRecorded })
        await recorder.appendEvents([storedEvent(rex, 1), storedEvent(rex, 2)], { onRecorded })
        expect(recorded).toEqual([])
        await tx.flush()
        expect(recorded.map((ids) => ids.length)).toEqual([1, 2])
      })
      const log = await recorder.selectNotifications(null, 10)
      expect(recorded.flat()).toEqual(log.map(({ id }) => id))
    })
  })

  describe('a conflict', () => {
    it('tells the stream and the versions, leaves nothing of its flush, and lets the transaction go on', async () => {
      await recorder.insertEvents([storedEvent(fido, 1), storedEvent(fido, 2)])
      await open.datastore.transaction(async (tx) => {
        await newOwner('Fido')
        await recorder.appendEvents([storedEvent(rex, 1)])
        await recorder.appendEvents([storedEvent(fido, 2)], {
          predecessors: [{ originatorId: fido, originatorVersion: 1 }],
        })
        const error: unknown = await tx.flush().catch((reason: unknown) => reason)
        expect(error).toBeInstanceOf(ConcurrencyError)
        expect(error).toMatchObject({
          originatorId: fido,
          expectedVersion: 1,
          actualVersion: 2,
          code: 'ES_CONCURRENCY',
        })
        await newOwner('Rex')
        await recorder.appendEvents([storedEvent(fido, 3)], {
          predecessors: [{ originatorId: fido, originatorVersion: 2 }],
        })
      })
      expect(await open.dogs()).toEqual(['Fido', 'Rex'])
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1, 2, 3])
      expect(await recorder.selectEvents(rex)).toEqual([])
    })

    it('at the end rolls everything back', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const transaction = open.datastore.transaction(async () => {
        await newOwner('Fido')
        await recorder.appendEvents([storedEvent(fido, 1)])
      })
      await expect(transaction).rejects.toBeInstanceOf(ConcurrencyError)
      expect(await open.dogs()).toEqual([])
      expect(await storedEvents()).toBe(1)
    })

    it('is an append that would leave a gap behind what is pending itself', async () => {
      const gap = open.datastore.transaction(async () => {
        await recorder.appendEvents([storedEvent(fido, 1)])
        const predecessors = [{ originatorId: fido, originatorVersion: 2 }]
        await recorder.appendEvents([storedEvent(fido, 3)], { predecessors })
      })
      await expect(gap).rejects.toMatchObject({ code: 'ES_CONCURRENCY', expectedVersion: 2, actualVersion: undefined })
      expect(await storedEvents()).toBe(0)
    })

    it('is an append that would leave a gap', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const transaction = open.datastore.transaction(async () => {
        await recorder.appendEvents([storedEvent(fido, 3)], {
          predecessors: [{ originatorId: fido, originatorVersion: 2 }],
        })
      })
      await expect(transaction).rejects.toMatchObject({ expectedVersion: 2, actualVersion: 1 })
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
    })

    it('is found by one of two transactions that built on the same version', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const predecessors = [{ originatorId: fido, originatorVersion: 1 }]
      const results = await Promise.allSettled(
        [1, 2].map(() =>
          open.datastore.transaction(async () => {
            await recorder.selectEvents(fido)
            await delay(20)
            await recorder.appendEvents([storedEvent(fido, 2)], { predecessors })
          }),
        ),
      )
      const failed = results.filter((result) => result.status === 'rejected')
      expect(failed).toHaveLength(1)
      expect(failed[0]?.reason).toBeInstanceOf(ConcurrencyError)
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1, 2])
    })

    it('is retried where that is asked for [102]', async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      const attempts: number[] = []
      const append = async (): Promise<void> => {
        await open.datastore.transaction(
          async (tx) => {
            attempts.push(tx.attempt)
            const last = (await recorder.selectEvents(fido, { desc: true, limit: 1 }))[0]?.originatorVersion ?? 0
            await delay(5)
            await recorder.appendEvents([storedEvent(fido, last + 1)], {
              predecessors: [{ originatorId: fido, originatorVersion: last }],
            })
          },
          { retries: 20 },
        )
      }
      await Promise.all(Array.from({ length: 5 }, append))
      expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1, 2, 3, 4, 5, 6])
      expect(attempts.length).toBeGreaterThanOrEqual(5)
    })
  })

  describe('its end', () => {
    it('rolls back what was written when the work throws, and passes the error on [252]', async () => {
      const error = new Error('no')
      const transaction = open.datastore.transaction(async (tx) => {
        await newOwner('Fido')
        await recorder.appendEvents([storedEvent(fido, 1)])
        await tx.flush()
        throw error
      })
      await expect(transaction).rejects.toBe(error)
      expect(await open.dogs()).toEqual([])
      expect(await storedEvents()).toBe(0)
    })

    it('commits a failed statement that was caught, or says that it cannot', async () => {
      const transaction = open.datastore.transaction(async () => {
        await newOwner('Fido')
        await expect(newOwner('Fido')).rejects.toMatchObject({ code: 'P2002' })
      })
      if (database.provider === 'postgresql') {
        await expect(transaction).rejects.toBeInstanceOf(RollbackOnlyError)
        expect(await open.dogs()).toEqual([])
      } else {
        await transaction
        expect(await open.dogs()).toEqual(['Fido'])
      }
    })

    it('is a rollback without a failure after rollbackOnly that keeps the answer', async () => {
      const { datastore, db } = open
      const calls: string[] = []
      const result = await datastore.transaction(async (tx) => {
        tx.afterCommit(() => calls.push('committed'))
        tx.afterRollback(() => calls.push('rolled back'))
        await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        tx.rollbackOnly({ answer: 'keep' })
        return 'the answer'
      })
      expect(result).toBe('the answer')
      expect(calls).toEqual(['rolled back'])
      expect(await open.dogs()).toEqual([])
    })

    it('undoes a part alone after rollbackOnly that keeps its answer', async () => {
      const { datastore, db } = open
      await datastore.transaction(async () => {
        await db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        const inner = async (tx: { rollbackOnly(options: { answer: 'keep' }): void }): Promise<string> => {
          await db.owner.create({ data: { name: 'Ann', dog: 'Rex' } })
          tx.rollbackOnly({ answer: 'keep' })
          return 'undone'
        }
        expect(await datastore.transaction(inner, { propagation: 'nested' })).toBe('undone')
      })
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('is a rollback after rollbackOnly', async () => {
      const transaction = open.datastore.transaction(async (tx) => {
        await newOwner('Fido')
        tx.rollbackOnly()
      })
      await expect(transaction).rejects.toBeInstanceOf(RollbackOnlyError)
      expect(await open.dogs()).toEqual([])
    })

    it('leaves no way to use it', async () => {
      const tx = await open.datastore.transaction(async (inside) => {
        await newOwner('Fido')
        return inside
      })
      expect(tx.state).toBe('committed')
      await expect(tx.flush()).rejects.toBeInstanceOf(TransactionClosedError)
      await expect(tx.client.owner.count()).rejects.toBeInstanceOf(TransactionClosedError)
      expect(() => tx.afterCommit(() => {})).toThrow(TransactionClosedError)
      expect(() => tx.rollbackOnly()).toThrow(TransactionClosedError)
      expect(() => (tx.autoflush = false)).toThrow(TransactionClosedError)
      await expect(tx.noAutoflush(async () => {})).rejects.toBeInstanceOf(TransactionClosedError)
    })

    it.each(['propagation', 'isolationLevel'])(
      'refuses a name for %s that there is not, and runs nothing',
      async (option) => {
        let hasRun = false
        const work = async (): Promise<void> => {
          hasRun = true
        }
        const transaction = open.datastore.transaction(work, { [option]: 'SERIALIZABLE' })
        await expect(transaction).rejects.toThrow(`Could not begin a transaction with ${option} 'SERIALIZABLE'`)
        expect(hasRun).toBe(false)
        expect(() => open.datastore.begin({ [option]: 'SERIALIZABLE' })).toThrow(ProgrammingError)
      },
    )

    it('runs the hooks in order after COMMIT, outside of the transaction, and none can fail it', async () => {
      const seen: string[] = []
      const warnings: Error[] = []
      const onWarning = (warning: Error): void => void warnings.push(warning)
      process.on('warning', onWarning)
      await open.datastore.transaction(async (tx) => {
        tx.afterRollback(() => seen.push('never'))
        tx.afterCommit(async () => {
          await delay(5)
          seen.push(
            `sees ${(await open.dogs()).join()} in ${open.datastore.tryCurrentTransaction?.state ?? 'no transaction'}`,
          )
        })
        tx.afterCommit(() => {
          throw new Error('a hook fails')
        })
        tx.afterCommit(() => seen.push('last'))
        await newOwner('Fido')
      })
      await delay(5)
      process.off('warning', onWarning)
      expect(seen).toEqual(['sees Fido in no transaction', 'last'])
      expect(warnings.map(({ message }) => message).join()).toContain('a hook fails')
    })

    it('runs the other hooks after a rollback', async () => {
      const seen: string[] = []
      await open.datastore
        .transaction(async (tx) => {
          tx.afterCommit(() => seen.push('never'))
          tx.afterRollback(() => seen.push('rolled back'))
          await newOwner('Fido')
          throw new Error('no')
        })
        .catch(() => {})
      expect(seen).toEqual(['rolled back'])
    })
  })

  describe('the deadline', () => {
    it('aborts the signal, rolls back and rejects, although the work goes on', async () => {
      let reason: unknown
      let late: unknown
      let finish: () => void = () => {}
      const finished = new Promise<void>((resolve) => {
        finish = resolve
      })
      const transaction = open.datastore.transaction(
        async (tx) => {
          tx.signal.addEventListener('abort', () => {
            reason = tx.signal.reason
          })
          await newOwner('Fido')
          await delay(800)
          late = await newOwner('Rex').catch((error: unknown) => error)
          finish()
        },
        { deadlineMs: 500 },
      )
      await expect(transaction).rejects.toBeInstanceOf(TransactionTimeoutError)
      expect(reason).toBeInstanceOf(TransactionTimeoutError)
      expect(await open.dogs()).toEqual([])
      await finished
      expect(late).toBeInstanceOf(TransactionTimeoutError)
      expect(await open.dogs()).toEqual([])
      await newOwner('Ace')
      expect(await open.dogs()).toEqual(['Ace'])
    })

    it('counts from the first use of the database', async () => {
      await open.datastore.transaction(
        async () => {
          await delay(1_100)
          await newOwner('Fido')
        },
        { deadlineMs: 1_000 },
      )
      expect(await open.dogs()).toEqual(['Fido'])
    })

    it('must be a number of milliseconds that a timer can take', async () => {
      const { datastore } = open
      await expect(datastore.transaction(async () => {}, { deadlineMs: 0 })).rejects.toBeInstanceOf(ProgrammingError)
      await expect(datastore.transaction(async () => {}, { deadlineMs: 2 ** 31 })).rejects.toBeInstanceOf(
        ProgrammingError,
      )
    })
  })

  describe('propagation', () => {
    it('required joins, mandatory needs, never refuses, supports takes what there is [253]', async () => {
      const { datastore } = open
      await expect(datastore.transaction(async () => {}, { propagation: 'mandatory' })).rejects.toBeInstanceOf(
        NoTransactionError,
      )
      await datastore.transaction(async (outer) => {
        for (const propagation of ['required', 'mandatory', 'supports'] as const) {
          await datastore.transaction(async (tx) => expect(tx).toBe(outer), { propagation })
        }
        await expect(datastore.transaction(async () => {}, { propagation: 'never' })).rejects.toBeInstanceOf(
          ProgrammingError,
        )
      })
      await datastore.transaction(async () => expect(datastore.tryCurrentTransaction).toBeUndefined(), {
        propagation: 'supports',
      })
      expect(() => datastore.currentTransaction).toThrow(NoTransactionError)
    })

    it('an error in a joined part undoes the whole', async () => {
      const { datastore } = open
      const transaction = datastore.transaction(async () => {
        await newOwner('Fido')
        await datastore.transaction(async () => {
          await newOwner('Rex')
          throw new Error('no')
        })
      })
      await expect(transaction).rejects.toThrow('no')
      expect(await open.dogs()).toEqual([])
    })

    it('nested fails alone, with its rows, events and hooks', async () => {
      const { datastore } = open
      const seen: string[] = []
      await datastore.transaction(async () => {
        await newOwner('Fido')
        await recorder.appendEvents([storedEvent(fido, 1)])
        const failing = datastore.transaction(
          async (tx) => {
            tx.afterCommit(() => seen.push('failed part'))
            await newOwner('Rex')
            await recorder.appendEvents([storedEvent(fido, 2)], {
              predecessors: [{ originatorId: fido, originatorVersion: 1 }],
            })
            expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1, 2])
            throw new Error('no')
          },
          { propagation: 'nested' },
        )
        await expect(failing).rejects.toThrow('no')
        await datastore.transaction(
          async (tx) => {
            tx.afterCommit(() => seen.push('good part'))
            await newOwner('Ace')
            await recorder.appendEvents([storedEvent(rex, 1)])
          },
          { propagation: 'nested' },
        )
        expect(versionsOf(await recorder.selectEvents(fido))).toEqual([1])
      })
      expect(await open.dogs()).toEqual(['Ace', 'Fido'])
      expect(await storedEvents()).toBe(2)
      expect(seen).toEqual(['good part'])
    })

    it('nested survives a failed statement inside it', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        await newOwner('Fido')
        await expect(
          datastore.transaction(async () => await newOwner('Fido'), { propagation: 'nested' }),
        ).rejects.toMatchObject({
          code: 'P2002',
        })
        await newOwner('Rex')
      })
      expect(await open.dogs()).toEqual(['Fido', 'Rex'])
    })

    it('nested parts started side by side take turns, and what is outside of them waits', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        const parts = Array.from({ length: 6 }, async (_, n) => {
          await datastore.transaction(
            async () => {
              await newOwner(`a${n}`)
              await delay(5)
              await newOwner(`b${n}`)
              if (n % 2 === 1) throw new Error('odd')
            },
            { propagation: 'nested' },
          )
        })
        const results = await Promise.allSettled([...parts, newOwner('outside')])
        expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(3)
      })
      expect(await open.dogs()).toEqual(['a0', 'a2', 'a4', 'b0', 'b2', 'b4', 'outside'])
    })

    it('requiresNew is independent, or refused where it would wait for ever', async () => {
      const { datastore } = open
      const transaction = datastore.transaction(async () => {
        await newOwner('Fido')
        await datastore.transaction(async () => await newOwner('Rex'), { propagation: 'requiresNew' })
        throw new Error('no')
      })
      if (database.provider === 'sqlite') {
        await expect(transaction).rejects.toBeInstanceOf(NotSupportedError)
        expect(await open.dogs()).toEqual([])
      } else {
        await expect(transaction).rejects.toThrow('no')
        expect(await open.dogs()).toEqual(['Rex'])
      }
    })

    it('notSupported steps outside', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        await recorder.appendEvents([storedEvent(fido, 1)])
        await datastore.transaction(
          async () => {
            expect(datastore.tryCurrentTransaction).toBeUndefined()
            expect(await recorder.selectEvents(fido)).toEqual([])
          },
          { propagation: 'notSupported' },
        )
      })
    })

    it('cannot join with another isolation level, or write in a read-only transaction [254]', async () => {
      const { datastore } = open
      await datastore.transaction(async () => {
        await expect(datastore.transaction(async () => {}, { isolationLevel: 'Serializable' })).rejects.toBeInstanceOf(
          ProgrammingError,
        )
      })
      await datastore.transaction(
        async () => {
          await expect(datastore.transaction(async () => {}, { readOnly: false })).rejects.toBeInstanceOf(
            ProgrammingError,
          )
        },
        { readOnly: true },
      )
    })
  })

  describe('options', () => {
    it('readOnly sees one snapshot and refuses to write', async () => {
      const { datastore, db } = open
      await newOwner('Fido')
      await datastore.transaction(
        async () => {
          expect(await db.owner.count()).toBe(1)
          await open.database.query("INSERT INTO owners (name, dog) VALUES ('Bea', 'Rex')")
          expect(await db.owner.count()).toBe(1)
        },
        { readOnly: true },
      )
      expect(await db.owner.count()).toBe(2)
      await expect(datastore.transaction(async () => await newOwner('Ace'), { readOnly: true })).rejects.toThrow()
      expect(await open.dogs()).toEqual(['Fido', 'Rex'])
    })

    it('isolationLevel reaches the database, or is refused', async () => {
      const { datastore } = open
      await datastore.transaction(async () => await newOwner('Fido'), { isolationLevel: 'Serializable' })
      const repeatable = datastore.transaction(async () => await newOwner('Rex'), { isolationLevel: 'RepeatableRead' })
      if (database.provider === 'sqlite') await expect(repeatable).rejects.toBeInstanceOf(NotSupportedError)
      else await repeatable
      expect(await open.dogs()).toEqual(database.provider === 'sqlite' ? ['Fido'] : ['Fido', 'Rex'])
    })

    it('close waits for open transactions and refuses new ones', async () => {
      const other = await openDatabase(database)
      const order: string[] = []
      const transaction = other.datastore.transaction(async () => {
        await other.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
        await delay(50)
        order.push('transaction')
      })
      await delay(10)
      const closed = other.datastore.close().then(() => order.push('closed'))
      await expect(other.datastore.transaction(async () => {})).rejects.toBeInstanceOf(ProgrammingError)
      await Promise.all([transaction, closed])
      expect(order).toEqual(['transaction', 'closed'])
      expect(await other.dogs()).toEqual(['Fido'])
      await other.database.drop()
    })
  })
})
