/**
 * One of several processes that append to the same stream of one SQLite file, each in transactions that read first.
 *
 * Arguments: the adapter's package, its class, the database's URL, the originator's id, how many transactions.
 */
import { createRequire } from 'node:module'
import { PrismaApplicationRecorder, PrismaDatastore } from '../../src/index.js'
import type { Adapter } from '../support/databases.js'

const [packageName = '', className = '', url = '', originatorId = '', count = '0'] = process.argv.slice(2)
const adapters: Record<string, new (options: { url: string }) => Adapter> = createRequire(import.meta.url)(packageName)
const AdapterFactory = adapters[className]
if (AdapterFactory === undefined) throw new Error(`${packageName} exports no ${className}`)

await using datastore = new PrismaDatastore({ adapter: new AdapterFactory({ url }), deadlineMs: 30_000 })
const recorder = new PrismaApplicationRecorder(datastore)
for (let n = 0; n < Number(count); n++) {
  await datastore.transaction(async () => {
    const [last] = await recorder.selectEvents(originatorId, { desc: true, limit: 1 })
    const originatorVersion = (last?.originatorVersion ?? 0) + 1
    const state = new TextEncoder().encode(String(process.pid))
    await recorder.appendEvents([{ originatorId, originatorVersion, topic: 'Counted', state }])
  })
}
