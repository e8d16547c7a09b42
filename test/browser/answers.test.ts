/** The browser of events over HTTP: who may see it, what it answers, and that it stays out of the transactions of the requests. */
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify from 'fastify'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { browser, eventBrowser } from '../../adapters/browser.js'
import { notificationLog, projections } from '../../adapters/fastify.js'
import { root } from '../../scripts/install.mjs'
import { Application, isEventSourcingError, ProgrammingError, type ProjectionRunner } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warnings } from '../prisma/warnings.js'
import { databasesOf, oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { accounts, Dog, failingRunner, Kennel } from './kennel.js'
import { type Running, type ServedBrowser, servers } from './servers.js'

const secret = 'Ann Archer of Aberdeen'
const admitted = { 'x-key': 'secret' }

interface Kinds {
  readonly kinds: ReadonlyArray<{ readonly name: string; readonly streams?: number; readonly events?: number }>
}

const [sqlite] = databasesOf('sqlite')
if (sqlite === undefined) throw new Error('there is no SQLite')

let open: OpenDatabase
let kennel: Kennel
let running: Running
let fido: Dog

/** Opens a filled kennel and a server. */
async function begin(kind: TestDatabaseKind, start: (typeof servers)[number][1], more: Partial<ServedBrowser> = {}) {
  open = await openDatabase(kind)
  kennel = new Kennel({ datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
  fido = await kennel.fill('Fido', secret)
  await kennel.execute(accounts, 'a0000000-0000-4000-8000-000000000001', 'change', 7)
  const authorize: ServedBrowser['authorize'] = (headers) => headers['x-key'] === 'secret'
  running = await start({ application: kennel, kinds: { Dog }, authorize, ...more }, open.datastore)
}

async function end(): Promise<void> {
  await running.close()
  await open.close()
}

const get = async (path: string, headers: Record<string, string> = admitted): Promise<Response> =>
  await fetch(`${running.url}${path}`, { headers })
const read = async <T = Record<string, never>>(path: string): Promise<T> => (await (await get(path)).json()) as T

describe.each(servers)('on %s', (_name, start) => {
  beforeEach(async () => await begin(sqlite, start))
  afterEach(end)

  it('answers nobody but those who are authorized', async () => {
    for (const path of ['', '/', '/api/info', '/api/kinds', `/api/stream?id=${fido.id}`, '/api/live', '/api/nothing']) {
      const refused = await get(path, {})
      expect([path, refused.status, await refused.text()]).toEqual([
        path,
        403,
        '{"error":"You may not see this page."}',
      ])
    }
    expect((await get('')).status).toBe(200)
  })

  it('lets the page run its own script and style alone, and keeps nothing', async () => {
    const { headers } = await get('/')
    const csp = headers.get('content-security-policy')
    expect(csp).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self'/)
    expect(csp).not.toContain('unsafe')
    expect(headers.get('cache-control')).toContain('no-store')
    expect((await get('/api/kinds')).headers.get('cache-control')).toContain('no-store')
  })

  it('shows kinds, streams, events and states', async () => {
    const { kinds } = await read<Kinds>('/api/kinds')
    expect(kinds).toMatchObject([
      { name: 'Dog', streams: 1, events: 4, hasStates: true },
      { name: 'Account', streams: 1, events: 1, hasStates: false },
    ])
    expect(await read('/api/streams?kind=Dog')).toMatchObject({ streams: [{ id: fido.id, version: 4 }], next: null })
    expect(await read('/api/streams?kind=Account')).toMatchObject({ streams: [{ version: 1 }], next: null })
    const stream = await read(`/api/stream?id=${fido.id}`)
    expect(stream).toMatchObject({ kind: 'Dog', first: 1, last: 4, earlier: null })
    expect(stream['events']).toMatchObject([
      { version: 4, topic: 'Dog.TrickAdded', data: { trick: 'fetch' } },
      { version: 3 },
      { version: 2, metadata: { correlationId: 'request-1', causationId: 'Kennel/1' } },
      { version: 1, metadata: { user: 'ann' } },
    ])
    const { state, before } = await read(`/api/state?id=${fido.id}&version=3`)
    expect([state, before]).toMatchObject([{ tricks: ['roll over', 'play dead'] }, { tricks: ['roll over'] }])
    expect(await read(`/api/state?id=${fido.id}&version=1`)).toMatchObject({ before: null })
  })

  it('says what there is not, and what is malformed', async () => {
    expect((await get(`/api/stream?id=${Dog.name}`)).status).toBe(404)
    expect((await get('/api/streams?kind=Cat')).status).toBe(404)
    expect((await get('/api/event?position=99')).status).toBe(404)
    expect((await get('/api/event?position=x')).status).toBe(400)
    expect((await get('/api/nothing')).status).toBe(404)
    expect((await fetch(`${running.url}/api/kinds`, { method: 'POST', headers: admitted })).status).toBe(405)
  })

  it('hides personal data in events, states and snapshots', async () => {
    const paths = [
      `/api/stream?id=${fido.id}`,
      `/api/state?id=${fido.id}&version=4`,
      `/api/snapshots?id=${fido.id}`,
      '/api/log',
      '/api/event?position=1',
    ]
    for (const path of paths) expect([path, await (await get(path)).text()]).not.toContain(secret)
    expect((await read(`/api/state?id=${fido.id}&version=4`))['state']).toMatchObject({ owner: { $: 'hidden' } })
    expect(await read('/api/event?position=1')).toMatchObject({ data: { name: 'Fido', owner: { $: 'hidden' } } })
    expect((await read(`/api/snapshots?id=${fido.id}`))['snapshots']).toMatchObject([
      { version: 3, data: { state: { $: 'hidden' } } },
    ])
  })

  it('finds what belongs together', async () => {
    const found = async (query: string) => (await read<{ events: object[] }>(`/api/related?${query}`)).events
    expect(await found('name=correlationId&value=request-1')).toHaveLength(3)
    expect(await found('name=causationId&value=Kennel/1')).toHaveLength(2)
    expect(await found('name=correlationId&value=request-1&from=2')).toHaveLength(2)
    expect((await get('/api/related?name=user&value=ann')).status).toBe(400)
  })

  it('follows the log, from where a page was, until the server closes', async () => {
    const response = await get('/api/live?after=3', { ...admitted })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    let text = ''
    const reading = (async () => {
      for await (const part of response.body ?? []) text += Buffer.from(part as Uint8Array).toString()
    })()
    await expect.poll(() => text).toContain('"trick":"fetch"')
    await kennel.fill('Rex', secret)
    await expect.poll(() => text).toContain('"name":"Rex"')
    expect(text).not.toContain(secret)
    expect(text).not.toContain('play dead","version":3')
    await running.close()
    await reading
    running = { ...running, close: async () => undefined }
  })

  it('begins no transaction, and holds no connection while a page follows the log', async () => {
    const { begun } = open.datastore.stats
    const controller = new AbortController()
    const response = await fetch(`${running.url}/api/live`, { headers: admitted, signal: controller.signal })
    await read(`/api/stream?id=${fido.id}`)
    expect(open.datastore.stats).toMatchObject({ begun, open: 0 })
    controller.abort()
    await response.body?.cancel().catch(() => undefined)
  })
})

describe.each(oneOfEach)('on $name', (kind) => {
  const [, [, start] = ['', undefined]] = servers
  if (start === undefined) throw new Error('there is no server')
  afterEach(end)

  it('shows personal data where it may, and says what is erased', async () => {
    await begin(kind, start, { showPersonalData: true, kinds: { Dog, accounts } })
    expect(await read('/api/event?position=1')).toMatchObject({ data: { owner: secret } })
    expect((await read(`/api/state?id=${fido.id}&version=4`))['state']).toMatchObject({ owner: secret })
    await kennel.forget(fido.id)
    expect(await read('/api/event?position=1')).toMatchObject({ data: { owner: { $: 'erased' } } })
    const account = 'a0000000-0000-4000-8000-000000000001'
    expect(await read(`/api/state?id=${account}&version=1`)).toMatchObject({ state: { balance: 7 }, before: null })
  })

  it('gives streams in pages, the youngest first', async () => {
    await begin(kind, start)
    for (let index = 0; index < 30; index += 1) await kennel.save(new Dog(`dog ${index}`, secret))
    const page = await read<{ streams: ReadonlyArray<{ id: string }>; next: string | null }>('/api/streams?kind=Dog')
    expect(page.streams).toHaveLength(25)
    const rest = await read<typeof page>(`/api/streams?kind=Dog&before=${page.next}`)
    expect(rest.streams).toHaveLength(6)
    expect(rest.next).toBeNull()
    expect(new Set([...page.streams, ...rest.streams].map(({ id }) => id)).size).toBe(31)
  })
})

interface Projections {
  readonly problem?: string
  readonly projections: ReadonlyArray<{
    readonly name: string
    readonly status: string
    readonly failedPosition?: string
    readonly parked: number
    readonly aside: ReadonlyArray<{ readonly notificationId: string }>
  }>
}

describe.each(servers)('projections on %s', (_name, start) => {
  let runner: ProjectionRunner
  let control: Running
  const post = async (query: string, headers: Record<string, string> = {}): Promise<number> => {
    const sent = { ...admitted, 'es-browser': '1', 'sec-fetch-site': 'same-origin', ...headers }
    return (await fetch(`${running.url}/api/act?${query}`, { method: 'POST', headers: sent })).status
  }
  const statusOf = async (name: string) =>
    (await read<Projections>('/api/projections')).projections.find((each) => each.name === name)

  beforeEach(async () => {
    await begin(sqlite, start)
    control = running
    runner = failingRunner(kennel, open.datastore)
    const { datastore } = open
    const authorize: ServedBrowser['authorize'] = (headers) => headers['x-key'] === 'secret'
    running = await start({ application: kennel, datastore, runner, authorize, allowChanges: true }, datastore)
    const { stop } = warnings('ES_PROJECTION_BLOCKED')
    onTestFinished(stop)
    fido.addTrick('bite')
    await kennel.save(fido)
    await runner.start()
    await expect.poll(async () => (await statusOf('tricks'))?.status).toBe('blocked')
    await expect.poll(async () => (await statusOf('lenient'))?.parked).toBe(1)
  })
  afterEach(async () => {
    await runner.stop()
    await control.close()
    await end()
  })

  it('are shown, paused and resumed, and let pass over an event', async () => {
    const blocked = await statusOf('tricks')
    expect(blocked).toMatchObject({ failedPosition: '6', reason: expect.stringContaining('no such trick') as string })
    expect(await statusOf('lenient')).toMatchObject({ aside: [{ notificationId: '6', attempts: 1 }], isHere: true })
    expect(await post('name=lenient&action=pause')).toBe(200)
    expect(await statusOf('lenient')).toMatchObject({ wanted: 'paused' })
    expect(await post('name=lenient&action=resume')).toBe(200)
    expect(await statusOf('lenient')).toMatchObject({ wanted: 'running' })
    expect(await post('name=lenient&action=retry&position=6')).toBe(200)
    expect(await post('name=tricks&action=skip&position=5')).toBe(409)
    expect(await post('name=tricks&action=skip&position=6')).toBe(200)
    await expect
      .poll(async () => await statusOf('tricks'))
      .toMatchObject({ status: 'live', position: '6', lagEvents: 0 })
    expect([await post('name=other&action=pause'), await post('name=tricks&action=drop')]).toEqual([409, 400])
  })

  it('are changed by the page itself alone, and only where that is allowed', async () => {
    const pause = 'name=lenient&action=pause'
    for (const headers of [
      { 'es-browser': '' },
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'x-key': 'wrong' },
    ]) {
      expect([headers, await post(pause, headers)]).toEqual([headers, 403])
    }
    expect((await get(`/api/act?${pause}`)).status).toBe(404)
    expect(await statusOf('lenient')).toMatchObject({ wanted: 'running' })
    const own = new URL(running.url)
    const raw = async (origin: string): Promise<number> => {
      const sent = request(`${running.url}/api/act?${pause}`, {
        method: 'POST',
        headers: { ...admitted, 'es-browser': '1', origin },
      })
      sent.end()
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      response.resume()
      return response.statusCode ?? 0
    }
    expect([await raw('http://elsewhere.example'), await raw('null'), await raw(own.origin)]).toEqual([403, 403, 200])
    running = { ...running, url: control.url }
    expect(await post(pause)).toBe(403)
    expect((await get('/api/projections')).status).toBe(404)
    expect((await get('/api/activity')).status).toBe(404)
  })

  it('stand beside what the transactions have come to', async () => {
    const { samples } = await read<{ samples: ReadonlyArray<{ at: number; stats: { begun: number } }> }>(
      '/api/activity',
    )
    expect(samples.length).toBeGreaterThanOrEqual(2)
    expect(samples.at(-1)?.stats.begun).toBeGreaterThan(0)
  })
})

it('serves the page that the files in page/ make', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/page.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  })
  expect([status, stderr]).toEqual([0, ''])
})

describe('a browser', () => {
  const application = new Application({ name: 'Kennel', store: 'memory' })

  it('follows the log with few listeners on its response, beside those of other middlewares', async () => {
    const follow = eventBrowser({ application, authorize: () => true })
    let followed: ServerResponse | undefined
    const countsOf = (response: ServerResponse | undefined): number[] =>
      ['close', 'finish', 'error', 'drain'].map((event) => response?.listenerCount(event) ?? Number.NaN)
    /** Others may have added theirs, such as what traces all requests of this process. */
    let before: readonly number[] = []
    const server = createServer((asked, response) => {
      followed = response
      before = countsOf(response)
      void follow(asked, response, () => response.end())
    })
    await once(server.listen(0), 'listening')
    const { port } = server.address() as AddressInfo
    const leaving = new AbortController()
    const response = await fetch(`http://127.0.0.1:${port}/api/live`, { signal: leaving.signal })
    expect(response.status).toBe(200)
    const added = countsOf(followed).map((count, index) => count - (before[index] ?? 0))
    expect(Math.max(...added)).toBeLessThanOrEqual(2)
    leaving.abort()
    server.close()
    await once(server, 'close')
  })

  it.each([browser, notificationLog, projections])(
    'of a plugin without its options, the server does not start',
    async (plugin) => {
      const server = Fastify()
      // As JavaScript may call it.
      void server.register(plugin as never, { misspelt: true } as never)
      await expect(Promise.resolve(server.ready())).rejects.toThrow(ProgrammingError)
    },
  )

  it('is refused without authorize, without an application, and with what is no kind', () => {
    const fastify = { route: () => undefined, addHook: () => undefined }
    // As JavaScript may call it.
    const given = (options: object) => () =>
      browser(fastify, options as never, (error) => {
        if (error !== undefined) throw error
      })
    expect(given({ application })).toThrow('Could not register the plugin `browser` without the option `authorize`')
    expect(given({ authorize: () => true })).toThrow('without the option `application`')
    expect(given({ application, authorize: () => true, runner: { retry() {} } })).toThrow('without `datastore`')
    expect(given({ application, authorize: () => true, kinds: { Map } })).toThrow('give an object of classes')
    expect(() => eventBrowser({ application } as never)).toThrow('Could not make the handler `eventBrowser`')
    try {
      given({ application, authorise: () => true })()
    } catch (error) {
      expect(isEventSourcingError(error)).toBe(true)
      expect(String(error)).toContain('did you mean `authorize`?')
    }
  })

  it.each([1, 'yes', undefined])('takes %s for no, where authorize has to say true', async (answer) => {
    const { EventBrowser } = await import('../../src/browser/event-browser.js')
    const core = new EventBrowser('test', { application, authorize: () => answer })
    const request = {
      method: 'GET',
      path: '/',
      query: new URLSearchParams(),
      headers: {},
      signal: new AbortController().signal,
    }
    expect((await core.answer({ ...request, authorize: () => answer })).status).toBe(403)
  })
})
