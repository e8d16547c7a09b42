/** The demo: migrates a new SQLite file, starts the Fastify example, sends it requests, shows what was stored, and stops. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openDatabase } from './db.js'
import { fastifyServer } from './fastify.js'

const here = dirname(fileURLToPath(import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'training-school-'))
const url = `file:${join(folder, 'demo.db')}`

heading('Migrate: npx eventsourcing-prisma migrate')
const command = join(here, '../src/cli/main.ts')
const migrated = spawnSync(
  process.execPath,
  ['--import', 'tsx', command, 'migrate', '--url', url, '--migrations', join(here, 'prisma/migrations')],
  { stdio: 'inherit', cwd: join(here, '..') },
)
if (migrated.status !== 0) process.exit(migrated.status ?? 1)

const database = openDatabase(url)
const server = await fastifyServer(database)
const origin = await server.listen({ host: '127.0.0.1', port: 0 })

heading('HTTP: each request is one transaction of events and rows')
await send('POST', '/dogs', { name: 'Fido', owner: 'Ann' })
await send('POST', '/dogs/Fido/tricks', { trick: 'roll over' })
await send('POST', '/dogs/Fido/tricks', { trick: 'play dead' })
await send('GET', '/dogs/Fido')

heading('A handler that fails after it has saved the events and the row')
await send('POST', '/failing', { name: 'Rex', owner: 'Bea' })
await send('GET', '/dogs/Rex')

heading('The events table')
const events = await database.db.trainingSchoolEvent.findMany({ orderBy: { id: 'asc' } })
console.table(
  events.map(({ id, originatorId, originatorVersion, topic, state }) => ({
    id,
    originatorId,
    version: Number(originatorVersion),
    topic,
    state: new TextDecoder().decode(state),
  })),
)

heading('The notification log, section "1,10"')
const section = await database.school.notificationLog.section('1,10')
console.table(section.items.map(({ id, topic, originatorVersion }) => ({ id: String(id), topic, originatorVersion })))

heading('The rows of the model Owner')
console.table(await database.db.owner.findMany())

await server.close()
await database.datastore.close()
rmSync(folder, { recursive: true })

function heading(text: string): void {
  console.log(`\n── ${text}\n`)
}

async function send(method: string, path: string, body?: object): Promise<void> {
  const init = body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
  const response = await fetch(`${origin}${path}`, { method, ...init })
  console.log(`${method} ${path} ${body === undefined ? '' : JSON.stringify(body)}`)
  console.log(`  ${response.status} ${await response.text()}`)
}
