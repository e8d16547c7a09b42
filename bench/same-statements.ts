/** Watches that the handler that is written by hand reads and writes what the library does: else the two cannot be compared. */
import pg from 'pg'
import { httpServers } from './http-servers.js'

/** @throws when a request of the one server reads or writes other tables than one of the other, or has another transaction */
export async function assertSameStatements(servers: readonly [string, string], url: string): Promise<void> {
  const [first, second] = [await statementsOf(servers[0], url), await statementsOf(servers[1], url)]
  if (first === second) return
  throw new Error(`The statements of a request differ.\n\n${servers[0]}:\n${first}\n\n${servers[1]}:\n${second}`)
}

async function statementsOf(name: string, databaseUrl: string): Promise<string> {
  const target = await httpServers[name]?.(databaseUrl)
  if (target === undefined) throw new Error(`there is no server '${name}'`)
  const texts: string[] = []
  const { prototype } = pg.Client
  const query = Reflect.get(prototype, 'query') as (...args: unknown[]) => unknown // has many forms
  const ask = async (): Promise<void> => {
    texts.length = 0
    const { ok, status } = await fetch(`${target.url}${target.paths[0]}`, { method: target.method })
    if (!ok) throw new Error(`${name} answered ${status}`)
  }
  Reflect.set(prototype, 'query', function (this: pg.Client, ...args: unknown[]) {
    const [config] = args
    texts.push(typeof config === 'object' && config !== null && 'text' in config ? String(config.text) : String(config))
    return query.apply(this, args)
  })
  try {
    // The first one also asks what is asked once.
    await ask()
    await ask()
  } finally {
    Reflect.set(prototype, 'query', query)
    await target.close()
  }
  return texts.map(kindOf).sort().join('\n')
}

/** What a statement does, and to which table. In which order is each one's own business: what reads may come before BEGIN. */
function kindOf(sql: string): string {
  const [, table] = /\bINSERT INTO (\S+)/.exec(sql) ?? []
  if (table !== undefined) return `INSERT INTO ${table}`
  const [, source] = /^SELECT\b.*?\bFROM ("?\w+"?)(?= WHERE)/s.exec(sql) ?? []
  return source === undefined ? sql : `SELECT FROM ${source}`
}
