/** The work written by hand on Prisma's raw queries and interactive transactions, on the table that the raw driver has made. */
import { byHand, type LogRow, type Row, type Statements } from './by-hand.js'
import { mariadb, postgresql, sqlite } from './by-hand-sql.js'
import type { Contender } from './contender.js'

/** The part of a PrismaClient that is used. */
export interface RawClient {
  $queryRawUnsafe<T>(sql: string, ...args: unknown[]): PromiseLike<T>
  $executeRawUnsafe(sql: string, ...args: unknown[]): PromiseLike<number>
  $transaction<T>(work: (tx: RawClient) => Promise<T>, options: { maxWait: number; timeout: number }): Promise<T>
  $disconnect(): Promise<void>
}

type Run = Pick<RawClient, '$queryRawUnsafe' | '$executeRawUnsafe'>

/** @param client - on Prisma's own adapter */
export function queryRaw(client: RawClient, database: 'postgresql' | 'sqlite' | 'mariadb'): Contender {
  const { select, log } = { postgresql, sqlite, mariadb }[database]
  const insert = async (run: Run, rows: readonly Row[]): Promise<void> => {
    if (database === 'postgresql') {
      const columns = [
        rows.map((row) => row.originator_id),
        rows.map((row) => row.originator_version),
        rows.map((row) => row.topic),
        rows.map((row) => row.state),
      ]
      if (rows.length > 1) await run.$queryRawUnsafe(postgresql.insertMany, ...columns)
      else await run.$queryRawUnsafe(postgresql.insertOne, ...columns.flat())
      return
    }
    const args = rows.flatMap((row) => [row.originator_id, row.originator_version, row.topic, row.state])
    if (database === 'sqlite') await run.$queryRawUnsafe(sqlite.insert(rows.length), ...args)
    else await run.$executeRawUnsafe(mariadb.insert(rows.length), ...args)
  }
  const on = (run: Run): Statements => ({
    insert: async (rows) => await insert(run, rows),
    select: async (id) => await run.$queryRawUnsafe<Row[]>(select, id),
  })
  return byHand({
    name: 'Prisma $queryRaw',
    ...on(client),
    async transaction(work) {
      await client.$transaction(async (tx) => await work(on(tx)), { maxWait: 60_000, timeout: 60_000 })
    },
    log: async (after, limit) => await client.$queryRawUnsafe<LogRow[]>(log, after, limit),
    isConflict: (error) => error instanceof Error && 'code' in error && /^P20(02|10|34)$/.test(String(error.code)),
    close: async () => await client.$disconnect(),
  })
}
