/** Readers of the log that only go on from their last id miss nothing, whatever order transactions end in. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { NAMESPACE_URL, type Notification, PrismaApplicationRecorder, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'

const writers = 8
const transactionsPerWriter = 40
const longestOpenMs = 30
const rollbackShare = 0.1

const undo = new Error('undo')
const seed = Number(process.env['LOG_ORDER_SEED'] ?? Date.now() % 2 ** 31)
const told = `LOG_ORDER_SEED=${seed}`

/** Numbers from 0 up to 1 that a seed determines: a linear congruential generator modulo 2^32. */
function randomNumbers(start: number): () => number {
  let state = BigInt(start)
  return () => {
    state = (state * 1_664_525n + 1_013_904_223n) % 2n ** 32n
    return Number(state) / 2 ** 32
  }
}

describe.each(databasesOf('postgresql', 'mysql'))('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind, { deadlineMs: 20_000 })
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })
  beforeEach(async () => {
    await open.clear()
  })

  const after = async (last: bigint | null): Promise<Notification[]> =>
    await recorder.selectNotifications(last, 100, { inclusiveOfStart: false })

  /** What a reader without protection sees: all ids that are visible now. */
  const plainlyAfter = async (last: bigint): Promise<bigint[]> => {
    const rows = await open.database.query(`SELECT id FROM stored_events WHERE id > ${last} ORDER BY id LIMIT 100`)
    return rows.map((row) => BigInt(String(row['id'])))
  }

  /** @returns the originators whose transactions committed */
  async function write(writer: number): Promise<string[]> {
    const random = randomNumbers(seed + writer)
    const committed: string[] = []
    for (let n = 0; n < transactionsPerWriter; n++) {
      const id = uuid5(NAMESPACE_URL, `/dogs/${writer}/${n}`)
      const [openMs, rollsBack] = [random() * longestOpenMs, random() < rollbackShare]
      const transaction = open.datastore.transaction(async (tx) => {
        await recorder.appendEvents([storedEvent(id, 1), storedEvent(id, 2)])
        await tx.flush()
        await delay(openMs)
        if (rollsBack) throw undo
      })
      if (rollsBack) await expect(transaction, told).rejects.toBe(undo)
      else {
        await transaction
        committed.push(id)
      }
    }
    return committed
  }

  /** Reads on until the writers have ended and there is nothing more. */
  async function readAll<T>(isWriting: () => boolean, readPart: (seen: readonly T[]) => Promise<T[]>): Promise<T[]> {
    const seen: T[] = []
    for (;;) {
      const isLast = !isWriting()
      const part = await readPart(seen)
      seen.push(...part)
      if (isLast && part.length === 0) return seen
      await delay(1)
    }
  }

  it('gives each committed event once, in the order of the ids, beside writers that commit in any order', async () => {
    let isWriting = true
    const written = Promise.all(Array.from({ length: writers }, (_, n) => write(n))).finally(() => {
      isWriting = false
    })
    const [committed, seen, plainlySeen] = await Promise.all([
      written,
      readAll<Notification>(
        () => isWriting,
        (before) => after(before.at(-1)?.id ?? null),
      ),
      readAll<bigint>(
        () => isWriting,
        (before) => plainlyAfter(before.at(-1) ?? 0n),
      ),
    ])
    const ids = seen.map(({ id }) => id)
    expect(
      ids.filter((id, at) => at > 0 && id <= (ids[at - 1] ?? 0n)),
      told,
    ).toEqual([])
    const expected = committed.flat().flatMap((id) => [`${id} 1`, `${id} 2`])
    const got = seen.map(({ originatorId, originatorVersion }) => `${originatorId} ${originatorVersion}`)
    expect(got.toSorted(), told).toEqual(expected.toSorted())
    // Whether the plain reader misses any is chance; what it has seen or missed is in the log of the other.
    expect(ids, told).toEqual(expect.arrayContaining(plainlySeen))
  }, 60_000)
})

describe.each(databasesOf('postgresql', 'mysql'))('on $name, in a transaction', (kind) => {
  it('what others have stored since it began is not missed below its own events', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const [own, other] = ['own', 'other'].map((dog) => uuid5(NAMESPACE_URL, `/dogs/${dog}`)) as [string, string]
    const originators = async (): Promise<string[]> =>
      (await recorder.selectNotifications(null, 10)).map(({ originatorId }) => originatorId)
    await open.datastore.transaction(async () => {
      expect(await originators()).toEqual([])
      const insertOther = async (): Promise<unknown> => await recorder.insertEvents([storedEvent(other, 1)])
      await open.datastore.transaction(insertOther, { propagation: 'notSupported' })
      await recorder.insertEvents([storedEvent(own, 1)])
      expect(await originators()).toEqual([other, own])
    })
    await open.close()
  })
})

describe.each(databasesOf('postgresql'))('on $name, where an id may be visible before a smaller one', (kind) => {
  it('waits for the smaller one, which a plain reader loses', async () => {
    const open = await openDatabase(kind)
    const recorder = new PrismaApplicationRecorder(open.datastore)
    const [slow, quick] = ['slow', 'quick'].map((dog) => uuid5(NAMESPACE_URL, `/dogs/${dog}`)) as [string, string]
    const plainly = async (last: unknown): Promise<unknown[]> =>
      (await open.database.query('SELECT id FROM stored_events WHERE id > $1 ORDER BY id', [last])).map(
        (row) => row['id'],
      )
    const flushed = newGate()
    const mayEnd = newGate()
    const slowWriter = open.datastore.transaction(async (tx) => {
      await recorder.appendEvents([storedEvent(slow, 1)])
      await tx.flush()
      flushed.open()
      await mayEnd.opened
    })
    await flushed.opened
    await recorder.insertEvents([storedEvent(quick, 1)])

    const plainPart = await plainly(0)
    expect(plainPart).toHaveLength(1)
    expect(await recorder.selectNotifications(null, 10)).toEqual([])

    mayEnd.open()
    await slowWriter
    expect(await plainly(plainPart[0])).toEqual([])
    const log = await recorder.selectNotifications(null, 10)
    expect(log.map(({ originatorId }) => originatorId)).toEqual([slow, quick])
    await open.close()
  })
})
