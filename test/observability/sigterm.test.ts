/** A server that gets a real SIGTERM answers what is under way, refuses what comes later, and leaves nothing open. */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bundled } from '../support/bundled.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

const worker = new URL('shutdown-worker.ts', import.meta.url)

/** A connection, and the responses that have come on it. */
class Client {
  readonly #socket: Socket
  #received = ''

  constructor(port: number) {
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.on('data', (data) => {
      this.#received += String(data)
    })
    this.#socket.on('error', () => undefined)
  }

  get(path: string): void {
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`)
  }

  /** Resolves when this was received. */
  async received(text: string): Promise<void> {
    while (!this.#received.includes(text)) await once(this.#socket, 'data')
  }

  post(path: string): void {
    this.#socket.write(`POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n`)
  }

  /** The responses once the server has closed the connection, which the client keeps. */
  async responses(): Promise<Array<{ readonly status: number; readonly head: string }>> {
    if (!this.#socket.closed) await once(this.#socket, 'close')
    return this.#received
      .split(/(?=HTTP\/1\.1 )/)
      .filter((text) => text !== '')
      .map((text) => ({ status: Number(text.slice(9, 12)), head: text.split('\r\n\r\n')[0]?.toLowerCase() ?? '' }))
  }
}

describe.each(oneOfEach.filter(({ provider }) => provider !== 'mysql'))('on $name', ({ provider, createDatabase }) => {
  let database: TestDatabase
  let child: ChildProcessByStdio<null, Readable, Readable>
  let port: number
  const lines: string[] = []
  let errors: string
  const said = async (line: string): Promise<void> => {
    while (!lines.includes(line)) await once(child.stdout, 'data')
  }
  beforeEach(async () => {
    lines.length = 0
    errors = ''
    database = await createDatabase()
  })
  const start = async (framework: 'express' | 'fastify'): Promise<void> => {
    child = spawn(process.execPath, [bundled(worker), provider, database.url, framework], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stderr.on('data', (data) => {
      errors += String(data)
    })
    const output = createInterface(child.stdout)
    output.on('line', (line) => lines.push(line))
    const [first] = await once(output, 'line')
    port = Number(String(first).replace('listening ', ''))
  }
  afterEach(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await database.drop()
  })

  const dogs = async (): Promise<string[]> =>
    (await database.query('SELECT dog FROM owners')).map((row) => String(row['dog'])).sort()

  it('answers what is under way, and then 503 on the connections that are kept', { timeout: 60_000 }, async () => {
    await start('express')
    const slow = new Client(port)
    slow.post('/dogs/fido?ms=600')
    await said('stored fido')
    child.kill('SIGTERM')
    await said('closing')
    slow.post('/dogs/late')
    await expect(fetch(`http://127.0.0.1:${port}/dogs/new`, { method: 'POST' })).rejects.toThrow('fetch failed')
    const [answered, refused, ...others] = await slow.responses()
    expect(answered?.status).toBe(201)
    expect(refused).toMatchObject({
      status: 503,
      head: expect.stringMatching(
        /retry-after: [1-3]\r\n[^]*connection: close|connection: close\r\n[^]*retry-after: [1-3]/,
      ),
    })
    expect(others).toEqual([])
    // By itself: nothing keeps the process alive.
    if (child.exitCode === null) await once(child, 'exit')
    expect([child.exitCode, child.signalCode]).toEqual([0, null])
    expect(await dogs()).toEqual(['fido'])
  })

  it('rolls back what is not done at the limit, with 503, and ends', { timeout: 60_000 }, async () => {
    await start('express')
    const stuck = new Client(port)
    stuck.post('/dogs/rex?ms=4000')
    await said('stored rex')
    child.kill('SIGTERM')
    const [answered] = await stuck.responses()
    expect(answered?.status).toBe(503)
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(0)
    expect(errors).toContain('ES_CLOSED_WHILE_OPEN')
    expect(await dogs()).toEqual([])
  })

  it.each(['express', 'fastify'] as const)(
    'ends %s with a stream of events that is open, a connection that is kept, and a request under way',
    { timeout: 60_000 },
    async (framework) => {
      await start(framework)
      const [events, kept, slow] = [new Client(port), new Client(port), new Client(port)]
      events.get('/events')
      await events.received('data: 1')
      kept.post('/dogs/fido')
      await kept.received('201')
      slow.post('/dogs/rex?ms=300')
      await said('stored rex')
      child.kill('SIGTERM')
      expect((await slow.responses()).map(({ status }) => status)).toEqual([201])
      if (child.exitCode === null) await once(child, 'exit')
      expect(child.exitCode).toBe(0)
      expect(await dogs()).toEqual(['fido', 'rex'])
    },
  )
})

it.each(['shutdown.ts', 'shutdown-fastify.ts'])('does what the documentation shows: %s', (file) => {
  const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
  const [, shown = ''] = read('docs/shutdown.md').split(`\`\`\`ts\n// file: ${file}\n`)
  expect(shown.split('```')[0]).toBe(read(`examples/${file}`))
})
