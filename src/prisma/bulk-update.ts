/**
 * Changes many rows by one statement through a PrismaClient, which has none for different values: the insert of all of them, as Prisma
 * makes it, with a clause for rows that exist, which they do.
 */
import type { ProjectedRowChanges } from '../persistence/projection-recorder.js'
import { AsyncContext } from '../transaction/context.js'
import {
  DelegatedTransaction,
  isUnextended,
  type PrismaClientLike,
  type SqlDriverTransaction,
  type SqlQuery,
} from './driver.js'

/** How a database lets an insert change rows that exist. @param key - the unique column @param columns - what is changed; all quoted */
export type Overwriting = (key: string, columns: readonly string[]) => string

interface Learned {
  readonly key: string
  readonly columns: readonly string[]
}

interface BulkUpdate {
  learned: Learned | undefined
  isInserting: boolean
}

/** Set while the part of a transaction begins in which that is done. */
const context = new AsyncContext<BulkUpdate>()

/** Lets the insert of a bulk update change rows; any other transaction stays as it is. */
export function withBulkUpdate(
  transaction: SqlDriverTransaction,
  overwriting: Overwriting | undefined,
): SqlDriverTransaction {
  const bulk = context.get()
  if (bulk === undefined || overwriting === undefined) return transaction
  return new DelegatedTransaction(transaction, (query) => {
    bulk.learned ??= learnedFrom(query)
    if (!bulk.isInserting || bulk.learned === undefined || !query.sql.startsWith('INSERT INTO ')) return query
    return { ...query, sql: `${query.sql} ${overwriting(bulk.learned.key, bulk.learned.columns)}` }
  })
}

/**
 * Changes the rows, in a part of the current transaction.
 *
 * @returns false where it was not done, and nothing was changed: the client has extensions, which would be told of another operation; Prisma changes
 *   columns by itself; or the database refuses, which changing them one by one will tell
 */
export async function bulkUpdate(client: object, changes: ProjectedRowChanges): Promise<boolean> {
  if (!isUnextended(client)) return false
  const bulk: BulkUpdate = { learned: undefined, isInserting: false }
  const work = async (): Promise<void> => {
    await changes.updateFirst()
    if (bulk.learned?.columns.length !== changes.fields) throw new Error('what Prisma sends is not known')
    bulk.isInserting = true
    await changes.insertAll()
  }
  try {
    // A client within a transaction has it, too.
    await context.run(bulk, async () => await (client as PrismaClientLike).$transaction(work))
    return true
  } catch {
    return false
  }
}

const column = /"(?:[^"]|"")+"|`(?:[^`]|``)+`/g
const update = /^UPDATE .+? SET (.+) WHERE (.+)$/

/** Which columns an update of Prisma's sets, and by which one it finds the row. */
function learnedFrom({ sql }: SqlQuery): Learned | undefined {
  const [, set = '', where = ''] = update.exec(sql) ?? []
  const parts = set.split(', ')
  const columns = parts.flatMap((part) => /^("(?:[^"]|"")+"|`(?:[^`]|``)+`) = /.exec(part)?.[1] ?? [])
  const key = where.match(column)?.at(-1)
  return key === undefined || columns.length < parts.length ? undefined : { key, columns }
}
