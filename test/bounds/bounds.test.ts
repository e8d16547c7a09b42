/** Large states, large saves, long streams and long logs: they work, or are refused with nothing stored; memory stays bounded. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  Application,
  ConcurrencyError,
  DataError,
  defineDecider,
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  type StoredEvent,
  uuid5,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach, type TestDatabaseKind } from '../support/databases.js'

const mebibyte = 1024 * 1024
const originatorId = (name: number | string): string => uuid5(NAMESPACE_URL, `/bounds/${name}`)

function event(id: string, originatorVersion: number, state: Uint8Array = new Uint8Array()): StoredEvent {
  return { originatorId: id, originatorVersion, topic: 'Count.Counted', state }
}

/** Bytes that no compression makes small. */
function noise(bytes: number): Uint8Array {
  const state = new Uint8Array(bytes)
  for (let at = 0, seed = 1; at < bytes; at += 1) {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    state[at] = seed >>> 16
  }
  return state
}

const count = defineDecider({
  name: 'Count',
  initialState: () => 0,
  decide: {
    count: (_total: number, times: number) =>
      Array.from({ length: times }, () => ({ type: 'Counted' as const, data: {} })),
  },
  evolve: { Counted: (total: number, _data: object) => total + 1 },
})

/** One statement that fills a log with rows of two topics, the second one rare. */
function fillLog(kind: TestDatabaseKind, rows: number): string[] {
  const columns = 'originator_id, originator_version, topic, state, recorded_at'
  const topic = `CASE WHEN n % 100000 = 0 THEN 'Rare' ELSE 'Usual' END`
  switch (kind.provider) {
    case 'postgresql':
      return [
        `INSERT INTO stored_events (${columns}) SELECT '00000000-0000-0000-0000-000000000001', n, ${topic}, '{}'::bytea, now() ` +
          `FROM generate_series(1, ${rows}) AS n ORDER BY n`,
      ]
    case 'sqlite':
      return [
        `INSERT INTO stored_events (${columns}) WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ${rows}) ` +
          `SELECT '00000000-0000-0000-0000-000000000001', n, ${topic}, x'7b7d', '2026-01-01T00:00:00.000+00:00' FROM s`,
      ]
    case 'mysql':
      return [
        `INSERT INTO stored_events (id, ${columns}) SELECT n, '00000000-0000-0000-0000-000000000001', n, ${topic}, '{}', utc_timestamp(3) ` +
          `FROM (SELECT seq AS n FROM seq_1_to_${rows}) AS s`,
        `UPDATE notification_positions SET notification_id = ${rows} WHERE log = 'stored_events'`,
      ]
  }
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind, { deadlineMs: 60_000 })
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => {
    await open.close()
  })

  it('stores a state of 16 MiB, or refuses it and stores nothing', { timeout: 120_000 }, async () => {
    const [small, large] = [event(originatorId('large'), 1), event(originatorId('large'), 2, noise(16 * mebibyte))]
    let refused: unknown
    try {
      await recorder.insertEvents([small, large])
    } catch (error) {
      refused = error
    }
    const stored = await recorder.selectEvents(originatorId('large'))
    if (refused === undefined) {
      expect(stored.map(({ state }) => state.byteLength)).toEqual([0, 16 * mebibyte])
      expect(Buffer.compare(stored[1]?.state ?? new Uint8Array(), large.state)).toBe(0)
    } else {
      expect(refused).toBeInstanceOf(DataError)
      expect((refused as Error).message).toMatch(/max_allowed_packet/)
      expect(stored).toEqual([])
    }
    // The connection is as good as before.
    await recorder.insertEvents([event(originatorId('after large'), 1)])
  })

  it('stores 100 MiB of states in one save, in parts and all or nothing', { timeout: 120_000 }, async () => {
    const state = noise(4 * mebibyte)
    const events = Array.from({ length: 25 }, (_, n) => event(originatorId('much'), n + 1, state))
    const taken = event(originatorId('taken'), 1)
    await recorder.insertEvents([taken])
    await expect(recorder.insertEvents([...events, taken])).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await recorder.selectEvents(originatorId('much'))).toEqual([])
    const ids = await recorder.insertEvents(events)
    expect(ids).toHaveLength(25)
    expect(ids).toEqual(ids.toSorted((a, b) => (a < b ? -1 : 1)))
    const [last] = await recorder.selectEvents(originatorId('much'), { desc: true, limit: 1 })
    expect(last?.state.byteLength).toBe(4 * mebibyte)
  })

  it('saves events of 12,000 streams in one transaction, each after its predecessor', {
    timeout: 120_000,
  }, async () => {
    const streams = Array.from({ length: 12_000 }, (_, n) => originatorId(n))
    await recorder.insertEvents(streams.map((id) => event(id, 1)))
    const predecessors = streams.map((id) => ({ originatorId: id, originatorVersion: 1 }))
    await open.datastore.transaction(async () => {
      await recorder.appendEvents(
        streams.map((id) => event(id, 2)),
        { predecessors },
      )
    })
    expect(await recorder.selectEvents(originatorId(11_999))).toHaveLength(2)
    const stranger = { originatorId: originatorId('stranger'), originatorVersion: 1 }
    const gap = recorder.appendEvents([...streams.map((id) => event(id, 3)), event(stranger.originatorId, 2)], {
      predecessors: [...predecessors.map((position) => ({ ...position, originatorVersion: 2 })), stranger],
    })
    await expect(gap).rejects.toMatchObject({ originatorId: stranger.originatorId, actualVersion: undefined })
    expect(await recorder.selectEvents(originatorId(0))).toHaveLength(2)
  })

  it('rebuilds a stream of 100,000 events, a page at a time', async () => {
    const application = new Application({ name: 'TrainingSchool', datastore: open.datastore })
    const id = originatorId('long')
    await application.execute(count, id, 'count', 2)
    const [, second] = await application.recorder.selectEvents(id)
    if (second === undefined) throw new Error('two events were saved')
    for (let from = 3; from <= 100_000; from += 10_000) {
      const length = Math.min(10_000, 100_001 - from)
      const more = Array.from({ length }, (_, n) => ({ ...second, originatorVersion: from + n }))
      await application.recorder.insertEvents(more)
    }
    const reads = vi.spyOn(application.recorder, 'selectEvents')
    const { state, version } = await application.repository.get(count, id)
    expect([state, version]).toEqual([100_000, 100_000])
    const pages = await Promise.all(reads.mock.results.map(async ({ value }) => (await value).length))
    expect(Math.max(...pages)).toBe(2_000)
    expect((await application.repository.get(count, id, { version: 70_001 })).state).toBe(70_001)
  }, 120_000)

  it('reads a log of 1,000,000 events from anywhere', async () => {
    await open.clear()
    for (const sql of fillLog(kind, 1_000_000)) await open.database.query(sql)
    const [first] = await recorder.selectNotifications(null, 1)
    const start = first?.id ?? 0n
    const last = await recorder.maxNotificationId()
    expect((last ?? 0n) - start).toBe(999_999n)
    expect(await recorder.selectNotifications(start + 500_000n, 10)).toHaveLength(10)
    const rare: bigint[] = []
    for await (const { id } of recorder.subscribe({ topics: ['Rare'] })) {
      rare.push(id)
      if (rare.length === 10) break
    }
    expect(rare.map((id) => id - start + 1n)).toEqual(Array.from({ length: 10 }, (_, n) => BigInt(n + 1) * 100_000n))
    let read = 0
    for await (const { id } of recorder.subscribe({ gt: start + 899_999n })) {
      expect(id).toBe(start + 900_000n + BigInt(read))
      read += 1
      if (read === 100_000) break
    }
    expect(await recorder.insertEvents([event(originatorId('next'), 1)])).toEqual([(last ?? 0n) + 1n])
  }, 120_000)
})
