/** The log of an application elsewhere, read over HTTP. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Application,
  InMemoryApplicationRecorder,
  LocalNotificationLog,
  MapperError,
  NotificationLogReader,
  ProgrammingError,
  RemoteNotificationLog,
  sectionToJSON,
} from '../../src/index.js'
import { openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { Dog } from './dogs.js'

const stores = [
  { name: 'memory', open: async () => ({ application: new Application(), close: async () => {} }) },
  ...oneOfEach.map((kind) => ({
    name: kind.name,
    async open() {
      const opened = await openDatabase(kind)
      const application: Application = new Application<unknown>({ name: '', datastore: opened.datastore })
      return { application, close: () => opened.close() }
    },
  })),
]

describe.each(stores)('a remote log on $name', ({ open }) => {
  let application: Application
  let server: Server
  let close: () => Promise<void>
  beforeAll(async () => {
    const opened = await open()
    ;({ application, close } = { application: opened.application, close: () => opened.close() })
    server = createServer((request, response) => {
      const sectionId = decodeURIComponent((request.url ?? '').slice(1))
      application.notificationLog.section(sectionId).then(
        (section) => response.end(sectionToJSON(section)),
        () => response.writeHead(500).end('failed'),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    for (let n = 0; n < 60; n += 1) await application.save(new Dog(`Fido ${n}`))
  })
  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await close()
  })

  const remote = (): RemoteNotificationLog =>
    new RemoteNotificationLog(async (sectionId) => {
      const { port } = server.address() as AddressInfo
      return await (await fetch(`http://127.0.0.1:${port}/${sectionId}`)).text()
    })

  it('gives the very notifications of the log there, to many at a time [205]', async () => {
    const here = await application.recorder.selectNotifications(null, 100)
    expect(here).toHaveLength(60)
    const readAll = async (): Promise<unknown[]> => {
      const items: unknown[] = []
      for await (const notification of new NotificationLogReader(remote()).read()) items.push(notification)
      return items
    }
    for (const items of await Promise.all(Array.from({ length: 30 }, readAll))) expect(items).toEqual(here)
    const { lastGivenId, ...empty } = await remote().section('61,70')
    expect(empty).toEqual({ id: null, items: [], nextId: null })
    // In memory nobody restores a log.
    expect(lastGivenId).toBe(await application.recorder.lastGivenNotificationId?.())
    expect(await remote().lastGivenNotificationId()).toBe(lastGivenId)
    expect(await remote().section('1,10')).toMatchObject({ id: '1,10', nextId: '11,20' })
  })

  it('selects as a log here does', async () => {
    const local = application.notificationLog
    const options = [
      {},
      { stop: 7n },
      { topics: ['Dog.Registered'] },
      { topics: ['none'] },
      { inclusiveOfStart: false },
    ]
    for (const option of options) {
      for (const start of [null, 0n, 5n, 58n, 61n]) {
        expect(await remote().select(start, 10, option)).toEqual(await local.select(start, 10, option))
      }
    }
    await expect(remote().select(1n, 11)).rejects.toBeInstanceOf(ProgrammingError)
  })

  it('says so when what comes is no section', async () => {
    await expect(remote().section('nonsense')).rejects.toBeInstanceOf(MapperError)
  })
})

describe('a section as JSON', () => {
  it('keeps ids of any kind, metadata and bytes', async () => {
    const recorder = new InMemoryApplicationRecorder()
    const metadata = { user: 'Ann' }
    await recorder.insertEvents([
      { originatorId: 'order-17', originatorVersion: 1, topic: 'a', state: Uint8Array.of(0, 255), metadata },
    ])
    const [item] = await recorder.selectNotifications(null, 1)
    if (item === undefined) throw new Error('one event was stored')
    const large = { ...item, id: 2n ** 60n + 1n, originatorId: '0123456789abcdef0123456789abcdef' }
    const local = new LocalNotificationLog({ selectNotifications: async () => [item, large] })
    const remote = new RemoteNotificationLog(async (sectionId) => sectionToJSON(await local.section(sectionId)))
    expect((await remote.section('1,10')).items).toEqual([item, large])
    expect(JSON.parse(sectionToJSON(await local.section('1,2')))).toMatchObject({
      id: `1,${large.id}`,
      items: [{ id: 1, originator_id: 'order-17', originator_version: 1, topic: 'a', state: 'AP8=' }, {}],
    })
  })

  it('of the Python library has no time of recording, which is undefined here', async () => {
    const item = {
      id: 1,
      originator_id: '0123456789abcdef0123456789abcdef',
      originator_version: 1,
      topic: 'a',
      state: 'AP8=',
    }
    const section = JSON.stringify({ id: '1,1', next_id: null, items: [item, { ...item, id: 2, recorded_at: null }] })
    const remote = new RemoteNotificationLog(async () => section)
    const { items } = await remote.section('1,10')
    expect(items.map(({ recordedAt }) => recordedAt)).toEqual([undefined, undefined])
    expect(sectionToJSON({ id: '1,2', nextId: null, items })).not.toContain('recorded_at')
    const broken = new RemoteNotificationLog(async () => section.replace('null}]', '"soon"}]'))
    await expect(broken.section('1,10')).rejects.toBeInstanceOf(MapperError)
  })
})

it.each([
  ['does not say it, as that of the Python library', async () => '{"id":null,"items":[],"next_id":null}'],
  [
    'refuses a section so far behind its end',
    async () => {
      throw new Error('400 Bad Request')
    },
  ],
])('what was given out is not known of a log that %s', async (_what, fetchSection) => {
  expect(await new RemoteNotificationLog(fetchSection).lastGivenNotificationId()).toBeUndefined()
})
