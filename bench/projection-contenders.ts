/** The same rows built from the same log: by `rows`, one upsert for each event, and by hand in batches. */
import {
  Aggregate,
  Application,
  defineDecider,
  defineProjection,
  defineReaction,
  event,
  on,
  type PrismaDatastore,
  ProjectionRunner,
  rows,
} from 'eventsourcing-prisma'
import type { PrismaClient } from '../test/support/generated/postgresql/client.js'

/** What a contender works on. */
export interface ProjectedDatabase {
  readonly datastore: PrismaDatastore<PrismaClient>
  /** A client that has nothing to do with the library. */
  readonly plain: PrismaClient
  readonly application: Ledgers
  /** Runs a statement of values, as a programmer would write it for this database. */
  readonly batch: (rows: readonly CountRow[]) => { readonly sql: string; readonly args: readonly unknown[] }
}

export interface CountRow {
  readonly dog: string
  readonly name: string
  readonly tricks: number
}

/** Builds the rows of a whole log, from none. @returns how many events it has handled */
export interface ProjectionContender {
  readonly name: string
  /** How many events it handles; undefined for all. */
  readonly count?: number
  build(): Promise<number>
}

/** An account that is changed by amounts. */
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

/** The number and the sum of the changes of each account. */
export const sums = (db: PrismaClient, name: string = 'sums') =>
  defineProjection({
    name,
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

class Copy extends Aggregate {
  amount = 0
  @event('Copied', 'amount') copy(amount: number): void {
    this.amount += amount
  }
}

export class Copies extends Application {}

/** Has one reaction handle the whole log, event by event. @param copies - where it saves an aggregate for each */
export async function react(
  { datastore, application }: Pick<ProjectedDatabase, 'datastore' | 'application'>,
  name: string,
  copies: Copies | undefined,
): Promise<number> {
  let handled = 0
  const reaction = defineReaction({
    name,
    from: 'start',
    on: [
      on(ledgers, 'Changed', async ({ data }) => {
        handled += 1
        if (copies === undefined) return
        const copy = new Copy()
        copy.copy(data.amount)
        await copies.save(copy)
      }),
    ],
  })
  await new ProjectionRunner({ application, datastore, projections: [reaction] }).runOnce()
  return handled
}

const pageSize = 500

/** Three ways to the same rows. @param upserts - how many events are handled one by one */
export function projectionContenders(database: ProjectedDatabase, upserts: number): ProjectionContender[] {
  return [
    { name: 'rows', build: async () => await byRows(database) },
    { name: 'upsert per event', count: upserts, build: async () => await byUpserts(database, upserts) },
    { name: 'batches by hand', build: async () => await byHand(database) },
  ]
}

async function byRows({ datastore, application }: ProjectedDatabase): Promise<number> {
  const runner = new ProjectionRunner({ application, datastore, projections: [sums(datastore.client)] })
  await runner.createTable()
  await datastore.client.$executeRawUnsafe('DELETE FROM ledgers_projections')
  await runner.runOnce()
  // The numbers of changes of all accounts.
  return (await datastore.client.trickCount.findMany()).reduce((sum, { name }) => sum + Number(name), 0)
}

async function byUpserts({ plain, application }: ProjectedDatabase, upserts: number): Promise<number> {
  let count = 0
  for await (const { event, position } of events(application)) {
    const { originatorId: dog } = event
    const { amount } = event.data as { readonly amount: number }
    await plain.$transaction(async (tx) => {
      await tx.trickCount.upsert({
        where: { dog },
        create: { dog, name: '1', tricks: amount },
        update: { tricks: { increment: amount } },
      })
      await tx.$executeRawUnsafe(`UPDATE ledgers_projections SET position = ${position} WHERE name = 'by hand'`)
    })
    count += 1
    if (count === upserts) break
  }
  return count
}

async function byHand({ plain, application, batch }: ProjectedDatabase): Promise<number> {
  let count = 0
  let page: Array<{ readonly dog: string; readonly amount: number; readonly position: bigint }> = []
  const write = async (): Promise<void> => {
    const position = page.at(-1)?.position
    if (position === undefined) return
    await plain.$transaction(async (tx) => {
      await tx.$executeRawUnsafe(`UPDATE ledgers_projections SET position = ${position} WHERE name = 'by hand'`)
      const dogs = [...new Set(page.map(({ dog }) => dog))]
      const known = await tx.trickCount.findMany({ where: { dog: { in: dogs } } })
      const found = new Map<string, CountRow>(known.map((row) => [row.dog, row]))
      for (const { dog, amount } of page) {
        const row = found.get(dog)
        found.set(dog, { dog, name: String(Number(row?.name ?? 0) + 1), tricks: (row?.tricks ?? 0) + amount })
      }
      const { sql, args } = batch([...found.values()])
      await tx.$executeRawUnsafe(sql, ...args)
    })
    count += page.length
    page = []
  }
  for await (const { event, position } of events(application)) {
    const { amount } = event.data as { readonly amount: number }
    page.push({ dog: event.originatorId, amount, position })
    if (page.length === pageSize) await write()
  }
  await write()
  return count
}

/** The log, in pages, as everybody reads it here. */
async function* events(application: Ledgers) {
  const store = await application.eventStore()
  let start: bigint | null = null
  for (;;) {
    const page = await application.recorder.selectNotifications(start, pageSize, { inclusiveOfStart: false })
    const read = await store.toDomainEvents(page)
    for (const [index, { id }] of page.entries()) {
      const event = read[index]
      if (event !== undefined) yield { event, position: id }
      start = id
    }
    if (page.length < pageSize) return
  }
}
