/** `npm run torture -- --http`: hostile requests among good ones, on each framework; prints what came of it, and fails for any fault. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { frameworks } from '../../http/servers.js'
import { databases, type TestDatabaseKind } from '../../support/databases.js'
import { type HttpTortureSettings, type Mutation, mutations } from './plan.js'
import { faultsOf, growthOf, tortureHttp } from './torture.js'

const names: Readonly<Record<string, RegExp>> = {
  postgresql: /PostgreSQL/,
  sqlite: /better-sqlite3|libsql/,
  'better-sqlite3': /better-sqlite3/,
  libsql: /libsql/,
  mariadb: /MariaDB/,
}
const { values } = parseArgs({
  options: {
    http: { type: 'boolean' },
    database: { type: 'string' },
    framework: { type: 'string' },
    requests: { type: 'string', default: '10000' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    mutation: { type: 'string' },
    json: { type: 'string' },
  },
})
const reports: object[] = []
for (const kind of chosenDatabases()) {
  for (const framework of chosenFrameworks()) await show(kind, framework)
}
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(reports, null, 2))

async function show(kind: TestDatabaseKind, framework: string): Promise<void> {
  const mutation = chosenMutation()
  const settings: HttpTortureSettings = {
    framework,
    requests: Number(values.requests),
    seed: Number(values.seed),
    ...(mutation === undefined ? {} : { mutation }),
  }
  console.log(`\n${kind.name}, ${JSON.stringify(settings)}`)
  const result = await tortureHttp(kind, settings)
  const { requests, seconds, acknowledged, unknownToClient, heap, longest } = result
  console.log(
    `${requests} requests in ${seconds.toFixed(0)} s: ${acknowledged} answered with success and stored, ` +
      `${unknownToClient} stored whose client did not wait for the answer; the longest wait was ${longest}`,
  )
  const megabytes = heap.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(', ')
  console.log(
    `heap at 0, 25, 50, 75 and 100 %: ${megabytes} MiB; ${growthOf(result).toFixed(0)} bytes per request since 50 %`,
  )
  const faults = faultsOf(result)
  console.table(Object.fromEntries(Object.entries(faults).map(([fault, seen]) => [fault, { count: seen.length }])))
  for (const [fault, seen] of Object.entries(faults)) {
    for (const one of seen.slice(0, 5)) console.log(`${fault}: ${one}`)
    if (seen.length > 0) process.exitCode = 1
  }
  reports.push({ database: kind.name, settings, result, faults })
}

function chosenDatabases(): TestDatabaseKind[] {
  const mariadb = process.env['TEST_MARIADB_URL'] === undefined ? '' : ',mariadb'
  const wanted = (values.database ?? `postgresql,sqlite${mariadb}`).split(',')
  return wanted.map((name) => {
    const kind = databases.find((known) => names[name]?.test(known.name) === true)
    if (kind !== undefined) return kind
    throw new Error(
      `There is no database '${name}' here: use some of ${Object.keys(names).join(', ')}, with its server named.`,
    )
  })
}

function chosenFrameworks(): string[] {
  const all = frameworks.map(({ name }) => name)
  if (values.framework === undefined) return all
  const wanted = values.framework.split(',')
  const unknown = wanted.find((name) => !all.includes(name))
  if (unknown === undefined) return wanted
  throw new Error(`There is no framework '${unknown}': use some of ${all.join(', ')}.`)
}

function chosenMutation(): Mutation | undefined {
  if (values.mutation === undefined) return undefined
  const mutation = mutations.find((known) => known === values.mutation)
  if (mutation !== undefined) return mutation
  throw new Error(`There is no mutation '${values.mutation}': use one of ${mutations.join(', ')}.`)
}
