/** What is published of transactions, in which order, and with what in it. */
import { channel, subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type ConflictTrace,
  EscapeError,
  type FlushTrace,
  PrismaApplicationRecorder,
  type RetryTrace,
  type RollbackTrace,
  TransactionTimeoutError,
  type TransactionTrace,
} from '../../src/index.js'
import { storedEvent, storedEvents } from '../../src/testing/test-framework.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

type AnyTrace = TransactionTrace & FlushTrace & RollbackTrace & RetryTrace & ConflictTrace

interface Seen {
  readonly event: string
  readonly state: string | undefined
  readonly message: AnyTrace
}

const statements = ['begin', 'flush', 'commit', 'rollback']
const plain = ['open', 'end', 'retry', 'conflict', 'escape']

/** Everything that is published from now on; `end` unsubscribes. */
function listenToAll(): { readonly seen: Seen[]; readonly names: () => string[]; end(): void } {
  const seen: Seen[] = []
  const ends: Array<() => void> = []
  const add = (name: string, event: string): void => {
    // What the type of each channel's messages is, the assertions show.
    const listener = (message: unknown): void => {
      const trace = message as AnyTrace
      seen.push({ event, state: trace.transaction?.state, message: trace })
    }
    subscribe(name, listener)
    ends.push(() => unsubscribe(name, listener))
  }
  for (const name of plain) add(`eventsourcing-prisma:transaction.${name}`, name)
  for (const name of statements) {
    for (const part of ['start', 'error', 'asyncEnd']) {
      add(`tracing:eventsourcing-prisma:transaction.${name}:${part}`, `${name} ${part}`)
    }
  }
  return {
    seen,
    names: () => seen.map(({ event }) => event),
    end: () => ends.forEach((end) => end()),
  }
}

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let all: ReturnType<typeof listenToAll>
  beforeAll(async () => {
    open = await openDatabase(database, { name: 'kennel' })
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  beforeEach(async () => {
    await open.clear()
    all = listenToAll()
  })
  afterEach(() => {
    all.end()
  })
  afterAll(async () => {
    await open.close()
  })

  const newOwner = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }

  it('tells a commit from its beginning to its end, with one object for the transaction', async () => {
    await open.datastore.transaction(async () => {
      expect(all.names()).toEqual(['open'])
      await newOwner('Fido')
      await recorder.appendEvents(storedEvents(crypto.randomUUID(), 3))
    })
    expect(all.seen.map(({ event, state }) => [event, state])).toEqual([
      ['open', 'idle'],
      ['begin start', 'idle'],
      ['begin asyncEnd', 'open'],
      ['flush start', 'open'],
      ['flush asyncEnd', 'open'],
      ['commit start', 'committing'],
      ['commit asyncEnd', 'committed'],
      ['end', 'committed'],
    ])
    expect(new Set(all.seen.map(({ message }) => message.transaction)).size).toBe(1)
    expect(all.seen[0]?.message.transaction).toMatchObject({ datastore: 'kennel', attempt: 1, readOnly: false })
    expect(all.seen[3]?.message).toMatchObject({ events: 3, tables: 1 })
    // Nothing of ours is given away with a message.
    expect(all.seen[2]?.message).not.toHaveProperty('result', expect.anything())
  })

  it('tells why a transaction was rolled back', async () => {
    const reason = new Error('no')
    const failing = open.datastore.transaction(async () => {
      await newOwner('Fido')
      throw reason
    })
    await expect(failing).rejects.toBe(reason)
    expect(all.names()).toEqual(['open', 'begin start', 'begin asyncEnd', 'rollback start', 'rollback asyncEnd', 'end'])
    expect(all.seen[3]?.message.reason).toBe(reason)
    expect(all.seen.at(-1)?.state).toBe('rolledBack')
  })

  it('tells the deadline as a reason', async () => {
    const late = open.datastore.transaction(
      async (tx) => {
        await newOwner('Fido')
        await once(tx.signal, 'abort')
      },
      { deadlineMs: 500 },
    )
    await expect(late).rejects.toBeInstanceOf(TransactionTimeoutError)
    const rollback = all.seen.find(({ event }) => event === 'rollback start')
    expect(rollback?.message.reason).toBeInstanceOf(TransactionTimeoutError)
  })

  it('tells only that it was there of a transaction that sends nothing', async () => {
    await open.datastore.transaction(async () => {})
    await open.datastore.begin().rollback()
    expect(all.names()).toEqual(['open', 'end', 'open', 'end'])
  })

  it('tells a conflict, the flush that fails by it, and the attempt that follows', async () => {
    const id = crypto.randomUUID()
    await recorder.insertEvents([storedEvent(id, 1)])
    all.seen.length = 0
    await open.datastore.transaction(
      async (tx) => {
        await recorder.appendEvents([storedEvent(tx.attempt === 1 ? id : crypto.randomUUID(), 1)])
      },
      { retries: 1, begin: 'first-statement' },
    )
    const names = all.names()
    expect(names.slice(0, names.indexOf('open', 1))).toEqual([
      'open',
      'flush start',
      'begin start',
      'begin asyncEnd',
      'flush error',
      'flush asyncEnd',
      'conflict',
      'rollback start',
      'rollback asyncEnd',
      'end',
      'retry',
    ])
    const of = (event: string): AnyTrace | undefined => all.seen.find((one) => one.event === event)?.message
    expect(of('conflict')).toEqual({
      datastore: 'kennel',
      transaction: of('open')?.transaction,
      originatorId: id,
      expectedVersion: 0,
      actualVersion: 1,
    })
    expect(of('flush error')?.error).toMatchObject({ code: 'ES_CONCURRENCY' })
    expect(of('retry')).toMatchObject({ transaction: { attempt: 1 }, error: { code: 'ES_CONCURRENCY' } })
    expect(all.seen.at(-1)?.message.transaction).toMatchObject({ attempt: 2, state: 'committed' })
  })

  it.skipIf(database.provider !== 'postgresql')('tells a flush that commits by itself, and no BEGIN', async () => {
    await open.datastore.transaction(async () => await recorder.appendEvents(storedEvents(crypto.randomUUID(), 2)))
    expect(all.names()).toEqual(['open', 'flush start', 'flush asyncEnd', 'end'])
    expect(all.seen.at(-1)?.state).toBe('committed')
  })

  it('tells a conflict outside of any transaction', async () => {
    const id = crypto.randomUUID()
    await recorder.insertEvents([storedEvent(id, 1)])
    all.seen.length = 0
    await expect(recorder.insertEvents([storedEvent(id, 1)])).rejects.toMatchObject({ code: 'ES_CONCURRENCY' })
    const conflicts = all.seen.filter(({ event }) => event === 'conflict')
    expect(conflicts.map(({ message }) => message)).toMatchObject([{ originatorId: id, transaction: undefined }])
  })

  it('tells what passes by a transaction, and what the transaction is for', async () => {
    const label = (): string => 'count the owners'
    const escaping = open.datastore.transaction(async () => await open.base.owner.count(), { label })
    await expect(escaping).rejects.toThrow('does not join')
    const [escape, ...others] = all.seen.filter(({ event }) => event === 'escape')
    expect(others).toEqual([])
    expect(escape?.message).toMatchObject({
      transaction: { label: 'count the owners' },
      message: expect.stringContaining('does not join the transaction "count the owners"'),
    })
  })

  it('tells a call that is not awaited', async () => {
    const forgetful = open.datastore.transaction(async () => {
      await newOwner('Fido')
      void open.db.owner.count()
    })
    await expect(forgetful).rejects.toBeInstanceOf(EscapeError)
    const names = all.names()
    expect(names.slice(names.indexOf('escape'))).toEqual(['escape', 'rollback start', 'rollback asyncEnd', 'end'])
    expect(open.datastore.stats.escapes).toBeGreaterThan(0)
  })

  it('goes on when a listener throws', async () => {
    const failures: unknown[] = []
    const others = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.once('uncaughtException', (error) => failures.push(error))
    const listener = (): void => {
      throw new Error('listener')
    }
    const ended = channel('eventsourcing-prisma:transaction.end')
    ended.subscribe(listener)
    try {
      await open.datastore.transaction(async () => await newOwner('Fido'))
      await delay(5)
    } finally {
      ended.unsubscribe(listener)
      for (const other of others) process.on('uncaughtException', other)
    }
    expect(failures).toMatchObject([{ message: 'listener' }])
    expect(await open.dogs()).toEqual(['Fido'])
  })
})

it('has nobody to tell when nobody listens', () => {
  for (const name of plain) expect(channel(`eventsourcing-prisma:transaction.${name}`).hasSubscribers).toBe(false)
  for (const name of statements) {
    expect(tracingChannel(`eventsourcing-prisma:transaction.${name}`).hasSubscribers).toBe(false)
  }
})
