/** Serves the API for a while, from a new SQLite file or the database of DATABASE_URL, to whoever looks at it from outside. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * Starts the server by its command, and stops it after the visit.
 *
 * @param visit - is given where the API is, such as `http://127.0.0.1:4711/api`
 * @returns what the visit gives
 */
export async function served(visit) {
  const folder = mkdtempSync(join(tmpdir(), 'conduit-'))
  const env = { DATABASE_URL: `file:${join(folder, 'conduit.db')}`, ...process.env, PORT: '0' }
  const start = join(dirname(fileURLToPath(import.meta.url)), 'start.mjs')
  const server = spawn(process.execPath, [start], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  try {
    return await visit(await Promise.race([addressOf(server), ended.then(notStarted)]))
  } finally {
    server.kill('SIGTERM')
    await ended
    rmSync(folder, { recursive: true })
  }
}

async function addressOf(server) {
  let printed = ''
  for await (const text of server.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    printed += text
    const [, found] = /serves (http\S+)/.exec(printed) ?? []
    if (found === undefined) continue
    server.stdout.resume()
    return found
  }
}

function notStarted() {
  throw new Error('The server has not started.')
}
