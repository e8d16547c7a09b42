/** Metadata from the context of a save: stored with its events, passed on to what follows from them. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  causedBy,
  currentMetadata,
  DataError,
  type SubscribedEvent,
  withMetadata,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

class Task extends Aggregate<{ Done: { by: string } }> {
  by = ''
  static readonly events = {
    Done(this: Task, { by }: { by: string }) {
      this.by = by
    },
  }
  done(by: string, metadata?: Record<string, unknown>): void {
    this.trigger('Done', { by }, metadata === undefined ? {} : { metadata })
  }
}

/** So many arrays within each other. */
function nested(depth: number): unknown {
  return depth === 0 ? 1 : [nested(depth - 1)]
}

describe.each(oneOfEach)('metadata on $name', (kind) => {
  let open: OpenDatabase
  let tasks: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    tasks = new Application<unknown>({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  const metadataOf = async (id: string): Promise<unknown[]> =>
    (await tasks.recorder.selectEvents(id)).map((event) => event.metadata)

  it('of the context is stored with every event that is saved in it, and with no other', async () => {
    const [first, second] = [new Task(), new Task()]
    await withMetadata({ user: 'ann', ip: '::1' }, async () => {
      await delay(1)
      first.done('ann')
      await open.datastore.transaction(async (tx) => {
        await tasks.save(first)
        await withMetadata({ user: 'bea' }, () => tasks.save(second))
        tx.afterCommit(() => expect(currentMetadata()).toEqual({ user: 'ann', ip: '::1' }))
      })
    })
    expect(await metadataOf(first.id)).toEqual([
      { user: 'ann', ip: '::1' },
      { user: 'ann', ip: '::1' },
    ])
    expect(await metadataOf(second.id)).toEqual([{ user: 'bea', ip: '::1' }])
    const third = new Task()
    await tasks.save(third)
    expect(await metadataOf(third.id)).toEqual([undefined])
    expect(currentMetadata()).toBeUndefined()
  })

  it('of an event itself counts before that of the context', async () => {
    const task = new Task()
    task.done('ann', { user: 'robot', tries: 3 })
    await withMetadata({ user: 'ann' }, () => tasks.save(task))
    expect(await metadataOf(task.id)).toEqual([{ user: 'ann' }, { user: 'robot', tries: 3 }])
  })

  it('is stored as it was at the save, or refused with the name of the event', async () => {
    const task = new Task()
    const request = { user: { name: 'ann' }, at: new Date(0), none: undefined }
    await open.datastore.transaction(async () => {
      await withMetadata(request, () => tasks.save(task))
      request.user.name = 'somebody else'
    })
    expect(await metadataOf(task.id)).toEqual([{ user: { name: 'ann' }, at: '1970-01-01T00:00:00.000Z' }])
    task.done('ann', { tries: 3n })
    await expect(tasks.save(task)).rejects.toThrow(
      `Cannot store Task.Done, version 2 of ${task.id}: its metadata are not what JSON can hold.`,
    )
    for (const lost of [
      Number.NaN,
      new Date(Number.NaN),
      new Map([['a', 1]]),
      new Set([1]),
      Buffer.from('a'),
      nested(30),
    ]) {
      const save = withMetadata({ lost }, async () => await tasks.save(new Task()))
      await expect(save).rejects.toThrow(DataError)
    }
    const deepest = new Task()
    await withMetadata({ deep: nested(29) }, async () => await tasks.save(deepest))
    expect(await metadataOf(deepest.id)).toEqual([{ deep: nested(29) }])
    for (const odd of [null, 5, 'ann', ['ann']]) expect(() => withMetadata(odd as never, () => 0)).toThrow(TypeError)
  })

  it('is seen by subscriptions, and links what follows to what it follows from', async () => {
    const start = await tasks.recorder.maxNotificationId()
    const next = async (gt: bigint | null): Promise<SubscribedEvent> => {
      for await (const subscribed of tasks.subscribe({ gt })) return subscribed
      throw new Error('nothing was delivered')
    }
    await withMetadata({ correlationId: 'request 1', user: 'ann' }, () => tasks.save(new Task()))
    const caused = await next(start)
    expect(caused.event.metadata).toEqual({ correlationId: 'request 1', user: 'ann' })
    expect(caused.notification.metadata).toEqual(caused.event.metadata)
    const reaction = new Task()
    await causedBy(caused, () => tasks.save(reaction))
    const causationId = `/${caused.notification.id}`
    expect(await metadataOf(reaction.id)).toEqual([{ causationId, correlationId: 'request 1' }])

    await tasks.save(new Task())
    const last = await tasks.recorder.maxNotificationId()
    const uncorrelated = await next((last ?? 0n) - 1n)
    const second = new Task()
    await causedBy(uncorrelated, () => tasks.save(second))
    const own = `/${uncorrelated.notification.id}`
    expect(await metadataOf(second.id)).toEqual([{ causationId: own, correlationId: own }])
  })
})
