/** `npm run torture -- --relay`: tortures a relay on PostgreSQL, prints what came of it, and fails for any fault. */
import { parseArgs } from 'node:util'
import { natsUrl, rabbitUrl } from '../../relay/brokers.js'
import { databasesOf } from '../../support/databases.js'
import { tortureRelay } from './torture.js'

const { values } = parseArgs({
  options: {
    relay: { type: 'boolean' },
    broker: { type: 'string', default: 'jetstream' },
    events: { type: 'string', default: '100000' },
    writers: { type: 'string', default: '8' },
    kills: { type: 'string', default: '50' },
    seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
  },
})
const { broker } = values
if (broker !== 'jetstream' && broker !== 'rabbitmq') throw new Error(`There is no broker '${broker}' here.`)
const variable = broker === 'jetstream' ? 'TEST_NATS_URL' : 'TEST_RABBITMQ_URL'
if ((broker === 'jetstream' ? natsUrl : rabbitUrl) === undefined) throw new Error(`Name the broker in ${variable}.`)
const [kind] = databasesOf('postgresql')
if (kind === undefined) throw new Error('Name a PostgreSQL server in TEST_POSTGRES_URL.')
const settings = {
  broker,
  events: Number(values.events),
  writers: Number(values.writers),
  kills: Number(values.kills),
  seed: Number(values.seed),
} as const
console.log(`${kind.name}, ${JSON.stringify(settings)}`)
const { stored, delivered, kills, stops, lost, doubled, recognised, outOfOrder, seconds } = await tortureRelay(
  kind,
  settings,
)
console.log(
  `${stored} events in ${seconds.toFixed(0)} s, ${kills} times a relay killed and doubled, ${stops} of them after it was stopped for longer than its ` +
    `lease: ${delivered} taken, ${lost} lost, ${doubled} doubled, ${outOfOrder} out of order; ${recognised} came again and were passed over`,
)
process.exitCode = lost + doubled + outOfOrder === 0 ? 0 : 1
