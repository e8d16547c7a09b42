/** The work as a programmer would write it without a library: objects as JSON in a column of text, and a fold. */
import { randomUUID } from 'node:crypto'
import { type Contender, pageSize, trick } from './contender.js'

/** An event as it is stored. */
export interface Row {
  readonly originator_id: string
  /** PostgreSQL gives it as text, and Prisma as a bigint. */
  readonly originator_version: number | string | bigint
  readonly topic: string
  readonly state: string
}

/** A row of the log; drivers give its position as what they have for it. */
export interface LogRow extends Row {
  readonly id: string | number | bigint
}

/** The statements of one driver, in a transaction or outside of any. */
export interface Statements {
  insert(rows: readonly Row[]): Promise<void>
  select(id: string): Promise<readonly Row[]>
}

/** How one driver is used by hand. */
export interface Driver extends Statements {
  readonly name: string
  transaction(work: (statements: Statements) => Promise<void>): Promise<void>
  /** A page of the log. @param after - the position before it, 0 for the first page */
  log(after: LogRow['id'], limit: number): Promise<readonly LogRow[]>
  /** Whether an insert has failed because another writer was first. */
  isConflict(error: unknown): boolean
  close(): Promise<void>
}

interface Dog {
  readonly tricks: string[]
  name: string
  version: number
}

/** Does the work on a driver. */
export function byHand(driver: Driver): Contender {
  const add = async (statements: Statements, id: string): Promise<void> => {
    const { version } = fold(await statements.select(id))
    await statements.insert([rowOf(id, version + 1)])
  }
  return {
    name: driver.name,
    async create(events) {
      const id = randomUUID()
      await driver.insert(Array.from({ length: events }, (_, index) => rowOf(id, index + 1)))
      return id
    },
    get: async (id) => fold(await driver.select(id)).version,
    async command(id, inTransaction) {
      try {
        if (inTransaction) await driver.transaction(async (statements) => await add(statements, id))
        else await add(driver, id)
        return true
      } catch (error) {
        if (driver.isConflict(error)) return false
        throw error
      }
    },
    async readLog(events) {
      let count = 0
      for (let after: LogRow['id'] = 0; ; ) {
        const rows = await driver.log(after, pageSize)
        for (const { topic, state } of rows) {
          const data = JSON.parse(state) as { readonly timestamp: string }
          if (topic !== '' && data.timestamp !== '') count += 1
        }
        const last = rows.at(-1)
        if (last === undefined || rows.length < pageSize || count >= events) return count
        after = last.id
      }
    },
    close: async () => await driver.close(),
  }
}

function rowOf(id: string, version: number): Row {
  const timestamp = new Date().toISOString()
  const data = version === 1 ? { timestamp, name: 'Rex' } : { timestamp, trick }
  return {
    originator_id: id,
    originator_version: version,
    topic: version === 1 ? 'Dog.Registered' : 'Dog.TrickAdded',
    state: JSON.stringify(data),
  }
}

function fold(rows: readonly Row[]): Dog {
  const dog: Dog = { name: '', tricks: [], version: 0 }
  for (const { topic, state, originator_version } of rows) {
    const data = JSON.parse(state) as { readonly name: string; readonly trick: string }
    if (topic === 'Dog.Registered') dog.name = data.name
    else dog.tricks.push(data.trick)
    dog.version = Number(originator_version)
  }
  return dog
}
