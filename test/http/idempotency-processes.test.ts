/** Idempotency keys between processes: two servers on one database serve a request once, and one that is killed leaves nothing. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bundled } from '../support/bundled.js'
import { oneOfEach, type TestDatabase } from '../support/databases.js'

const worker = new URL('./idempotency-worker.ts', import.meta.url)

interface Worker {
  readonly process: ChildProcess
  readonly nextLine: () => Promise<string>
  readonly url: string
}

async function startWorker(url: string): Promise<Worker> {
  const child = spawn(process.execPath, [bundled(worker), url], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const nextLine = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done === true) throw new Error('The process has ended.')
    return value
  }
  return { process: child, nextLine, url: await nextLine() }
}

describe.each(oneOfEach)('two processes on $name', (kind) => {
  let database: TestDatabase
  let workers: Worker[] = []
  beforeEach(async () => {
    database = await kind.createDatabase()
    workers = await Promise.all([startWorker(database.url), startWorker(database.url)])
  }, 60_000)
  afterEach(async () => {
    for (const { process: child } of workers) child.kill('SIGKILL')
    await database.drop()
  })

  const events = async (): Promise<number> => (await database.query('SELECT topic FROM stored_events')).length
  const post = async (index: number, key: string, headers = {}): Promise<{ status: number; body: unknown }> => {
    const url = workers[index % workers.length]?.url ?? ''
    const response = await fetch(url, { method: 'POST', headers: { 'idempotency-key': key, ...headers } })
    return { status: response.status, body: await response.json() }
  }

  it('serve a request once that is sent fifty times at once, and answer it alike', async () => {
    for (let round = 1; round <= 3; round += 1) {
      const key = `round-${round}`
      const answers = await Promise.all(Array.from({ length: 50 }, async (_, index) => await post(index, key)))
      expect(await events()).toBe(round)
      const served = answers.filter(({ status }) => status === 200)
      expect(served.length).toBeGreaterThanOrEqual(1)
      expect(new Set(served.map(({ body }) => JSON.stringify(body))).size).toBe(1)
      expect(answers.filter(({ status }) => status !== 200 && status !== 409)).toEqual([])
      expect(await post(1, key)).toEqual(await post(0, key))
    }
  }, 60_000)

  it('go on with a key whose process was killed', async () => {
    const [first] = workers
    const lost = post(0, 'abc', { 'x-hangs': 'yes' }).catch((error: unknown) => error)
    expect(await first?.nextLine()).toBe('hangs')
    first?.process.kill('SIGKILL')
    expect(await lost).toBeInstanceOf(Error)
    await expect.poll(async () => (await post(1, 'abc')).status, { timeout: 20_000 }).toBe(200)
    expect(await events()).toBe(1)
  }, 60_000)
})
