/** `npm run torture -- --decisions`: tortures decisions on one database, prints what came of it, and fails for a wrong one. */
import { parseArgs } from 'node:util'
import { databases } from '../../support/databases.js'
import { variants } from './plan.js'
import { tortureDecisions } from './torture.js'

const names: Readonly<Record<string, RegExp>> = {
  postgresql: /PostgreSQL/,
  sqlite: /better-sqlite3|libsql/,
  mariadb: /MariaDB/,
}
const { values } = parseArgs({
  options: {
    decisions: { type: 'boolean' },
    database: { type: 'string', default: 'sqlite' },
    seconds: { type: 'string', default: '60' },
    writers: { type: 'string', default: '16' },
    processes: { type: 'string', default: '4' },
    variant: { type: 'string', default: 'guarded' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const kind = databases.find(({ name }) => names[values.database]?.test(name) === true)
const variant = variants.find((known) => known === values.variant)
if (kind === undefined || variant === undefined) {
  throw new Error(
    `There is no database '${values.database}' here, or no variant '${values.variant}': use one of ${Object.keys(names).join(', ')}, ` +
      `with its server named, and of ${variants.join(', ')}.`,
  )
}
const settings = {
  seconds: Number(values.seconds),
  writers: Number(values.writers),
  processes: Number(values.processes),
  seed: Number(values.seed),
  variant,
}
console.log(`${kind.name}, ${JSON.stringify(settings)}`)
const { others, ...result } = await tortureDecisions(kind, settings)
console.log(JSON.stringify(result))
for (const [text, count] of Object.entries(others)) console.log(`${count} times: ${text}`)
process.exitCode = result.wrong + result.deadlocks + Object.keys(others).length === 0 ? 0 : 1
