/** One server of a comparison, in a process of its own: which one is in its first argument, the database in its second. */
import { httpServers } from './http-servers.js'

const [, , name = '', databaseUrl = ''] = process.argv
const start = httpServers[name]
if (start === undefined) throw new Error(`there is no server '${name}'`)
const target = await start(databaseUrl)
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.(user + system)
})
process.on('disconnect', () => process.exit())
process.send?.(target)
