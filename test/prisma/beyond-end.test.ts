/** A subscription whose position the log does not have says so, instead of passing over what is to come. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { IntegrityError, NAMESPACE_URL, PrismaApplicationRecorder, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warnings } from './warnings.js'

const dogId = (n: number): string => uuid5(NAMESPACE_URL, `/dogs/${n}`)

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
    for (let n = 1; n <= 5; n += 1) await recorder.insertEvents([storedEvent(dogId(n), 1)])
  })
  afterAll(async () => {
    await open.close()
  })

  it('warns at once of a position beyond the end, once, or throws', async () => {
    const { seen, stop } = warnings('ES_BEYOND_LOG_END')
    const throwing = recorder.subscribe({ gt: 99n, onBeyondEnd: 'throw' })[Symbol.asyncIterator]()
    const refused = await throwing.next().catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(IntegrityError)
    expect(String(refused)).toMatch(/position 99, and its log ends at 5/)
    const warning = recorder.subscribe({ gt: 99n, topics: ['topic1'] })
    const next = warning[Symbol.asyncIterator]().next()
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 20_000 })
    // Others are not held up by it.
    const others = recorder.subscribe({ gt: 3n })[Symbol.asyncIterator]()
    expect((await others.next()).value?.id).toBe(4n)
    await others.return?.()
    warning.stop()
    await next
    const atEnd = recorder.subscribe({ gt: 5n })
    const nothing = atEnd[Symbol.asyncIterator]().next()
    await delay(100)
    atEnd.stop()
    await nothing
    expect(seen).toHaveLength(1)
    stop()
  })

  it('warns of a log that was emptied under it, and a new subscription reads the new log', async () => {
    const { seen, stop } = warnings('ES_BEYOND_LOG_END')
    const running = recorder.subscribe()
    const read: bigint[] = []
    const reading = (async () => {
      for await (const { id } of running) read.push(id)
    })()
    await vi.waitFor(() => expect(read).toHaveLength(5), { timeout: 20_000 })
    if (kind.provider === 'postgresql') await open.database.query('TRUNCATE stored_events RESTART IDENTITY')
    else await open.database.query('DELETE FROM stored_events')
    if (kind.provider === 'sqlite')
      await open.database.query(`DELETE FROM sqlite_sequence WHERE name = 'stored_events'`)
    if (kind.provider === 'mysql') await open.database.query(`UPDATE notification_positions SET notification_id = 0`)
    await recorder.insertEvents([storedEvent(dogId(10), 1)])
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 10_000 })
    const fresh = recorder.subscribe()[Symbol.asyncIterator]()
    expect((await fresh.next()).value?.id).toBe(1n)
    const following = fresh.next()
    await recorder.insertEvents([storedEvent(dogId(11), 1)])
    expect((await following).value?.id).toBe(2n)
    await fresh.return?.()
    running.stop()
    await reading
    expect(seen).toHaveLength(1)
    stop()
  })
})
