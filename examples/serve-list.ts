/** Serves the list of dogs on a new SQLite file, until SIGTERM or SIGINT. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { migrate } from '../src/cli/migrations.js'
import { openDatabase } from './db.js'
import { dogListRunner } from './dog-list.js'
import { listPage } from './list-page.js'

const folder = mkdtempSync(join(tmpdir(), 'dog-list-'))
const url = `file:${join(folder, 'list.db')}`
await migrate({ url, migrations: fileURLToPath(new URL('./prisma/migrations', import.meta.url)) })

const database = openDatabase(url)
const runner = dogListRunner(database)
await runner.start()
const server = listPage(database, runner).listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')
await once(server, 'listening')
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)

await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')])
server.close()
server.closeAllConnections()
await runner.stop()
await database.datastore.close()
rmSync(folder, { recursive: true })
