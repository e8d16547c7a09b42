/** `npm run torture`: tortures one database, prints what came of it, and fails unless nothing was lost, repeated or out of order. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { LogOrder } from '../../src/index.js'
import { databases, type TestDatabaseKind } from '../support/databases.js'
import { readerRoles } from './plan.js'
import { measureThroughput } from './throughput.js'
import { torture } from './torture.js'

const names: Readonly<Record<string, RegExp>> = {
  postgresql: /PostgreSQL/,
  sqlite: /better-sqlite3|libsql/,
  'better-sqlite3': /better-sqlite3/,
  libsql: /libsql/,
  mariadb: /MariaDB/,
}
const { values } = parseArgs({
  options: {
    database: { type: 'string', default: 'sqlite' },
    writers: { type: 'string', default: '8' },
    'python-writers': { type: 'string', default: '0' },
    order: { type: 'string' },
    events: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    kills: { type: 'string', default: '8' },
    readers: { type: 'string' },
    unprotected: { type: 'boolean', default: false },
    throughput: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})
const pattern = names[values.database]
const kind = databases.find(({ name }) => (values.throughput ? names['postgresql'] : pattern)?.test(name) === true)
if (kind === undefined) {
  throw new Error(
    `There is no database '${values.database}' here: use one of ${Object.keys(names).join(', ')}, with its server named.`,
  )
}
if (values.throughput) await showThroughput(kind)
else await showTorture(kind)

async function showThroughput(postgresql: TestDatabaseKind): Promise<void> {
  const measured = await measureThroughput(postgresql)
  const [guarded, bare] = [median(measured.protected), median(measured.unprotected)]
  console.log(
    `16 writers, transactions open 50 ms after the save: ${guarded.toFixed(1)} per second protected, ` +
      `${bare.toFixed(1)} unprotected, ratio ${(guarded / bare).toFixed(3)}`,
  )
  console.log(JSON.stringify(measured))
}

async function showTorture(tortured: TestDatabaseKind): Promise<void> {
  const settings = {
    writers: Number(values.writers),
    pythonWriters: Number(values['python-writers']),
    ...(values.order === undefined ? {} : { order: chosenOrder(values.order) }),
    events: Number(values.events),
    seed: Number(values.seed),
    kills: Number(values.kills),
    isProtected: !values.unprotected,
    ...(values.readers === undefined ? {} : { readers: chosenReaders(values.readers, tortured) }),
  }
  if (settings.pythonWriters > 0 && tortured.provider !== 'postgresql') {
    throw new Error('Writers like those of the Python library take a lock that PostgreSQL alone has.')
  }
  console.log(`${tortured.name}, ${JSON.stringify(settings)}`)
  const result = await torture(tortured, settings)
  const { stored, seconds, writersKilled, readersKilled, acknowledgedAndGone, holes } = result
  console.log(
    `${stored} events stored in ${seconds.toFixed(0)} s, ${writersKilled} times a writer and ${readersKilled} times a reader killed, ` +
      `${acknowledgedAndGone} acknowledged and not stored, ${holes} holes in the streams`,
  )
  console.table(
    Object.fromEntries(
      result.readers.map(({ reader, seen, lost, duplicated, outOfOrder, invented, p50, p99 }) => [
        reader,
        { seen, lost, duplicated, 'out of order': outOfOrder, invented, 'p50 ms': shown(p50), 'p99 ms': shown(p99) },
      ]),
    ),
  )
  if (values.json !== undefined)
    writeFileSync(values.json, JSON.stringify({ database: tortured.name, settings, result }, null, 2))
  const faults = result.readers.reduce(
    (sum, { lost, duplicated, outOfOrder, invented }) => sum + lost + duplicated + outOfOrder + invented,
    acknowledgedAndGone + holes,
  )
  process.exitCode = faults === 0 ? 0 : 1
}

function chosenReaders(names: string, { name, provider }: TestDatabaseKind) {
  return names.split(',').map((wanted) => {
    const role = readerRoles.find((known) => known === wanted)
    if (role !== undefined && ((role !== 'listening' && role !== 'plain') || provider === 'postgresql')) return role
    throw new Error(`There is no reader '${wanted}' on ${name}: use some of ${readerRoles.join(', ')}.`)
  })
}

function chosenOrder(name: string): LogOrder {
  if (name === 'floor-lock' || name === 'table-lock') return name
  throw new Error(`There is no order '${name}': use floor-lock or table-lock.`)
}

function shown(milliseconds: number | undefined): string {
  return milliseconds === undefined ? '' : milliseconds.toFixed(1)
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}
