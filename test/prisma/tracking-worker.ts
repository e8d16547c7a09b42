/**
 * One of several processes that process the same notifications: it says `ready`, waits for a line, and tells which of them
 * it was the first to track.
 *
 * Arguments: the adapter's package, its class, what the class is given as JSON, how many notifications.
 */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { IntegrityError, PrismaDatastore, PrismaTrackingRecorder } from '../../src/index.js'
import type { Adapter } from '../support/databases.js'

const [packageName = '', className = '', options = '', count = '0'] = process.argv.slice(2)
const adapters: Record<string, new (options: unknown) => Adapter> = createRequire(import.meta.url)(packageName)
const AdapterFactory = adapters[className]
if (AdapterFactory === undefined) throw new Error(`${packageName} exports no ${className}`)

await using datastore = new PrismaDatastore({ adapter: new AdapterFactory(JSON.parse(options)) })
const recorder = new PrismaTrackingRecorder(datastore)
await recorder.maxTrackingId('up')
process.stdout.write('ready\n')
await once(process.stdin, 'data')
const won: number[] = []
for (let id = 1; id <= Number(count); id += 1) {
  try {
    await recorder.insertTracking({ applicationName: 'up', notificationId: BigInt(id) })
    won.push(id)
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error
  }
}
process.stdout.write(`${JSON.stringify(won)}\n`)
process.stdin.destroy()
