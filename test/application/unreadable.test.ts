/** Events that cannot be read: the error says which they are, and a subscription passes over them where it is told to. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { Aggregate, Application, event, MapperError, PrismaDatastore, type StoredEvent } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'

class Person extends Aggregate {
  static readonly topic = 'Person'
  static readonly personal = { Named: { name: true } } as const
  @event('Called', 'by') call(_by: string): void {}
  @event('Named', 'name') rename(_name: string): void {}
}

const stored = (originatorId: string, state: string): StoredEvent => ({
  originatorId,
  originatorVersion: 1,
  topic: 'Person.Called',
  state: new TextEncoder().encode(state),
})
const timestamp = '{"_type_":"datetime_iso","_data_":"2026-01-01T00:00:00+00:00"}'
const deep = `{"timestamp":${timestamp},"by":${'['.repeat(300)}${']'.repeat(300)}}`
const states = ['no JSON', '{"by":"x"}', '{"by":{"_type_":"unheard_of","_data_":1}}', deep]

/** Notifications 1, 2 and the last can be read, those between cannot. */
async function damaged(): Promise<{ app: Application; ids: string[] }> {
  const app = new Application({ name: 'People' })
  const first = new Person()
  first.call('Ann')
  await app.save(first)
  const ids = states.map((_state, index) => `damaged ${index}`)
  for (const [index, id] of ids.entries()) await app.recorder.insertEvents([stored(id, states[index] ?? '')])
  const last = new Person()
  await app.save(last)
  return { app, ids: [first.id, ...ids, last.id] }
}

const unreadableAt = (id: string, notificationId: bigint | undefined): object => ({
  code: 'ES_MAPPER',
  topic: 'Person.Called',
  originatorId: id,
  originatorVersion: 1,
  notificationId,
})

describe('an event that cannot be read', () => {
  it('is named by the error of a load, with topic, id and version', async () => {
    const { app, ids } = await damaged()
    for (const id of ids.slice(1, -1)) {
      await expect(app.repository.get(Person, id)).rejects.toMatchObject(unreadableAt(id, undefined))
    }
    await expect(app.repository.get(Person, 'damaged 3')).rejects.toThrow('nested deeper than 256 levels')
  })

  it('ends a subscription by an error with its position, from which one can go on', async () => {
    const { app } = await damaged()
    const seen: bigint[] = []
    const follow = async (gt: bigint | null): Promise<void> => {
      for await (const { tracking } of app.subscribe({ gt })) {
        seen.push(tracking.notificationId)
        if (tracking.notificationId === 7n) return
      }
    }
    let error: unknown = await follow(null).catch((reason: unknown) => reason)
    expect(seen).toEqual([1n, 2n])
    expect(error).toMatchObject(unreadableAt('damaged 0', 3n))
    expect((error as MapperError).message).toContain('version 1 of damaged 0, notification 3: ')
    while (error instanceof MapperError) {
      error = await follow(error.notificationId ?? null).catch((reason: unknown) => reason)
    }
    expect(seen).toEqual([1n, 2n, 7n])
    for await (const page of app.subscribe({ gt: 6n }).pages()) {
      expect(page.items.map(({ notification }) => notification.id)).toEqual([7n])
      break
    }
    const pages = app.subscribe().pages()[Symbol.asyncIterator]()
    await expect(pages.next()).rejects.toMatchObject(unreadableAt('damaged 0', 3n))
  })

  it('is passed over with a warning by a subscription that skips', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const { app } = await damaged()
    const seen: bigint[] = []
    for await (const { tracking } of app.subscribe({ onUnreadable: 'skip' })) {
      seen.push(tracking.notificationId)
      if (tracking.notificationId === 7n) break
    }
    expect(seen).toEqual([1n, 2n, 7n])
    for await (const { items, end } of app.subscribe({ onUnreadable: 'skip' }).pages()) {
      expect(items.map(({ notification }) => notification.id)).toEqual([1n, 2n, 7n])
      expect(end).toBe(7n)
      break
    }
    const warnings = warn.mock.calls.map(([message, options]) => [String(message), options])
    warn.mockRestore()
    expect(warnings).toHaveLength(8)
    for (const [index, [message, options]] of warnings.entries()) {
      expect(message).toContain(`notification ${(index % 4) + 3}: `)
      expect(options).toEqual({ code: 'ES_UNREADABLE_SKIPPED' })
    }
    expect(() => app.subscribe({ onUnreadable: 'ignore' as never })).toThrow(TypeError)
  })

  it('is named, too, where it is personal data that were moved', async () => {
    const app = new Application({ name: 'People' })
    const person = new Person()
    person.rename('Ann')
    await app.save(person)
    const [, named] = await app.recorder.selectEvents(person.id)
    if (named === undefined) throw new Error('nothing was stored')
    await app.recorder.insertEvents([{ ...named, originatorVersion: 3 }])
    const where = { topic: 'Person.Named', originatorId: person.id, originatorVersion: 3 }
    await expect(app.repository.get(Person, person.id)).rejects.toMatchObject({ code: 'ES_MAPPER', ...where })
    const following = app.subscribe({ gt: 2n })[Symbol.asyncIterator]()
    await expect(following.next()).rejects.toMatchObject({ ...where, notificationId: 3n })
  })
})

describe.each(oneOfEach)('on $name', (kind) => {
  it('is passed over with a warning, and the position behind it is tracked', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    const database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const app = new Application({ name: '', datastore })
    const ids: string[] = [randomUUID(), randomUUID()]
    const save = async (): Promise<void> => {
      const person = new Person()
      ids.push(person.id)
      await app.save(person)
    }
    await save()
    await app.recorder.insertEvents([stored(ids[0] ?? '', 'no JSON'), stored(ids[1] ?? '', deep)])
    await save()
    const seen: Array<[string, bigint]> = []
    for await (const { event: read, tracking } of app.subscribe({ onUnreadable: 'skip' })) {
      seen.push([read.originatorId, tracking.notificationId])
      if (seen.length === 2) break
    }
    const warnings = warn.mock.calls.map(([message]) => String(message))
    warn.mockRestore()
    await datastore.close()
    await database.drop()
    expect(seen).toEqual([
      [ids[2], 1n],
      [ids[3], 4n],
    ])
    expect(warnings).toEqual([
      expect.stringContaining(`${ids[0]}, notification 2: `),
      expect.stringContaining(`${ids[1]}, notification 3: `),
    ])
  })
})
