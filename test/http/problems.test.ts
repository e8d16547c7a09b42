/** What problems tell, and what they do not, on each framework. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DataError, EventDataError, IntegrityError, ProgrammingError } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { frameworks, type Route, type RunningServer } from './servers.js'

const secret = 'secret_table'
const cause = new Error(`no such table: ${secret}`)

/** What handlers throw, and what of it a client is told as `detail`. */
const thrown: ReadonlyArray<{ name: string; error: unknown; status: number; detail?: string }> = [
  { name: 'data', error: new DataError(`Could not store: ${secret}`, { cause }), status: 500 },
  { name: 'value', error: new DataError('born is NaN'), status: 422, detail: 'born is NaN' },
  { name: 'program', error: new ProgrammingError(`Could not ask ${secret}`, { cause }), status: 500 },
  { name: 'described', error: new IntegrityError(`UNIQUE failed: ${secret}.id`, { cause }), status: 422 },
  {
    name: 'own',
    error: new EventDataError('the name is too short', { issues: [] }),
    status: 422,
    detail: 'the name is too short',
  },
  {
    name: 'status',
    error: Object.assign(new Error('pay first'), { statusCode: 402 }),
    status: 402,
    detail: 'pay first',
  },
  { name: 'hidden', error: Object.assign(new Error(secret), { status: 403, expose: false }), status: 403 },
  { name: 'down', error: Object.assign(new Error(secret), { statusCode: 502 }), status: 502 },
]

/** Members as a careless app describes errors. */
function describeErrors(error: unknown): { status?: number; big?: unknown } | undefined {
  if (error instanceof RangeError) throw new TypeError(secret)
  if (error instanceof SyntaxError) return { big: 1n }
  if (error instanceof IntegrityError || error instanceof EventDataError) return { status: 422 }
  const isPrismas = error instanceof Error && error.constructor.name.startsWith('Prisma')
  return isPrismas ? { status: 422 } : undefined
}

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => await open.close())

  describe.each(casesOn(kind, frameworks))('a problem on $name', (framework) => {
    let server: RunningServer
    const route = (name: string, handle: () => Promise<void>): Route => ({ method: 'POST', path: `/${name}`, handle })
    const rejecting = (error: unknown) => async (): Promise<void> => {
      throw error as Error
    }
    const routes: Route[] = [
      ...thrown.map(({ name, error }) => route(name, rejecting(error))),
      route('statement', async () => void (await open.db.$executeRawUnsafe(`DELETE FROM ${secret}`))),
      route('model', async () => void (await open.db.toy.create({ data: { name: 'ball', ownerId: 999_999 } }))),
      route('throwing', rejecting(new RangeError('describe throws for it'))),
      route('unserialisable', rejecting(new SyntaxError('describe gives a bigint for it'))),
    ]
    beforeAll(async () => {
      server = await framework.start(open.datastore, routes, { describe: describeErrors })
    })
    afterAll(async () => await server.close())
    const post = async (name: string): Promise<{ status: number; text: string }> => {
      const response = await fetch(`${server.url}/${name}`, { method: 'POST' })
      return { status: response.status, text: await response.text() }
    }

    it.each(thrown)('tells the message of an error only where that is for clients: $name', async (expected) => {
      const { status, text } = await post(expected.name)
      expect(status).toBe(expected.status)
      expect(text).not.toContain(secret)
      expect(JSON.parse(text)).toMatchObject({ type: 'about:blank', status: expected.status })
      expect(JSON.parse(text).detail).toBe(expected.detail)
    })

    it('tells nothing of statements, values and files where an app gives a status to an error of Prisma', async () => {
      for (const name of ['statement', 'model']) {
        const { status, text } = await post(name)
        expect(status).toBe(422)
        expect(JSON.parse(text)).toEqual({ type: 'about:blank', title: 'Unprocessable Entity', status: 422 })
      }
    })

    it('is left to the framework where the app cannot describe it', async () => {
      for (const name of ['throwing', 'unserialisable']) expect((await post(name)).status).toBe(500)
      expect((await post('own')).status).toBe(422)
    })
  })
})
