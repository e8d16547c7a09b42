/**
 * `npm run bench -- --browser`: the page that shows what is stored, over a log of a million events on PostgreSQL: how soon it is drawn in Chromium, how long each of its
 * requests takes, how much memory the server has meanwhile, and how often the log is counted.
 */
import { parseArgs } from 'node:util'
import { Aggregate, Application, event, PrismaDatastore } from 'eventsourcing-prisma'
import { browser } from 'eventsourcing-prisma/browser'
import Fastify from 'fastify'
import { chromium } from 'playwright-core'
import { databasesOf } from '../test/support/databases.js'
import { median } from './measure.js'

const { values } = parseArgs({
  options: {
    browser: { type: 'boolean' },
    events: { type: 'string', default: '1000000' },
    requests: { type: 'string', default: '200' },
    chromium: { type: 'string', default: '/usr/bin/chromium' },
  },
})
const [events, requests] = [Number(values.events), Number(values.requests)]
/** Of each ten streams one is a dog with so many events, the others are deliveries with the same. */
const eventsPerStream = 10

@event('Registered', 'name')
class Dog extends Aggregate {
  readonly tricks: string[] = []
  readonly name: string
  constructor(name: string) {
    super()
    this.name = name
  }
  @event('TrickAdded', 'trick') addTrick(trick: string): void {
    this.tricks.push(trick)
  }
}

class Kennel extends Application {}

const [kind] = databasesOf('postgresql')
if (kind === undefined) throw new Error('There is no PostgreSQL: set TEST_POSTGRES_URL.')
const database = await kind.createDatabase()
const datastore = new PrismaDatastore({ adapter: database.adapter(), client: (adapter) => database.newClient(adapter) })
const kennel = new Kennel({ datastore, env: { CREATE_TABLE: 'yes' } })
try {
  await kennel.ready()
  await fill()
  await measure()
} finally {
  await datastore.close()
  await database.drop()
}

async function fill(): Promise<void> {
  const long = new Dog('Methuselah')
  for (let index = 0; index < 1_000; index += 1) long.addTrick(`trick ${index}`)
  await kennel.save(long)
  const streams = Math.floor(events / eventsPerStream)
  const time = `'"timestamp":{"_type_":"datetime_iso","_data_":"2026-01-01T00:00:00.000000+00:00"}'`
  // In the order of their ids: the first events of all streams, then the second ones, as many users at once would store them.
  await database.query(
    `INSERT INTO kennel_events (originator_id, originator_version, topic, state)
     SELECT md5('stream ' || s)::uuid, v,
       CASE WHEN s % 10 = 0 THEN 'Dog.' || CASE WHEN v = 1 THEN 'Registered' ELSE 'TrickAdded' END
            ELSE 'Delivery.' || CASE WHEN v = 1 THEN 'Ordered' ELSE 'Moved' END END,
       convert_to('{' || ${time} || CASE WHEN v = 1 THEN ',"name":"dog ' || s || '"}' ELSE ',"trick":"trick ' || v || ' of ' || s || '"}' END, 'UTF8')
     FROM generate_series(1, ${eventsPerStream}) AS v, generate_series(1, ${streams}) AS s ORDER BY v, s`,
  )
  await database.query('VACUUM ANALYZE kennel_events')
}

async function measure(): Promise<void> {
  const server = Fastify()
  await server.register(browser, {
    prefix: '/events',
    application: kennel,
    datastore,
    kinds: { Dog },
    authorize: () => true,
  })
  const url = `${await server.listen({ port: 0, host: '127.0.0.1' })}/events`
  try {
    await firstPaints(url)
    await eachRequest(url)
    await memory(url)
  } finally {
    await server.close()
  }
}

/** In a new context each time, so that nothing is kept: the page with the kinds, and with the longest stream. */
async function firstPaints(url: string): Promise<void> {
  const chrome = await chromium.launch({
    executablePath: values.chromium,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic'],
  })
  try {
    const [stream] = await database.query(
      'SELECT originator_id AS id FROM kennel_events ORDER BY kennel_events.id LIMIT 1',
    )
    for (const path of ['', '#/log', '#/kind/Dog', `#/stream/${String(stream?.['id'])}`]) {
      const [paints, whole]: [number[], number[]] = [[], []]
      for (let round = 0; round < 5; round += 1) {
        const context = await chrome.newContext()
        const page = await context.newPage()
        const startedAt = performance.now()
        await page.goto(`${url}/${path}`)
        await page.locator('main table, main ol.events > li').first().waitFor()
        whole.push(performance.now() - startedAt)
        paints.push(
          await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? Number.NaN),
        )
        await context.close()
      }
      console.log(`page ${path.slice(0, 12) || '/'}: first paint ${told(paints)}, with its content ${told(whole)}`)
    }
  } finally {
    await chrome.close()
  }
}

async function eachRequest(url: string): Promise<void> {
  const ids = await database.query(
    `SELECT originator_id AS id FROM kennel_events TABLESAMPLE SYSTEM (0.1) WHERE topic LIKE 'Dog.%' LIMIT 100`,
  )
  const [long] = await database.query(`SELECT originator_id AS id FROM kennel_events ORDER BY kennel_events.id LIMIT 1`)
  const some = (): string => String(ids[Math.floor(Math.random() * ids.length)]?.['id'])
  const asked: Readonly<Record<string, () => string>> = {
    'kinds, counted before': () => 'kinds',
    'streams of a kind': () => `streams?kind=Dog&before=${Math.floor(events / 20)}`,
    'streams of a kind that no option names': () => `streams?kind=Delivery&before=${Math.floor(events / 20)}`,
    'a part of the log in which no stream began': () => 'streams?kind=Dog',
    'a stream of 10 events': () => `stream?id=${some()}`,
    'its state': () => `state?id=${some()}&version=5`,
    'a stream of 1,001 events': () => `stream?id=${String(long?.['id'])}`,
    'its state, the last version': () => `state?id=${String(long?.['id'])}&version=1001`,
    'an event by position': () => `event?position=${1 + Math.floor(Math.random() * events)}`,
    'the end of the log': () => 'log',
    'a search of 10,000 events': () => `related?name=correlationId&value=none&from=${Math.floor(events / 2)}`,
  }
  for (const [name, path] of Object.entries(asked)) {
    const times: number[] = []
    for (let count = 0; count < (name.includes('search') ? 10 : 30); count += 1) {
      const startedAt = performance.now()
      await ask(`${url}/api/${path()}`)
      times.push(performance.now() - startedAt)
    }
    console.log(`${name}: ${told(times)}`)
  }
  const startedAt = performance.now()
  await database.query('SELECT topic, count(*) FROM kennel_events GROUP BY topic')
  console.log(`counting the log, which is done beside the answers: ${Math.round(performance.now() - startedAt)} ms`)
}

async function memory(url: string): Promise<void> {
  const ids = await database.query(
    `SELECT DISTINCT originator_id AS id FROM kennel_events TABLESAMPLE SYSTEM (1) WHERE topic LIKE 'Dog.%' LIMIT ${requests}`,
  )
  const used: number[] = []
  for (let round = 0; round < 5; round += 1) {
    for (const { id } of ids) {
      await ask(`${url}/api/stream?id=${String(id)}`)
      await ask(`${url}/api/state?id=${String(id)}&version=10`)
      await ask(`${url}/api/log?before=${1 + Math.floor(Math.random() * events)}`)
    }
    globalThis.gc?.()
    used.push(Math.round(process.memoryUsage().heapUsed / 1e5) / 10)
  }
  console.log(`heap after each ${ids.length * 3} requests, MB: ${used.join(', ')}`)
}

async function ask<T = unknown>(url: string): Promise<T> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url} has answered ${response.status}: ${await response.text()}`)
  return (await response.json()) as T
}

function told(times: readonly number[]): string {
  return `${Math.round(median(times))} ms (at most ${Math.round(Math.max(...times))})`
}
