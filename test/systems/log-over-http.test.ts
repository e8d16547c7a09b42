/** The log over HTTP: what is answered, and who follows it from another database. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import {
  AESCipher,
  defineProjection,
  MapperError,
  NotificationLogReader,
  OperationalError,
  ProjectionRunner,
  RemoteNotificationLog,
  rows,
  sectionToJSON,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { randomNumbers } from '../restarts/random-numbers.js'
import { bundled } from '../support/bundled.js'
import { casesOn, databases, databasesOf, oneOf, oneOfEach } from '../support/databases.js'
import { type Running, starts } from './log-servers.js'
import { cachingProxy, droppingProxy } from './proxies.js'

const timeoutMs = 60_000
const program = new URL('./remote-worker.ts', import.meta.url)
const immutable = 'max-age=31536000, immutable'

/** What reads the events that come from elsewhere, and names the tables. */
class Statistics extends TrainingSchool {}

const countsOf = (db: TestClient) =>
  defineProjection({
    name: 'counts',
    ...rows(
      () => db.trickCount,
      'dog',
      (onRows) => [
        onRows(
          Dog,
          'TrickAdded',
          (e) => e.originatorId,
          (row, e) => ({ dog: e.originatorId, name: '', tricks: (row?.tricks ?? 0) + 1 }),
        ),
      ],
    ),
  })

describe.each(oneOf('postgresql', 'sqlite'))('on $name', (kind) => {
  describe.each(casesOn(kind, Object.entries(starts)))('%s', (_name, start) => {
    let open: OpenDatabase
    let school: TrainingSchool
    let server: Running
    beforeEach(async () => {
      open = await openDatabase(kind)
      school = new TrainingSchool({ datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
      await school.register('Fido')
      for (let n = 1; n < 12; n += 1) await school.addTrick('Fido', `trick ${n}`)
      server = await start(school, open.datastore)
    })
    afterEach(async () => {
      await server.close()
      await open.close()
    })

    const get = async (section: string, headers: Record<string, string> = {}): Promise<Response> =>
      await fetch(`${server.url}/${section}`, { headers })

    it('serves full sections for good, and the last one with a tag', async () => {
      const full = await get('1,10')
      expect([full.status, full.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8'])
      expect(full.headers.get('cache-control')).toBe(`public, ${immutable}`)
      expect(await full.text()).toBe(sectionToJSON(await school.notificationLog.section('1,10')))
      const admitted = await get('1,10', { authorization: 'Bearer x' })
      expect(admitted.headers.get('cache-control')).toBe(`private, ${immutable}`)
      const last = await get('11,20')
      const etag = last.headers.get('etag') ?? ''
      expect([last.status, last.headers.get('cache-control'), await last.json()]).toMatchObject([
        200,
        'no-cache',
        { id: '11,12', next_id: null, items: [{ id: 11 }, { id: 12 }] },
      ])
      const again = await get('11,20', { 'if-none-match': `W/${etag}` })
      expect([again.status, again.headers.get('etag'), await again.text()]).toEqual([304, etag, ''])
      await school.register('Rex')
      expect((await get('11,20', { 'if-none-match': etag })).status).toBe(200)
      expect(await (await get('14,23')).json()).toEqual({ id: null, next_id: null, items: [], last_given_id: 13 })
    })

    it('refuses what is no section', async () => {
      for (const section of ['nonsense', '1', '1,x', '-1,10', '1,99999999999999999999', '1,10,20', '1.5,3']) {
        const answer = await get(encodeURIComponent(section))
        expect([section, answer.status]).toEqual([section, 400])
        expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/)
        expect(await answer.json()).toMatchObject({ status: 400, code: 'ES_POSITION' })
      }
    })

    it('admits those whom a hook of the app admits', async () => {
      const url = server.url.replace(/log$/, 'admitted')
      expect((await fetch(`${url}/1,10`)).status).toBe(401)
      const answer = await fetch(`${url}/1%2C10`, { headers: { 'x-key': 'secret' } })
      expect([answer.status, answer.headers.get('cache-control')]).toEqual([200, `private, ${immutable}`])
    })

    it('lets many wait for what is new, without a transaction, a connection, or a deadline', async () => {
      const { begun } = open.datastore.stats
      const names: string[] = []
      const warned = ({ name }: Error): void => void names.push(name)
      process.on('warning', warned)
      onTestFinished(() => void process.off('warning', warned))
      const waits = Array.from({ length: 50 }, async () => await get('13,22', { prefer: 'wait=20' }))
      await delay(700)
      expect(open.datastore.stats).toMatchObject({ begun, open: 0, waiting: 0 })
      await school.register('Rex')
      const answers = await Promise.all(waits)
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 200))
      expect(answers[0]?.headers.get('preference-applied')).toBe('wait=20')
      for (const answer of answers) expect(await answer.json()).toMatchObject({ id: '13,13' })
      expect(names).not.toContain('MaxListenersExceededWarning')
    })

    it('waits where the client has the last section, and says so when nothing came', async () => {
      const last = await get('11,20')
      const etag = last.headers.get('etag') ?? ''
      const begun = performance.now()
      const nothing = await get('11,20', { prefer: 'respond-async, wait=1', 'if-none-match': etag })
      expect([nothing.status, nothing.headers.get('preference-applied')]).toEqual([304, 'wait=1'])
      expect(performance.now() - begun).toBeGreaterThan(900)
      const wait = get('11,20', { prefer: 'wait=20', 'if-none-match': etag })
      await school.addTrick('Fido', 'late')
      expect(await (await wait).json()).toMatchObject({ id: '11,13' })
      // What is there is not waited for.
      expect((await get('11,20', { prefer: 'wait=20' })).status).toBe(200)
    })

    it('answers those who wait when it closes', async () => {
      const wait = get('13,22', { prefer: 'wait=20', connection: 'close' })
      await delay(300)
      const closed = server.close()
      expect(await (await wait).json()).toMatchObject({ id: null })
      await closed
      server = await start(school, open.datastore)
    })
  })
})

describe.each(oneOfEach)('a log on $name', (kind) => {
  it('is followed from another database, by a way that drops connections: nothing is lost, nothing twice', async () => {
    const [elsewhere, here] = [await openDatabase(kind), await openDatabase(kind)]
    const school = new TrainingSchool({ datastore: elsewhere.datastore, env: { CREATE_TABLE: 'yes' } })
    await school.ready()
    const server = await (starts['Fastify 5'] as (typeof starts)[string])(school, elsewhere.datastore)
    const seed = Date.now() % 1_000_000
    const proxy = await droppingProxy(new URL(server.url).origin, randomNumbers(seed))
    onTestFinished(async () => {
      await proxy.close()
      await server.close()
      await Promise.all([elsewhere.close(), here.close()])
    })
    const log = RemoteNotificationLog.at(`${proxy.url}/log`, {
      name: 'TrainingSchool',
      waitSeconds: 2,
      timeoutMs: 1_000,
    })
    const { datastore, db } = here
    const application = new Statistics({ datastore })
    const runner = new ProjectionRunner({ application, datastore, source: log, projections: [countsOf(db)] })
    await runner.createTable()
    await runner.start()
    const names = ['Fido', 'Rex', 'Zoe']
    for (const name of names) await school.register(name)
    const teach = async (name: string): Promise<void> => {
      for (let n = 0; n < 40; n += 1) {
        await school.addTrick(name, `trick ${n}`)
        if (n % 10 === 9) await delay(100)
      }
    }
    for (const name of names) await teach(name)
    await runner.wait('counts', await school.recorder.maxNotificationId(), { timeoutMs })
    await runner.stop()
    const counts = await db.trickCount.findMany()
    expect(
      counts.map(({ tricks }) => tricks),
      `seed ${seed}`,
    ).toEqual([40, 40, 40])
    expect(proxy.drops, `seed ${seed}`).toBeGreaterThan(5)
  })
})

describe('a follower', () => {
  const openLog = async (): Promise<readonly [TrainingSchool, Running]> => {
    const open = await openDatabase(databases[0] as (typeof databases)[number])
    const school = new TrainingSchool({ datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
    await school.register('Fido')
    for (let n = 1; n < 25; n += 1) await school.addTrick('Fido', `trick ${n}`)
    const server = await (starts['Fastify 5'] as (typeof starts)[string])(school, open.datastore)
    onTestFinished(async () => {
      await server.close()
      await open.close()
    })
    return [school, server]
  }

  it('has full sections from a cache that another one has filled', async () => {
    const [, server] = await openLog()
    const proxy = await cachingProxy(new URL(server.url).origin)
    onTestFinished(async () => await proxy.close())
    const read = async (): Promise<number> => {
      const log = RemoteNotificationLog.at(`${proxy.url}/log/`, { name: 'TrainingSchool' })
      let items = 0
      for await (const _item of new NotificationLogReader(log).read()) items += 1
      return items
    }
    expect([await read(), await read()]).toEqual([25, 25])
    expect(proxy.passedOn).toEqual(['/log/1,10', '/log/11,20', '/log/21,30', '/log/21,30'])
  })

  it('is woken by the log when it has waited, and asks little meanwhile', async () => {
    const [school, server] = await openLog()
    let asked = 0
    const log = RemoteNotificationLog.at(server.url, {
      name: 'TrainingSchool',
      fetch: async (url, init) => {
        asked += 1
        return await fetch(url, init)
      },
    })
    const application = new Statistics()
    const seen: string[] = []
    const projection = defineProjection({
      name: 'seen',
      on: [{ topics: undefined, read: (event) => event, handle: ({ topic }) => void seen.push(topic) }],
    })
    const runner = new ProjectionRunner({ application, source: log, projections: [projection] })
    onTestFinished(async () => await runner.stop())
    await runner.start()
    await runner.wait('seen', 25n, { timeoutMs })
    await delay(4_000)
    const askedBefore = asked
    await delay(3_000)
    expect(asked - askedBefore).toBeLessThan(3)
    await school.register('Rex')
    await expect.poll(() => seen.length, { timeout: 20_000 }).toBe(26)
  })

  it('cannot read what is encrypted with another key: states are served as they are stored', async () => {
    const open = await openDatabase(databases[0] as (typeof databases)[number])
    const cipher = new AESCipher(AESCipher.createKey(32))
    const school = new TrainingSchool({ datastore: open.datastore, cipher, env: { CREATE_TABLE: 'yes' } })
    await school.register('Fido')
    const server = await (starts['Express 5'] as (typeof starts)[string])(school, open.datastore)
    onTestFinished(async () => {
      await server.close()
      await open.close()
    })
    const log = RemoteNotificationLog.at(server.url, { name: 'TrainingSchool' })
    const [notification] = await log.select(null, 1)
    expect(Buffer.from(notification?.state ?? []).includes('Fido')).toBe(false)
    if (notification === undefined) throw new Error('one event was stored')
    const stored = { ...notification, recordedAt: new Date(0) }
    const readBy = async (application: TrainingSchool): Promise<unknown> =>
      (await (await application.eventStore()).toDomainEvents([stored]))[0]?.data
    await expect(readBy(new TrainingSchool())).rejects.toBeInstanceOf(MapperError)
    expect(await readBy(new TrainingSchool({ cipher }))).toEqual({ name: 'Fido' })
  })

  it('says what was answered where that is no section', async () => {
    const [, server] = await openLog()
    const log = RemoteNotificationLog.at(server.url.replace(/log$/, 'admitted'), { name: 'TrainingSchool' })
    await expect(log.section('1,10')).rejects.toMatchObject({ code: 'ES_OPERATIONAL', retryable: false })
    await expect(log.section('1,10')).rejects.toThrow(/answered with 401/)
    const admitted = RemoteNotificationLog.at(server.url.replace(/log$/, 'admitted'), {
      name: 'TrainingSchool',
      headers: async () => ({ 'x-key': 'secret' }),
    })
    expect((await admitted.section('1,10')).items).toHaveLength(10)
    const nobody = RemoteNotificationLog.at('http://127.0.0.1:1/log', { name: 'TrainingSchool' })
    await expect(nobody.section('1,10')).rejects.toBeInstanceOf(OperationalError)
  })
})

describe.each(databasesOf('postgresql'))('processes that are killed, on $name', (kind) => {
  it('lose nothing and count nothing twice, on a way that drops connections', async () => {
    const [elsewhere, here] = [await openDatabase(kind), await openDatabase(kind)]
    const school = new TrainingSchool({ datastore: elsewhere.datastore, env: { CREATE_TABLE: 'yes' } })
    await school.ready()
    const server = await (starts['Express 5'] as (typeof starts)[string])(school, elsewhere.datastore)
    const seed = Date.now() % 1_000_000
    const proxy = await droppingProxy(new URL(server.url).origin, randomNumbers(seed))
    let worker: ChildProcess | undefined
    onTestFinished(async () => {
      worker?.kill('SIGKILL')
      await proxy.close()
      await server.close()
      await Promise.all([elsewhere.close(), here.close()])
    })
    const start = async (): Promise<ChildProcess> => {
      const args = [bundled(program), here.database.url, `${proxy.url}/log`]
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      return child
    }
    await school.register('Fido')
    for (let round = 0; round < 4; round += 1) {
      worker = await start()
      for (let n = 0; n < 50; n += 1) await school.addTrick('Fido', `trick ${round} ${n}`)
      if (round < 3) worker.kill('SIGKILL')
    }
    const count = async (): Promise<number> => (await here.db.trickCount.findFirst())?.tricks ?? 0
    await expect.poll(count, { timeout: timeoutMs, interval: 200 }).toBeGreaterThanOrEqual(200)
    const end = await school.recorder.maxNotificationId()
    const position = async (): Promise<unknown> =>
      (await here.database.query('SELECT position::text AS position FROM statistics_projections'))[0]?.['position']
    await expect.poll(position, { timeout: timeoutMs, interval: 200 }).toBe(`${end}`)
    expect(await count(), `seed ${seed}`).toBe(200)
  }, 120_000)
})
