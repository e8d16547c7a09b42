/** What is left of connections and rows after hundreds of requests that end badly. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { newGate } from '../prisma/gate.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { connectionCounts } from '../support/connections.js'
import { casesOn, databases } from '../support/databases.js'
import { type Exchange, frameworks, type Route, type RunningServer } from './servers.js'

const requests = 300
const inFlight = 40
/** Of both drivers that have one, unless they are told otherwise. */
const poolSize = 10

type Ending = 'success' | 'error' | 'status' | 'gone' | 'deadline' | 'hijack' | 'destroyed'

/** What a client is answered, undefined for nothing. */
const expected: Readonly<Record<Ending, number | undefined>> = {
  success: 201,
  error: 500,
  status: 422,
  gone: undefined,
  deadline: 503,
  hijack: 201,
  destroyed: undefined,
}
// All of them, by the type above.
const endings = Object.keys(expected) as Ending[]

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  beforeEach(async () => {
    await open.clear()
  })
  afterAll(async () => {
    // Waits for every transaction, so that one that was never ended fails here.
    await open.close()
  })

  const save = async (dog: unknown): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog: String(dog) } })
  }
  const handlers: Record<Ending, (exchange: Exchange) => Promise<void>> = {
    async success({ body, send }) {
      await save(body['dog'])
      send(201, {})
    },
    async error({ body }) {
      await save(body['dog'])
      throw new Error('no')
    },
    async status({ body, send }) {
      await save(body['dog'])
      send(422, {})
    },
    async gone({ body, send }) {
      const { signal } = open.datastore.currentTransaction
      const gone = new Promise((resolve) => signal.addEventListener('abort', resolve))
      await save(body['dog'])
      await gone
      await delay(Math.random() * 5)
      send(201, {})
    },
    async deadline({ body, send }) {
      await save(body['dog'])
      await delay(100)
      send(201, {})
    },
    async hijack({ body, raw }) {
      await save(body['dog'])
      raw().writeHead(201).end('{}')
    },
    async destroyed({ body, raw }) {
      await save(body['dog'])
      raw().destroy()
    },
  }
  const routes: readonly Route[] = endings.map((ending) => ({
    method: 'POST',
    path: `/${ending}`,
    handle: handlers[ending],
    ...(ending === 'deadline' ? { transaction: { deadlineMs: 10 } } : {}),
  }))

  /** @returns the status, undefined when there was no answer */
  async function request(server: RunningServer, ending: Ending, dog: string): Promise<number | undefined> {
    const controller = new AbortController()
    const timer = ending === 'gone' ? setTimeout(() => controller.abort(), 5 + Math.random() * 20) : undefined
    try {
      const response = await fetch(`${server.url}/${ending}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ dog }),
        signal: controller.signal,
      })
      await response.text()
      return response.status
    } catch {
      return undefined
    } finally {
      clearTimeout(timer)
    }
  }
  const counts = async () => await connectionCounts(kind, open.database)
  const warmUp = async (server: RunningServer, name: string): Promise<void> => {
    const statuses = await Promise.all(Array.from({ length: 20 }, (_, n) => request(server, 'success', `${name} ${n}`)))
    expect(statuses).toEqual(Array.from({ length: 20 }, () => 201))
    if (kind.provider !== 'sqlite') await useAll()
  }
  /** Uses all connections of the pool at once: how many requests need at once depends on how fast they are. */
  const useAll = async (): Promise<void> => {
    const allInUse = newGate()
    let inUse = 0
    const transactions = Array.from({ length: poolSize }, async () => {
      await open.datastore.transaction(async () => {
        await open.db.owner.count()
        inUse += 1
        if (inUse === poolSize) allInUse.open()
        await allInUse.opened
      })
    })
    await Promise.all(transactions)
  }

  it.each(casesOn(kind, frameworks))(
    '$name leaves no connection behind, and stores what it answered with success',
    { timeout: 120_000 },
    async (framework) => {
      const server = await framework.start(open.datastore, routes)
      try {
        await warmUp(server, 'before')
        const before = await counts()
        await open.clear()
        const stored: string[] = []
        const unexpected: string[] = []
        let next = 0
        const sendAll = async (): Promise<void> => {
          while (next < requests) {
            const n = next
            next += 1
            const dog = `dog ${n}`
            const asked = endings[n % endings.length] ?? 'success'
            // There is nothing below the answers of the others.
            const isBelow = asked === 'hijack' || asked === 'destroyed'
            const ending = isBelow && framework.answersByValue !== undefined ? 'success' : asked
            const status = await request(server, ending, dog)
            if (status === 201) stored.push(dog)
            if (status !== expected[ending]) unexpected.push(`${ending}: ${status}`)
          }
        }
        await Promise.all(Array.from({ length: inFlight }, sendAll))
        await delay(100)
        expect(await open.dogs()).toEqual(stored.sort())
        expect(unexpected).toEqual([])
        expect(stored.length).toBeGreaterThan(requests / endings.length)
        if (before !== undefined) await expect.poll(counts).toMatchObject({ busy: 0 })
        await warmUp(server, 'after')
        await expect.poll(counts).toEqual(before)
      } finally {
        await server.close()
      }
    },
  )
})
