/**
 * A process that takes the only writer of an SQLite file when it is told to, and lets go when it is told so.
 *
 * Arguments: the adapter's package, its class, the database's URL.
 */
import { createRequire } from 'node:module'
import type { Adapter } from '../support/databases.js'

const [packageName = '', className = '', url = ''] = process.argv.slice(2)
const adapters: Record<string, new (options: { url: string }) => Adapter> = createRequire(import.meta.url)(packageName)
const AdapterFactory = adapters[className]
if (AdapterFactory === undefined) throw new Error(`${packageName} exports no ${className}`)

const connection = await new AdapterFactory({ url }).connect()
const send = async (sql: string): Promise<void> => {
  await connection.executeRaw({ sql, args: [], argTypes: [] })
  process.send?.(sql)
}
process.on('message', (sql) => void send(String(sql)))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
