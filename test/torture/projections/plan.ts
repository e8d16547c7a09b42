/** What a torture of projections is about: accounts, and the rows that are built from their events. */
import { randomUUID } from 'node:crypto'
import {
  Application,
  defineDecider,
  defineProjection,
  of,
  PrismaDatastore,
  type ProjectedEvent,
  type Projection,
  rows,
} from '../../../src/index.js'
import type { TestClient } from '../../prisma/open-database.js'
import { PrismaClient as MysqlClient } from '../../support/generated/mysql/client.js'
import { PrismaClient as PostgresqlClient } from '../../support/generated/postgresql/client.js'
import { PrismaClient as SqliteClient } from '../../support/generated/sqlite/client.js'
import { adapterOf } from '../open.js'
import type { TorturePlan } from '../plan.js'

/** What one runner process is told. */
export interface RunnerPlan extends Pick<TorturePlan, 'database' | 'provider' | 'url'> {
  /** Whether positions move by compare-and-set, as the library does it, or not. */
  readonly isProtected: boolean
  readonly leaseMs: number
  /** Whether rows are written in batches, as long logs need, or for each event by itself. */
  readonly inBatches: boolean
}

/** An account that is changed by many amounts at a time. */
export const ledgers = defineDecider({
  name: 'Ledger',
  initialState: () => 0,
  evolve: { Changed: (state, { amount }: { readonly amount: number }) => state + amount },
  decide: {
    change: (_state, amounts: readonly number[]) =>
      amounts.map((amount) => ({ type: 'Changed' as const, data: { amount } })),
  },
})

export class Ledgers extends Application {}

/** The database, with a client of the test schema. */
export function openRows(plan: RunnerPlan): PrismaDatastore<TestClient> {
  const clients = { postgresql: PostgresqlClient, sqlite: SqliteClient, mysql: MysqlClient }
  // The clients of all databases are alike.
  const Client = clients[plan.provider] as unknown as typeof PostgresqlClient
  return new PrismaDatastore<TestClient>({
    adapter: adapterOf(plan),
    client: (adapter) => new Client({ adapter }),
  })
}

/** One row per event, and one per account with the number and the sum of its changes. */
export function projectionsOf(db: TestClient, inBatches: boolean): Projection[] {
  // Nothing in the table would refuse a second row.
  const rowOf = ({ originatorId, originatorVersion }: ProjectedEvent) => ({
    dog: `${originatorId}/${originatorVersion}/${randomUUID()}`,
    name: '',
  })
  let newRows = 0
  const forms = inBatches
    ? rows(
        () => db.owner,
        'id',
        (on) => [
          on(
            ledgers,
            'Changed',
            // No row is there.
            () => (newRows -= 1),
            (_row, event) => rowOf(event),
          ),
        ],
      )
    : { on: [of(ledgers, { Changed: async (event) => await db.owner.create({ data: rowOf(event) }) })] }
  const moves = defineProjection({ name: 'moves', models: ['Owner'], ...forms })
  const sums = defineProjection({
    name: 'sums',
    models: ['TrickCount'],
    ...rows(
      () => db.trickCount,
      'dog',
      (on) => [
        on(
          ledgers,
          'Changed',
          (e) => e.originatorId,
          (row, { originatorId, data }) => ({
            dog: originatorId,
            name: String(Number(row?.name ?? 0) + 1),
            tricks: (row?.tricks ?? 0) + data.amount,
          }),
        ),
      ],
    ),
  })
  return [moves, sums]
}
