/** Apps of Express 5 and 4 and of Fastify beside third-party packages: what they store, and a client that sends bodies in parts. */
import { request as httpRequest } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import express5, { type Express } from 'express'
import express4 from 'express4'
import Fastify, { type FastifyInstance } from 'fastify'
import { Dog, TrainingSchool } from '../../application/dogs.js'
import { type Listening, listen } from '../../http/listening.js'
import { type OpenDatabase, openDatabase } from '../../prisma/open-database.js'
import type { TestDatabaseKind } from '../../support/databases.js'

export const expresses: ReadonlyArray<{ readonly name: string; readonly makeApp: () => Express }> = [
  { name: 'Express 5', makeApp: () => quiet(express5()) },
  { name: 'Express 4', makeApp: () => quiet(express4()) },
]

/** Express writes every error to standard error otherwise. */
function quiet(app: Express): Express {
  app.set('env', 'test')
  return app
}

export const startExpress = async (app: Express): Promise<Listening> => await listen(app)

export async function startFastify(prepare: (app: FastifyInstance) => Promise<void>): Promise<Listening> {
  const app = Fastify({ forceCloseConnections: true })
  await prepare(app)
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url, port: Number(new URL(url).port), close: async () => await app.close() }
}

/** A database with an application on it. */
export class Kennel {
  readonly open: OpenDatabase
  readonly school: TrainingSchool

  private constructor(open: OpenDatabase) {
    this.open = open
    this.school = new TrainingSchool({ datastore: open.datastore })
  }

  static async open(kind: TestDatabaseKind, options?: Parameters<typeof openDatabase>[1]): Promise<Kennel> {
    return new Kennel(await openDatabase(kind, options))
  }

  /** Stores a row and an event. */
  async register(dog: string): Promise<void> {
    await this.school.register(dog)
    await this.open.db.owner.create({ data: { name: 'Ann', dog } })
  }

  /** How many rows and events another connection sees of a dog. */
  async stored(dog: string): Promise<{ rows: number; events: number }> {
    const { database } = this.open
    const id = Dog.createId(dog)
    const events = await database.query(`SELECT originator_id FROM trainingschool_events WHERE originator_id = '${id}'`)
    return { rows: (await this.open.dogs()).filter((name) => name === dog).length, events: events.length }
  }

  async clear(): Promise<void> {
    await this.open.clear()
    for (const table of ['trainingschool_events', 'sessions']) await this.open.database.query(`DELETE FROM ${table}`)
  }

  async close(): Promise<void> {
    await this.open.close()
  }
}

/** Sends a body in parts, with pauses, so that a server reads on when a handler has begun. */
export async function postInParts(
  url: string,
  type: string,
  parts: readonly string[],
): Promise<{ status: number; text: string }> {
  return await new Promise((resolve, reject) => {
    const length = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0)
    const request = httpRequest(url, { method: 'POST', headers: { 'content-type': type, 'content-length': length } })
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.on('error', reject)
    })
    const send = async (): Promise<void> => {
      for (const part of parts) {
        request.write(part)
        await delay(3)
      }
      request.end()
    }
    send().catch(reject)
  })
}

const boundary = 'XX'
export const multipartType = `multipart/form-data; boundary=${boundary}`

/** A form with one file, in parts. */
export const multipartParts: readonly string[] = [
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n`,
  ...Array.from({ length: 4 }, () => 'x'.repeat(40_000)),
  `\r\n--${boundary}--\r\n`,
]
