/**
 * `npm run collection`: serves the API from a new SQLite file, and lets newman send it the public Postman collection of the RealWorld
 * project, which is downloaded; or one from a file: `npm run collection -- ./Conduit.postman_collection.json`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const commit = '747190ecf0bb27d461cf1100f6cb3468c6c914ed'
const published = `https://raw.githubusercontent.com/gothinkster/realworld/${commit}/api/Conduit.postman_collection.json`
const [collection = published] = process.argv.slice(2)

const folder = mkdtempSync(join(tmpdir(), 'conduit-'))
const env = { DATABASE_URL: `file:${join(folder, 'conduit.db')}`, ...process.env, PORT: '0' }
const start = join(dirname(fileURLToPath(import.meta.url)), 'start.mjs')
const server = spawn(process.execPath, [start], { env, stdio: ['ignore', 'pipe', 'inherit'] })

const origin = await new Promise((resolve, reject) => {
  let printed = ''
  server.stdout.on('data', (text) => {
    printed += text
    const [, found] = /serves (http\S+)\/api/.exec(printed) ?? []
    if (found !== undefined) resolve(found)
  })
  server.on('exit', () => reject(new Error(`The server has not started:\n${printed}`)))
})

const user = `u${Date.now()}`
const variables = { APIURL: `${origin}/api`, USERNAME: user, EMAIL: `${user}@mail.com`, PASSWORD: 'password' }
const globals = Object.entries(variables).flatMap(([name, value]) => ['--global-var', `${name}=${value}`])
const { status } = spawnSync('npx', ['--yes', 'newman@6.2.2', 'run', collection, ...globals], {
  stdio: 'inherit',
  shell: process.platform === 'win32',
})

server.removeAllListeners('exit')
server.on('exit', () => {
  rmSync(folder, { recursive: true })
  process.exitCode = status ?? 1
})
server.kill('SIGTERM')
