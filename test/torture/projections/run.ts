/** `npm run torture -- --projections`: tortures projections on one database, prints what came of it, and fails for any fault. */
import { parseArgs } from 'node:util'
import { type RestartableServer, startMariadb, startPostgresql } from '../../restarts/servers.js'
import { databases } from '../../support/databases.js'
import { tortureProjections } from './torture.js'

const names: Readonly<Record<string, RegExp>> = {
  postgresql: /PostgreSQL/,
  sqlite: /better-sqlite3|libsql/,
  'better-sqlite3': /better-sqlite3/,
  libsql: /libsql/,
  mariadb: /MariaDB/,
}
const { values } = parseArgs({
  options: {
    projections: { type: 'boolean' },
    database: { type: 'string', default: 'sqlite' },
    events: { type: 'string', default: '100000' },
    runners: { type: 'string', default: '4' },
    kills: { type: 'string', default: '8' },
    stops: { type: 'string', default: '4' },
    restarts: { type: 'string', default: '0' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
    unguarded: { type: 'boolean', default: false },
  },
})
const restarts = Number(values.restarts)
const starters: Readonly<Record<string, () => Promise<RestartableServer>>> = {
  postgresql: startPostgresql,
  mariadb: startMariadb,
}
// What is restarted is a server of its own.
const server = restarts > 0 ? await starters[values.database]?.() : undefined
if (restarts > 0 && server === undefined) throw new Error(`There is no server to restart for '${values.database}'.`)
const kind = server?.kind ?? databases.find(({ name }) => names[values.database]?.test(name) === true)
if (kind === undefined) {
  throw new Error(
    `There is no database '${values.database}' here: use one of ${Object.keys(names).join(', ')}, with its server named.`,
  )
}
const settings = {
  events: Number(values.events),
  runners: Number(values.runners),
  kills: Number(values.kills),
  stops: Number(values.stops),
  seed: Number(values.seed),
  isProtected: !values.unguarded,
  rebuilds: !values.unguarded,
  restarts,
  ...(server === undefined
    ? {}
    : {
        async restart() {
          await server.stop('SIGKILL')
          await server.start()
        },
      }),
}
console.log(`${kind.name}, ${JSON.stringify(settings)}`)
const result = await tortureProjections(kind, settings).catch(async (error: unknown) => {
  await server?.remove()
  throw error
})
await server?.remove()
const { events, seconds, kills, stops, rebuilds, doubled, missed, wrongSums } = result
console.log(
  `${events} events in ${seconds.toFixed(0)} s, ${kills} times a runner killed and ${stops} times stopped, the server ${result.restarts} times restarted, ${rebuilds} rebuilt: ` +
    `${doubled} events doubled, ${missed} missed, ${wrongSums} accounts with a wrong number or sum`,
)
process.exitCode = doubled + missed + wrongSums === 0 ? 0 : 1
