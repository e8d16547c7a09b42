/** Express alone: what its middlewares and handlers do to a response that is held until the commit. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import compression from 'compression'
import express5, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import express4 from 'express4'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { problemDetails, rollbackOnError, transactions } from '../../adapters/express.js'
import { NAMESPACE_URL, PrismaApplicationRecorder, TransactionClosedError, uuid5 } from '../../src/index.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { type Listening, listen, postRaw, Signal } from './listening.js'
import { passingErrors } from './servers.js'

const expresses = databases.slice(0, 1).flatMap((kind) => [
  { name: `Express 5 on ${kind.name}`, express: express5, kind },
  { name: `Express 4 on ${kind.name}`, express: express4, kind },
])

const fido = uuid5(NAMESPACE_URL, '/dogs/fido')
const large = 'x'.repeat(3_000_000)

const post = async (url: string): Promise<Response> => await fetch(url, { method: 'POST' })

const polite: ErrorRequestHandler = (error, _request, response, _next) => {
  response.status(200).json({ sorry: error.message })
}

const own: ErrorRequestHandler = (error, request, response, _next) => {
  response.status(error.statusCode).json({ own: error.code, url: request.originalUrl })
}

describe.each(expresses)('$name', ({ express, kind }) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  let server: Listening | undefined
  let app: Express
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  beforeEach(async () => {
    await open.clear()
    app = express()
    app.set('env', 'test')
  })
  afterEach(async () => {
    await server?.close()
  })
  afterAll(async () => {
    await open.close()
  })

  const save = async (dog = 'Fido'): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }
  /** A route that fails after it has saved, and what rolls back then. */
  const failBehindRollback = (): void => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async () => {
        await save()
        throw new Error('no')
      }),
    )
    app.use(rollbackOnError())
  }
  /** Saves what another writer has saved already, so that the commit fails. */
  const saveInConflict = async (): Promise<void> => {
    await save()
    await recorder.appendEvents([storedEvent(fido, 1)])
  }
  const serve = async (): Promise<string> => {
    server = await listen(app)
    return server.url
  }
  const expectConflict = async (response: Response): Promise<void> => {
    expect(response.status).toBe(409)
    expect(await response.json()).toMatchObject({ status: 409, code: 'ES_CONCURRENCY' })
    expect(await open.dogs()).toEqual([])
  }

  it('goes on with the transaction of a request that is sent through the app once more', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/old',
      passingErrors(async (request, response, next) => {
        await save('Fido')
        request.url = request.url.replace('/old', '/new')
        app(request, response, next)
      }),
    )
    app.post(
      '/new',
      passingErrors(async (request, response) => {
        await save('Rex')
        response.sendStatus(Number(request.query['status']))
      }),
    )
    const url = await serve()
    expect((await post(`${url}/old?status=409`)).status).toBe(409)
    expect(await open.dogs()).toEqual([])
    expect((await post(`${url}/old?status=201`)).status).toBe(201)
    expect(await open.dogs()).toEqual(['Fido', 'Rex'])
  })

  for (const place of ['before', 'after'] as const) {
    it(`works with a compressing middleware ${place} it, also when the commit fails`, async () => {
      await recorder.insertEvents([storedEvent(fido, 1)])
      if (place === 'before') app.use(compression())
      app.use(transactions(open.datastore))
      if (place === 'after') app.use(compression())
      app.post(
        '/fine',
        passingErrors(async (_request, response) => {
          await save()
          response.status(201).json({ large })
        }),
      )
      app.post(
        '/failing',
        passingErrors(async (_request, response) => {
          await saveInConflict()
          response.status(201).json({ large })
        }),
      )
      app.use(problemDetails())
      const url = await serve()
      const fine = await post(`${url}/fine`)
      expect(fine.status).toBe(201)
      expect(fine.headers.get('content-encoding')).toBe('gzip')
      expect(await fine.json()).toEqual({ large })
      expect(await open.dogs()).toEqual(['Fido'])
      await open.clear()
      await recorder.insertEvents([storedEvent(fido, 1)])
      await expectConflict(await post(`${url}/failing`))
    })
  }

  it('commits nothing when Node would have refused the head or the body', async () => {
    app.use(transactions(open.datastore))
    const answers: Record<string, RequestHandler> = {
      '/value': (_request, response) => response.writeHead(200, { 'x-name': 'a\nb' }).end(),
      '/name': (_request, response) => response.writeHead(200, 'fine', ['x name', 'value']).end(),
      '/status': (_request, response) => response.writeHead(20).end(),
      '/implicit': (_request, response) => {
        response.statusCode = 1_000
        response.end()
      },
      '/body': (_request, response) => response.end({ not: 'text' }),
      '/encoding': (_request, response) => response.end('text', 'none' as BufferEncoding),
      '/message': (_request, response) => response.writeHead(200, 'made \u2713').end(),
      '/implicit-message': (_request, response) => {
        response.statusMessage = 'made \u2713'
        response.end()
      },
    }
    for (const [path, answer] of Object.entries(answers)) {
      app.post(
        path,
        passingErrors(async (...args) => {
          await save()
          await answer(...args)
        }),
      )
    }
    app.use(problemDetails())
    const url = await serve()
    for (const path of Object.keys(answers)) {
      expect((await post(url + path)).status).toBe(500)
      expect(await open.dogs()).toEqual([])
    }
  })

  it('never lets a handler that goes on after the deadline answer before a slow error handler', async () => {
    app.use(transactions(open.datastore, { deadlineMs: 500 }))
    const [failed, answered] = [new Signal(), new Signal()]
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        await failed.given
        response.status(201).json({ made: true })
        answered.give()
      }),
    )
    const slow: ErrorRequestHandler = async (_error, _request, response, _next) => {
      failed.give()
      await answered.given
      await delay(50)
      response.status(418).end('slow')
    }
    app.use(slow)
    const url = await serve()
    const response = await post(`${url}/dogs`)
    expect(response.status).toBe(503)
    expect(await response.text()).not.toContain('made')
    await answered.given
    await delay(150)
    expect(await open.dogs()).toEqual([])
    expect((await fetch(`${url}/unknown`)).status).toBe(404)
  })

  it('sends nothing of a response that was written early when the commit fails', async () => {
    app.use(transactions(open.datastore))
    const done = new Signal()
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await saveInConflict()
        response.write('early, ')
        await delay(40)
        response.write('later, ')
        response.end('late')
        response.end('twice')
        done.give()
      }),
    )
    app.use(problemDetails())
    const url = await serve()
    await recorder.insertEvents([storedEvent(fido, 1)])
    await expectConflict(await post(`${url}/dogs`))
    await done.given
    await delay(10)
    expect((await fetch(`${url}/unknown`)).status).toBe(404)
  })

  it('sends nothing of a stream when the commit fails, and lets the stream go', async () => {
    app.use(transactions(open.datastore))
    let source: Readable | undefined
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await saveInConflict()
        source = Readable.from(Array.from({ length: 100 }, () => 'part of a stream '))
        source.pipe(response.status(200))
      }),
    )
    app.use(problemDetails())
    const url = await serve()
    await recorder.insertEvents([storedEvent(fido, 1)])
    await expectConflict(await post(`${url}/dogs`))
    expect(source?.listenerCount('data')).toBe(0)
  })

  it('sends streams, files and large bodies as they are, and calls back', async () => {
    app.use(transactions(open.datastore))
    const calls: string[] = []
    app.post(
      '/writes',
      passingErrors(async (_request, response) => {
        await save()
        for (let part = 0; part < 30; part += 1) {
          const more = response.write('x'.repeat(100_000), () => calls.push('write'))
          if (!more) await new Promise((resolve) => response.once('drain', resolve))
        }
        response.end(() => calls.push('end'))
      }),
    )
    app.post(
      '/stream',
      passingErrors(async (_request, response) => {
        Readable.from([large.slice(0, 1_000_000), large.slice(1_000_000)]).pipe(response)
      }),
    )
    app.post(
      '/file',
      passingErrors(async (_request, response) => {
        response.sendFile(fileURLToPath(import.meta.url))
      }),
    )
    const url = await serve()
    expect(await (await post(`${url}/writes`)).text()).toBe(large)
    expect(calls).toEqual([...Array.from({ length: 30 }, () => 'write'), 'end'])
    expect(await open.dogs()).toEqual(['Fido'])
    expect(await (await post(`${url}/stream`)).text()).toBe(large)
    expect(await (await post(`${url}/file`)).text()).toContain('sends streams, files')
  })

  it('calls back who waits for a part of a response that is dropped', async () => {
    app.use(transactions(open.datastore))
    const errors: unknown[] = []
    const note = (error?: unknown): void => void errors.push((error as { code: unknown }).code)
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await saveInConflict()
        const write = response.write.bind(response)
        response.write('early, ', note)
        await expect.poll(() => errors.length).toBe(1)
        write('later, ', 'utf8', note)
        response.end('late', note)
      }),
    )
    app.use(problemDetails())
    const url = await serve()
    await recorder.insertEvents([storedEvent(fido, 1)])
    await expectConflict(await post(`${url}/dogs`))
    await expect.poll(() => errors.length).toBe(3)
    expect(new Set(errors)).toEqual(new Set(['ERR_STREAM_DESTROYED']))
  })

  it('sends no trailer and no message of a response that is dropped', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await saveInConflict()
        response.statusMessage = 'made'
        response.set('trailer', 'x-sum').write('early, ')
        response.addTrailers({ 'x-sum': '1' })
        response.end('late')
      }),
    )
    app.use(((_error, _request, response, _next) => {
      response.status(500).write('sorry, ')
      response.end('no')
    }) satisfies ErrorRequestHandler)
    const { port } = new URL(await serve())
    await recorder.insertEvents([storedEvent(fido, 1)])
    const request = httpRequest({ port, method: 'POST', path: '/dogs' }).end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(await text(response)).toBe('sorry, no')
    expect([response.statusCode, response.statusMessage]).toEqual([500, 'Internal Server Error'])
    expect([response.headers['trailer'], response.trailers]).toEqual([undefined, {}])
  })

  it('leaves a response alone that has begun before it, and stores nothing', async () => {
    const failed = new Signal()
    app.use((_request, response, next) => {
      response.write('half, ')
      next()
      void failed.given.then(() => response.end('and half'))
    })
    app.use(transactions(open.datastore, { deadlineMs: 20 }))
    app.post('/dogs', async () => {
      const failure = await save().catch((error: unknown) => error)
      expect(failure).toBeInstanceOf(TransactionClosedError)
      await delay(40)
      failed.give()
    })
    const response = await post(`${await serve()}/dogs`)
    expect([response.status, await response.text()]).toEqual([200, 'half, and half'])
    expect(await open.dogs()).toEqual([])
  })

  it.each(['json', 'end'] as const)(
    'tells a middleware after it, which uses the database as the response leaves, to come before: %s',
    async (how) => {
      const told: string[] = []
      app.use(transactions(open.datastore))
      app.use((_request, response, next) => {
        const end = Reflect.get(response, 'end') as (...args: unknown[]) => typeof response
        // As express-session does it: what was taken from the response sends it, once the session is being saved.
        response.end = function (this: typeof response, ...args: unknown[]) {
          save('session').catch((error: unknown) => told.push(String(error)))
          return Reflect.apply(end, this, args)
        }
        next()
      })
      app.post('/dogs', (_request, response) => {
        if (how === 'json') response.status(201).json({ ok: true })
        else response.status(201).end()
      })
      app.use(((error: Error, _request, response, _next) => {
        response.status(500).end(error.message)
      }) satisfies ErrorRequestHandler)
      const response = await post(`${await serve()}/dogs`)
      expect(response.status).toBe(500)
      expect(await response.text()).toMatch(/a middleware sends it by a method .* before the one of the transactions/)
      expect(told).not.toEqual([])
      expect(await open.dogs()).toEqual([])
    },
  )

  it('lets informational responses leave before the transaction has ended', async () => {
    app.use(transactions(open.datastore))
    const informed = new Signal()
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        response.writeEarlyHints({ link: '</dogs.css>; rel=preload' })
        await informed.given
        response.status(201).end('made')
      }),
    )
    const { port } = new URL(await serve())
    const request = httpRequest({ port, method: 'POST', path: '/dogs' }).end()
    const [{ statusCode }] = await once(request, 'information')
    expect([statusCode, await open.dogs()]).toEqual([103, []])
    informed.give()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect([response.statusCode, await text(response)]).toEqual([201, 'made'])
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('shows a response that waits for the commit as sent', async () => {
    app.use(transactions(open.datastore))
    const seen: unknown[] = []
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        seen.push(response.headersSent, response.writableEnded)
        response.status(201).json({ made: true })
        seen.push(response.headersSent, response.writableEnded, response.writableFinished)
        response.status(500)
        for (const change of [() => response.set('x-late', '1'), () => response.removeHeader('content-type')]) {
          try {
            change()
          } catch (error) {
            seen.push((error as { code: unknown }).code)
          }
        }
      }),
    )
    const url = await serve()
    const response = await post(`${url}/dogs`)
    expect(response.status).toBe(201)
    expect(await response.json()).toEqual({ made: true })
    expect(seen).toEqual([false, false, true, true, false, 'ERR_HTTP_HEADERS_SENT', 'ERR_HTTP_HEADERS_SENT'])
    expect(response.headers.get('x-late')).toBeNull()
  })

  it('sends nothing by writeHead alone, so that the database can still be used', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        response.writeHead(201, { 'x-made': 'yes' })
        await save()
        response.end('made')
      }),
    )
    const url = await serve()
    const response = await post(`${url}/dogs`)
    expect(response.status).toBe(201)
    expect(response.headers.get('x-made')).toBe('yes')
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('takes back what writeHead alone has written when the commit fails', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        response.writeHead(201, { 'x-made': 'yes' })
        await saveInConflict()
        response.end('made')
      }),
    )
    app.use(problemDetails())
    const url = await serve()
    await recorder.insertEvents([storedEvent(fido, 1)])
    const response = await post(`${url}/dogs`)
    expect(response.headers.get('x-made')).toBeNull()
    await expectConflict(response)
  })

  it('keeps the headers that were set before it, and drops those of the success', async () => {
    app.use((_request, response, next) => {
      response.set({ 'access-control-allow-origin': '*', 'cache-control': 'no-store' })
      next()
    })
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await saveInConflict()
        response.set({ 'cache-control': 'max-age=60', location: '/dogs/1' }).cookie('dog', 'Fido').status(201).json({})
      }),
    )
    app.use(problemDetails())
    await recorder.insertEvents([storedEvent(fido, 1)])
    const response = await post(`${await serve()}/dogs`)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': '*',
      'cache-control': 'no-store',
    })
    expect(response.headers.get('location')).toBeNull()
    expect(response.headers.get('set-cookie')).toBeNull()
    await expectConflict(response)
  })

  it('rolls back behind rollbackOnError, whatever the status of the answer', async () => {
    failBehindRollback()
    app.use(polite)
    const response = await post(`${await serve()}/dogs`)
    expect(await response.json()).toEqual({ sorry: 'no' })
    expect(response.status).toBe(200)
    expect(await open.dogs()).toEqual([])
  })

  it('is no middleware without a datastore', () => {
    expect(() => transactions(undefined as unknown as typeof open.datastore)).toThrow('no datastore was given')
  })

  it('lets an error handler behind rollbackOnError store something by itself', async () => {
    failBehindRollback()
    const auditing: ErrorRequestHandler = async (error, _request, response, _next) => {
      await open.datastore.transaction(async () => await save('Cid'), { propagation: 'requiresNew' })
      response.status(500).json({ sorry: error.message })
    }
    app.use(auditing)
    const response = await post(`${await serve()}/dogs`)
    expect(await response.json()).toEqual({ sorry: 'no' })
    expect(await open.dogs()).toEqual(['Cid'])
  })

  it('answers a failed commit by the error handlers next to the route', async () => {
    app.use(transactions(open.datastore))
    const router = express.Router()
    router.post(
      '/dogs',
      transactions(open.datastore, { isolationLevel: 'Serializable' }),
      passingErrors(async (_request, response) => {
        await saveInConflict()
        response.status(201).json({})
      }),
    )
    router.use(own)
    app.use('/school', router)
    await recorder.insertEvents([storedEvent(fido, 1)])
    const response = await post(`${await serve()}/school/dogs`)
    expect(response.status).toBe(409)
    expect(await response.json()).toEqual({ own: 'ES_CONCURRENCY', url: '/school/dogs' })
    expect(await open.dogs()).toEqual([])
  })

  it('refuses options that come after the first use', async () => {
    app.use(transactions(open.datastore))
    app.use(
      passingErrors(async (_request, _response, next) => {
        await recorder.appendEvents([storedEvent(fido, 1)])
        next()
      }),
    )
    app.post('/dogs', transactions(open.datastore, { readOnly: true }), (_request, response) => {
      response.status(201).end()
    })
    app.use(problemDetails())
    const response = await post(`${await serve()}/dogs`)
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({ code: 'ES_PROGRAMMING' })
    expect(await open.database.query('SELECT * FROM stored_events')).toEqual([])
  })

  it('refuses a streamed body where the options say so', async () => {
    app.use(transactions(open.datastore, { stream: 'refuse' }))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        Readable.from(['a', 'b']).pipe(response)
      }),
    )
    app.use(problemDetails())
    const response = await post(`${await serve()}/dogs`)
    expect(response.status).toBe(500)
    expect(await open.dogs()).toEqual([])
  })

  it('skips what the app says', async () => {
    app.use(transactions(open.datastore, { skip: (request) => request.path === '/events' }))
    app.post('/events', (_request, response) => {
      response.json({ has: open.datastore.tryCurrentTransaction !== undefined })
    })
    expect(await (await post(`${await serve()}/events`)).json()).toEqual({ has: false })
  })

  it('is not disturbed by an error that a handler throws after it has answered', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        response.status(201).json({ made: true })
        throw new Error('after the answer')
      }),
    )
    app.use(problemDetails())
    const socket = await postRaw(Number(new URL(await serve()).port), '/dogs')
    const received = await new Promise<string>((resolve) => {
      let text = ''
      socket.on('data', (part) => (text += String(part)))
      socket.on('close', () => resolve(text))
    })
    expect(received).toContain('201 Created')
    expect(received).toContain('{"made":true}')
    expect(await open.dogs()).toEqual(['Fido'])
  })

  it('lets a body be compressed by hand', async () => {
    app.use(transactions(open.datastore))
    app.post(
      '/dogs',
      passingErrors(async (_request, response) => {
        await save()
        response.set('content-encoding', 'gzip').send(gzipSync('{"made":true}'))
      }),
    )
    expect(await (await post(`${await serve()}/dogs`)).json()).toEqual({ made: true })
  })
})
