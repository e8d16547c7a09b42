/** How a datastore closes: what it waits for, what it refuses, and what it ends when the time is over. */
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DatastoreClosedError, PrismaApplicationRecorder, PrismaDatastore, ProgrammingError } from '../../src/index.js'
import { storedEvent } from '../../src/testing/test-framework.js'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  let warnings: Error[]
  const keepWarning = (warning: Error): void => void warnings.push(warning)
  beforeEach(async () => {
    warnings = []
    process.on('warning', keepWarning)
    open = await openDatabase(database, { name: 'kennel' })
  })
  afterEach(async () => {
    await open.close()
    process.off('warning', keepWarning)
  })

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  /** A transaction that has stored a dog and waits for the gate. */
  const waitingTransaction = async (dog: string, opened: Promise<void>): Promise<{ readonly end: Promise<void> }> => {
    const stored = newGate()
    const end = open.datastore.transaction(async () => {
      await newOwner(dog)
      stored.open()
      await opened
    })
    // Whoever awaits it later.
    end.catch(() => undefined)
    await stored.opened
    return { end }
  }

  it('refuses new transactions at once, and waits for the open ones', async () => {
    const gate = newGate()
    const { end } = await waitingTransaction('Fido', gate.opened)
    const order: string[] = []
    const closed = open.datastore.close().then(() => order.push('closed'))
    await expect(open.datastore.transaction(async () => {})).rejects.toBeInstanceOf(DatastoreClosedError)
    expect(() => open.datastore.begin()).toThrow(DatastoreClosedError)
    gate.open()
    await Promise.all([end.then(() => order.push('ended')), closed])
    expect(order).toEqual(['ended', 'closed'])
    expect(await open.dogs()).toEqual(['Fido'])
    expect(warnings).toEqual([])
  })

  it('waits for the hooks, too', async () => {
    const seen: string[] = []
    const { datastore } = open
    const transaction = datastore.transaction(async (tx) => {
      await newOwner('Fido')
      tx.afterCommit(async () => {
        await delay(50)
        await newOwner('Rex')
        seen.push('hook')
      })
    })
    await delay(5)
    await datastore.close()
    seen.push('closed')
    await transaction
    expect(seen).toEqual(['hook', 'closed'])
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
  })

  it('lets an open transaction begin what it needs to come to its end', async () => {
    const gate = newGate()
    const stored = newGate()
    const transaction = open.datastore.transaction(async () => {
      await newOwner('Fido')
      stored.open()
      await gate.opened
      // Which SQLite, with one writer, allows for reading only.
      const options = { propagation: 'requiresNew', readOnly: true } as const
      return await open.datastore.transaction(async () => await open.db.owner.count(), options)
    })
    await stored.opened
    const closed = open.datastore.close()
    gate.open()
    await Promise.all([transaction, closed])
    expect(await transaction).toBe(0)
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('rolls back at the limit, aborts the signal, and says so', async () => {
    let reason: unknown
    const stored = newGate()
    const transaction = open.datastore.transaction(async (tx) => {
      await newOwner('Fido')
      stored.open()
      await once(tx.signal, 'abort')
      reason = tx.signal.reason
      // The work goes on for longer than anybody waits.
      await delay(60_000, undefined, { ref: false })
    })
    const ended = expect(transaction).rejects.toBeInstanceOf(DatastoreClosedError)
    await stored.opened
    await open.datastore.close({ timeoutMs: 50 })
    await ended
    expect(reason).toBeInstanceOf(DatastoreClosedError)
    expect(await open.dogs()).toEqual([])
    await delay(1)
    expect(warnings).toMatchObject([{ code: 'ES_CLOSED_WHILE_OPEN', message: expect.stringContaining('kennel') }])
    expect(open.datastore.stats).toMatchObject({ begun: 1, rolledBack: 1, open: 0, waiting: 0, timeouts: 0 })
  })

  it('ends transactions that have not sent anything, and those that wait for a connection', async () => {
    const gate = newGate()
    const idle = open.datastore.transaction(async () => await gate.opened)
    const waiting = Array.from({ length: 16 }, (_, n) =>
      open.datastore.transaction(async () => {
        await newOwner(`dog ${n}`)
        await gate.opened
      }),
    )
    const ended = Promise.allSettled([idle, ...waiting])
    await delay(100)
    await open.datastore.close({ timeoutMs: 10 })
    const outcomes = await ended
    expect(outcomes.map(({ status }) => status)).toEqual(outcomes.map(() => 'rejected'))
    expect(await open.dogs()).toEqual([])
    expect(open.datastore.stats).toMatchObject({ open: 0, waiting: 0, committed: 0 })
  })

  it('stops waiting when its signal aborts', async () => {
    const { end } = await waitingTransaction('Fido', new Promise(() => undefined))
    const controller = new AbortController()
    const closed = open.datastore.close({ timeoutMs: Infinity, signal: controller.signal })
    controller.abort()
    await closed
    await expect(end).rejects.toBeInstanceOf(DatastoreClosedError)
    await expect(open.datastore.close({ signal: AbortSignal.abort() })).resolves.toBeUndefined()
  })

  it('closes once, and at the limit that comes first', async () => {
    const { end } = await waitingTransaction('Fido', new Promise(() => undefined))
    const patient = open.datastore.close({ timeoutMs: Infinity })
    await Promise.all([open.datastore.close({ timeoutMs: 0 }), patient])
    await expect(end).rejects.toBeInstanceOf(DatastoreClosedError)
    await open.datastore.close()
    await expect(open.db.owner.count()).rejects.toThrow()
  })

  it('does not interrupt a commit that is under way', async () => {
    const gate = newGate()
    const { end } = await waitingTransaction('Fido', gate.opened)
    gate.open()
    await Promise.resolve()
    await Promise.allSettled([end, open.datastore.close({ timeoutMs: 0 })])
    // Either way, but what was told is what is stored.
    const outcome = await end.then(
      () => 'committed',
      () => 'rolled back',
    )
    expect(await open.dogs()).toEqual(outcome === 'committed' ? ['Fido'] : [])
  })

  it('tells of each transaction what is stored, whenever it is closed', async () => {
    for (let run = 0; run < 5; run += 1) {
      await open.clear()
      const datastore = new PrismaDatastore<TestClient>({
        adapter: open.database.adapter(),
        client: (adapter) => open.database.newClient(adapter) as TestClient,
      })
      const told = Array.from({ length: 40 }, async (_, n) => {
        await delay(n * 3)
        await datastore.transaction(async () => {
          await datastore.client.owner.create({ data: { name: 'Ann', dog: `dog ${n}` } })
          await delay(Math.random() * 20)
        })
        return `dog ${n}`
      })
      const settled = Promise.allSettled(told)
      await delay(30 + Math.random() * 90)
      await datastore.close({ timeoutMs: Math.random() * 20 })
      const good = (await settled).flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
      expect(await open.dogs()).toEqual(good.sort())
      const { open: left, waiting, begun, committed, rolledBack } = datastore.stats
      expect({ left, waiting, committed, begun }).toEqual({
        left: 0,
        waiting: 0,
        committed: good.length,
        begun: committed + rolledBack,
      })
    }
  })

  it('is refused inside of a transaction, which would wait for itself', async () => {
    await open.datastore.transaction(async () => {
      await newOwner('Fido')
      await expect(open.datastore.close()).rejects.toBeInstanceOf(ProgrammingError)
    })
    await open.datastore.transaction(async () => await newOwner('Rex'))
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
  })

  it('refuses a limit that no timer can measure, and stays open', async () => {
    for (const timeoutMs of [-1, Number.NaN, 2 ** 31]) {
      await expect(open.datastore.close({ timeoutMs })).rejects.toBeInstanceOf(ProgrammingError)
    }
    await open.datastore.transaction(async () => await newOwner('Rex'))
  })

  it('gives a failed attempt no other one', async () => {
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const id = crypto.randomUUID()
    await recorder.insertEvents([storedEvent(id, 1)])
    const gate = newGate()
    let attempts = 0
    const transaction = open.datastore.transaction(
      async () => {
        attempts += 1
        await gate.opened
        await recorder.appendEvents([storedEvent(id, 1)])
      },
      { retries: 5 },
    )
    const ended = expect(transaction).rejects.toMatchObject({ code: 'ES_CONCURRENCY' })
    const closed = open.datastore.close()
    gate.open()
    await Promise.all([ended, closed])
    expect(attempts).toBe(1)
  })

  it('closes at the end of a block by `await using`', async () => {
    // As the compiler makes it of `await using datastore = …`.
    await open.datastore[Symbol.asyncDispose]()
    await expect(open.datastore.transaction(async () => {})).rejects.toBeInstanceOf(DatastoreClosedError)
  })
})
