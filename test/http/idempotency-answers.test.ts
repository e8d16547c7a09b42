/** Every way to answer a request, stored under an idempotency key: what is sent again is what was sent, also compressed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PrismaApplicationRecorder } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { casesOn, oneOfEach } from '../support/databases.js'
import { answeringFrameworks, pathOf } from './answering-servers.js'
import { type Answer, failures, successes } from './answers.js'
import type { Listening } from './listening.js'
import { type Observed, observe } from './observed.js'

const idempotency = { scope: 'public' as const, methods: ['GET', 'HEAD', 'POST'] }
const described = ['content-type', 'etag', 'location']

const cases = ['none', 'before', 'after'] as const

describe.each(oneOfEach.filter(({ provider }) => provider !== 'mysql'))('on $name', (kind) => {
  describe.each(casesOn(kind, answeringFrameworks))('$name', (framework) => {
    describe.each(kind.provider === 'sqlite' ? cases : cases.slice(0, 1))(
      'with a compressing middleware: %s',
      (place) => {
        let open: OpenDatabase
        let server: Listening
        beforeAll(async () => {
          open = await openDatabase(kind)
          const recorder = new PrismaApplicationRecorder(open.datastore)
          const saveOf = (answer: Answer) => async (): Promise<void> => {
            await open.db.owner.create({ data: { name: 'Ann', dog: pathOf(answer) } })
            await recorder.appendEvents([storedEvent(crypto.randomUUID(), 1)])
          }
          server = await framework.start(open, saveOf, { idempotency, place: place === 'none' ? undefined : place })
        })
        afterAll(async () => {
          await server.close()
          await open.close()
        })

        const ask = async (answer: Answer): Promise<Observed<string[]>> => {
          const headers = {
            ...answer.headers,
            'idempotency-key': `"${answer.name}"`,
            ...(place === 'none' ? {} : { 'accept-encoding': 'gzip' }),
          }
          return await observe(server.url + pathOf(answer), { ...answer, headers }, async () => await open.dogs())
        }

        it.each(successes.filter(framework.has))('answers again: $name', async (answer) => {
          const first = await ask(answer)
          const again = await ask(answer)
          expect([again.status, again.body]).toEqual([answer.status, answer.body ?? ''])
          expect([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']]).toEqual([
            undefined,
            'true',
          ])
          const headersOf = ({ headers }: Observed<string[]>): unknown[] =>
            described.map((name) => [name, headers[name]])
          expect(headersOf(again)).toEqual(headersOf(first))
          if (place !== 'none' && answer.name.includes('JSON')) expect(again.headers['content-encoding']).toBe('gzip')
          expect(again.seen.filter((dog) => dog === pathOf(answer))).toHaveLength(1)
        })

        it.each(failures.filter(framework.has).filter(({ name }) => !name.startsWith('a stream')))(
          'fails again: $name',
          async (answer) => {
            for (let n = 0; n < 2; n += 1) {
              const { status, headers, seen } = await ask(answer)
              expect([status, headers['idempotency-replayed']]).toEqual([answer.status, undefined])
              expect(seen.filter((dog) => dog === pathOf(answer))).toEqual([])
            }
          },
        )
      },
    )
  })
})
