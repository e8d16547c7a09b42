/** An adapter that tells what is sent through it. */
import type { Adapter } from './databases.js'

interface Sends {
  queryRaw(query: { readonly sql: string }): unknown
  executeRaw(query: { readonly sql: string }): unknown
}

/** Puts the text of each statement into the list. */
export function countedStatements(adapter: Adapter, statements: string[]): Adapter {
  const counted = <T extends object>(sender: T): T =>
    new Proxy(sender, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property)
        if (typeof value !== 'function') return value
        if (property === 'queryRaw' || property === 'executeRaw') {
          return (query: Parameters<Sends['queryRaw']>[0]) => {
            statements.push(query.sql)
            return Reflect.apply(value, target, [query]) as unknown
          }
        }
        if (property === 'startTransaction' || property === 'connect') {
          return async (...args: unknown[]) => counted((await Reflect.apply(value, target, args)) as object)
        }
        return value.bind(target) as unknown
      },
    })
  return counted(adapter)
}
