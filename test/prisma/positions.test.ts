/** Positions, on every database: how far a reader has come, whose position it is, and what is taken as one. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  IntegrityError,
  PrismaApplicationRecorder,
  PrismaTrackingRecorder,
  ProgrammingError,
  type Tracking,
  topicsOf,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warningsOf } from './warnings.js'

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let school: TrainingSchool
  beforeEach(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore, { eventsTable: 'trainingschool_events' })
    school = new TrainingSchool({ datastore: open.datastore })
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await school.addTrick('Fido', 'roll over')
  })
  afterEach(async () => {
    await open.close()
  })

  const registered = topicsOf(Dog, 'Registered')

  it('lets a tracked position pass the events that the topics leave out', async () => {
    const views = new PrismaTrackingRecorder(open.datastore, { reader: 'owners' })
    const end = await school.recorder.maxNotificationId()
    const seen: string[] = []
    for await (const { items, tracking, end: read } of school.subscribe({ topics: registered }).pages()) {
      await open.datastore.transaction(async () => {
        await views.insertTracking(tracking)
        for (const { event } of items) seen.push(event.topic)
      })
      if (read === end) break
    }
    await views.wait(school.name, end, { timeoutMs: 10_000 })
    expect([seen, await views.maxTrackingId(school.name)]).toEqual([['Dog.Registered'], end])
  })

  it('keeps the positions of several readers of one log apart in one table', async () => {
    const [owners, counts] = ['owners', 'counts'].map(
      (reader) => new PrismaTrackingRecorder(open.datastore, { reader }),
    )
    const read = async (
      views: PrismaTrackingRecorder<TestClient> | undefined,
      topics?: string[],
    ): Promise<string[]> => {
      const seen: string[] = []
      const gt = (await views?.maxTrackingId(school.name)) ?? null
      const subscription = school.subscribe({ gt, ...(topics === undefined ? {} : { topics }) })
      for await (const { items, tracking, end } of subscription.pages()) {
        await views?.insertTracking(tracking)
        seen.push(...items.map(({ event }) => event.topic))
        if (end === 3n) break
      }
      return seen
    }
    expect(
      await warningsOf('ES_TRACKING_SHARED', async () => {
        expect(await read(owners, registered)).toEqual(['Dog.Registered'])
        expect(await read(counts)).toEqual(['Dog.Registered', 'Dog.TrickAdded', 'Dog.TrickAdded'])
      }),
    ).toEqual([])
    const plain = new PrismaTrackingRecorder(open.datastore)
    expect(await plain.maxTrackingId(school.name)).toBe(null)
    expect(() => new PrismaTrackingRecorder(open.datastore, { reader: 'a@b' })).toThrow(ProgrammingError)
  })

  it('says so where two readers store one position', async () => {
    const views = new PrismaTrackingRecorder(open.datastore)
    const take = async (topics: string[]): Promise<Tracking> => {
      // Each has a recorder of its own, as readers have that do not know of each other.
      const views = new PrismaTrackingRecorder(open.datastore)
      const gt = await views.maxTrackingId(school.name)
      for await (const { tracking } of school.subscribe({ gt, topics })) {
        await views.insertTracking(tracking)
        return tracking
      }
      throw new Error('a subscription does not end by itself')
    }
    const warnings = await warningsOf('ES_TRACKING_SHARED', async () => {
      await take(registered)
      const second = await take([])
      await expect(views.insertTracking(second)).rejects.toThrow(/reader/)
      await expect(views.insertTracking(second)).rejects.toBeInstanceOf(IntegrityError)
      // The same reader, begun again.
      await take([])
    })
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/TrainingSchool.*reader/)
  })

  it('takes numbers and texts of digits as the positions that they mean, and refuses the rest', async () => {
    // What comes from a URL has no bigint; TypeScript would refuse it, a program in JavaScript does not.
    const loose = recorder as unknown as Record<string, (...args: unknown[]) => Promise<Array<{ id: bigint }>>>
    const ids = async (...args: unknown[]): Promise<number[] | undefined> =>
      (await loose['selectNotifications']?.(...args))?.map(({ id }) => Number(id))
    expect(await ids('2', 10)).toEqual([2, 3])
    expect(await ids(2, 10, { inclusiveOfStart: false })).toEqual([3])
    expect(await ids('1', 10, { stop: '2', inclusiveOfStart: false })).toEqual([2])
    for (const bad of ['', '5x', '1.0', 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60, {}, true, 2n ** 64n]) {
      await expect(ids(bad, 10)).rejects.toBeInstanceOf(TypeError)
      await expect(ids(1n, 10, { stop: bad })).rejects.toBeInstanceOf(TypeError)
      expect(() => school.subscribe({ gt: bad as bigint })).toThrow(TypeError)
      expect(() => recorder.subscribe({ gt: bad as bigint })).toThrow(TypeError)
    }
    for (const limit of [1.5, Number.NaN, '10']) await expect(ids(1n, limit)).rejects.toBeInstanceOf(TypeError)
    for (const gt of ['2', 2]) {
      for await (const { notification } of school.subscribe({ gt: gt as unknown as bigint })) {
        expect(notification.id).toBe(3n)
        break
      }
    }
  })

  it('refuses versions that are no whole numbers', async () => {
    const id = Dog.createId('Fido')
    for (const version of [Number.NaN, 1.5, Number.POSITIVE_INFINITY, '2' as unknown as number]) {
      await expect(school.repository.get(Dog, id, { version })).rejects.toBeInstanceOf(TypeError)
      await expect(recorder.selectEvents(id, { gt: version })).rejects.toBeInstanceOf(TypeError)
      await expect(recorder.selectEvents(id, { lte: version })).rejects.toBeInstanceOf(TypeError)
      await expect(recorder.selectEvents(id, { limit: version })).rejects.toBeInstanceOf(TypeError)
    }
    expect((await school.repository.get(Dog, id, { version: 2 })).tricks).toEqual(['sit'])
  })

  it('reads the end of the log once for all who follow it', async () => {
    const followers = Array.from({ length: 60 }, () => ({
      ids: [] as bigint[],
      subscription: school.subscribe({ gt: 3n }),
    }))
    const following = followers.map(async ({ ids, subscription }) => {
      for await (const { notification } of subscription) ids.push(notification.id)
    })
    for (const trick of ['jump', 'speak']) await school.addTrick('Fido', trick)
    await expect.poll(() => followers.every(({ ids }) => ids.length === 2), { timeout: 20_000 }).toBe(true)
    for (const { ids, subscription } of followers) {
      expect(ids).toEqual([4n, 5n])
      subscription.stop()
    }
    await Promise.all(following)
  })
})
