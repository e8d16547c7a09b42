/** The work written by hand on Prisma's raw queries and interactive transactions. */
import { type BenchEvent, type Contender, pageSize } from './contender.js'
import { postgresql, sqlite } from './sql.js'

/** The part of a PrismaClient that is used. */
export interface RawClient {
  $queryRawUnsafe<T>(sql: string, ...args: unknown[]): PromiseLike<T>
  $transaction<T>(work: (tx: RawClient) => Promise<T>, options: { maxWait: number; timeout: number }): Promise<T>
  $disconnect(): Promise<void>
}

type Run = Pick<RawClient, '$queryRawUnsafe'>

/** @param client - on Prisma's own adapter */
export function queryRaw(client: RawClient, database: 'postgresql' | 'sqlite'): Contender {
  const { select, log } = database === 'postgresql' ? postgresql : sqlite
  const insert = async (run: Run, events: readonly BenchEvent[]): Promise<void> => {
    if (database === 'postgresql') {
      const columns = [
        events.map((event) => event.originatorId),
        events.map((event) => event.originatorVersion),
        events.map((event) => event.topic),
        events.map((event) => event.state),
      ]
      await run.$queryRawUnsafe(postgresql.insert, ...columns)
    } else {
      const args = events.flatMap((event) => [event.originatorId, event.originatorVersion, event.topic, event.state])
      await run.$queryRawUnsafe(sqlite.insert(events.length), ...args)
    }
  }
  return {
    name: 'Prisma $queryRaw',
    append: async (events) => await insert(client, events),
    load: async (originatorId) => (await client.$queryRawUnsafe<unknown[]>(select, originatorId)).length,
    async command(event) {
      await client.$transaction(
        async (tx) => {
          await tx.$queryRawUnsafe(select, event.originatorId)
          await insert(tx, [event])
        },
        { maxWait: 60_000, timeout: 60_000 },
      )
    },
    async readLog() {
      let count = 0
      for (let after: bigint | number = 0; ; ) {
        const rows: Array<{ id: bigint | number }> = await client.$queryRawUnsafe(log, after, pageSize)
        count += rows.length
        const last = rows.at(-1)
        if (last === undefined || rows.length < pageSize) return count
        after = last.id
      }
    },
    close: async () => await client.$disconnect(),
  }
}
