/** Serves the API until SIGTERM or SIGINT. `npm start` makes the tables before. */
import { randomBytes } from 'node:crypto'
import { openDatabase } from './db.js'
import { conduitServer } from './server.js'

const { DATABASE_URL: url, SECRET: secret, HOST: host = '127.0.0.1', PORT: port = '3000' } = process.env
if (url === undefined) throw new Error('Set DATABASE_URL, such as file:./conduit.db or postgresql://user@host/conduit.')
if (secret === undefined) console.log('Tokens end with this process, since SECRET is not set.')

const server = await conduitServer(openDatabase(url), secret ?? randomBytes(32).toString('hex'))
const origin = await server.listen({ host, port: Number(port) })
console.log(`Conduit serves ${origin}/api from ${url.startsWith('file:') ? url : 'PostgreSQL'}`)

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void server.close())
