/** Commands that commute: decided again at the flush where another writer was first, without running the work again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  ConcurrencyError,
  defineDecider,
  defineProjection,
  event,
  on,
  type Projection,
  rows,
} from '../../src/index.js'
import { inMemory } from '../../src/testing/index.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

@event('Written', 'title')
class Article extends Aggregate {
  readonly title: string
  favorites: string[] = []

  constructor(title: string) {
    super()
    this.title = title
  }

  @event('Favorited', 'user')
  favorite(user: string): void {
    this.favorites.push(user)
  }
}

const counters = defineDecider({
  name: 'Counter',
  initialState: () => 0,
  evolve: { Counted: (count, data: { by: number }) => count + data.by },
  decide: {
    count(count, by: number) {
      if (count + by > 30) throw new RangeError('enough')
      return by === 0 ? [] : [{ type: 'Counted', data: { by } }]
    },
  },
})

const snapshotted = defineDecider({
  name: 'Snapshotted',
  snapshots: { every: 3 },
  initialState: () => 0,
  evolve: { Counted: (count, data: { by: number }) => count + data.by },
  decide: { count: (_count, by: number) => [{ type: 'Counted', data: { by } }] },
})

/** Reads the row, and writes what follows from it. */
function countsByRows(db: TestClient): Projection {
  return defineProjection({
    name: 'counts',
    ...rows(
      () => db.trickCount,
      'dog',
      (onRows) => [
        onRows(
          snapshotted,
          'Counted',
          ({ originatorId }) => originatorId,
          (row, { originatorId, data }) => ({
            dog: originatorId,
            name: originatorId,
            tricks: (row?.tricks ?? 0) + data.by,
          }),
        ),
      ],
    ),
  })
}

/** Lets the database count. */
function countsByCalls(db: TestClient): Projection {
  return defineProjection({
    name: 'counts',
    on: [
      on(snapshotted, 'Counted', async ({ originatorId: dog, originatorVersion, data }) => {
        const row = { dog, name: dog, tricks: data.by }
        if (originatorVersion === 1) await db.trickCount.create({ data: row })
        else await db.trickCount.update({ where: { dog }, data: { tricks: { increment: data.by } } })
      }),
    ],
  })
}

const redecide = { onConflict: 'redecide' } as const

describe.each(oneOfEach)('commands that commute on $name', (kind) => {
  let open: OpenDatabase
  let blog: Application
  /** At which rows are read anew. */
  const latest = kind.provider === 'mysql' ? { isolationLevel: 'ReadCommitted' as const } : {}
  beforeAll(async () => {
    open = await openDatabase(kind)
    blog = new Application({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  it('are all stored, each once and in one run, when many come at once', async () => {
    const article = new Article('On dogs')
    await blog.save(article)
    let runs = 0
    const users = Array.from({ length: 20 }, (_, number) => `user ${number}`)
    await Promise.all(
      users.map((user) =>
        open.datastore.transaction(async () => {
          runs += 1
          const seen = await blog.change(Article, article.id, (each) => each.favorite(user), redecide)
          expect(seen.favorites).toContain(user)
        }),
      ),
    )
    const { favorites, version } = await blog.repository.get(Article, article.id)
    expect([runs, favorites.toSorted(), version]).toEqual([20, users.toSorted(), 21])
  })

  it('are decided again on what is there: nothing where there is nothing to do, or the error of then', async () => {
    const id = article()
    await Promise.all(
      Array.from({ length: 10 }, () =>
        open.datastore.transaction(() => blog.execute(counters, id, 'count', 3, redecide)),
      ),
    )
    expect(await blog.repository.get(counters, id)).toMatchObject({ state: 30, version: 10 })
    const other = article()
    await blog.execute(counters, other, 'count', 25)
    const both = await Promise.allSettled([
      open.datastore.transaction(() => blog.execute(counters, other, 'count', 5, redecide)),
      open.datastore.transaction(() => blog.execute(counters, other, 'count', 5, redecide)),
    ])
    const reasons = both.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []))
    for (const reason of reasons) expect(reason).toBeInstanceOf(RangeError)
    expect(await blog.repository.get(counters, other)).toMatchObject({ state: 30 })
  })

  it.skipIf(kind.provider === 'sqlite')(
    'tell their own result as provisional, and others of the same stream of the conflict',
    async () => {
      const id = article()
      await blog.execute(counters, id, 'count', 1)
      const other = (): Promise<unknown> =>
        open.datastore.transaction(() => blog.execute(counters, id, 'count', 4), { propagation: 'requiresNew' })
      // Without autoflush the second command does not write the events of the first.
      const options = { autoflush: false }
      await open.datastore.transaction(async () => {
        await blog.execute(counters, id, 'count', 1, redecide)
        expect(await blog.execute(counters, id, 'count', 2, redecide)).toMatchObject({ state: 4, version: 3 })
        await other()
      }, options)
      expect(await blog.repository.get(counters, id)).toMatchObject({ state: 8, version: 4 })
      const mixed = open.datastore.transaction(async () => {
        await blog.execute(counters, id, 'count', 1, redecide)
        await blog.execute(counters, id, 'count', 1)
        await other()
      }, options)
      await expect(mixed).rejects.toBeInstanceOf(ConcurrencyError)
      expect(await blog.repository.get(counters, id)).toMatchObject({ state: 12 })
    },
  )

  it.each(['rows', 'calls'] as const)('keep a cache, snapshots and inline projections right (%s)', async (form) => {
    const inline = form === 'rows' ? countsByRows(open.db) : countsByCalls(open.db)
    const shop = new Application({
      name: '',
      datastore: open.datastore,
      cache: true,
      snapshots: true,
      inline: [inline],
    })
    const id = article()
    await shop.execute(snapshotted, id, 'count', 1)
    const all = Array.from({ length: 12 }, () =>
      open.datastore.transaction(async () => {
        await shop.repository.get(snapshotted, id)
        await shop.execute(snapshotted, id, 'count', 2, redecide)
      }, latest),
    )
    await Promise.all(all)
    const plain = new Application({ name: '', datastore: open.datastore })
    for (const each of [shop, plain])
      expect(await each.repository.get(snapshotted, id)).toMatchObject({ state: 25, version: 13 })
    await shop.execute(snapshotted, id, 'count', 1)
    await shop.takeSnapshot(snapshotted, id)
    expect(await shop.repository.get(snapshotted, id)).toMatchObject({ state: 26, version: 14 })
    expect(await open.db.trickCount.findMany({ where: { dog: id } })).toMatchObject([{ tricks: 26 }])
  })

  it.skipIf(kind.provider !== 'mysql')('have a conflict where an inline projection would read old rows', async () => {
    const shop = new Application({ name: '', datastore: open.datastore, inline: [countsByRows(open.db)] })
    const id = article()
    await shop.execute(snapshotted, id, 'count', 1)
    const transaction = open.datastore.transaction(async () => {
      await shop.execute(snapshotted, id, 'count', 2, redecide)
      const other = { propagation: 'requiresNew' } as const
      await open.datastore.transaction(() => shop.execute(snapshotted, id, 'count', 4), other)
    })
    await expect(transaction).rejects.toBeInstanceOf(ConcurrencyError)
    expect(await open.db.trickCount.findMany({ where: { dog: id } })).toMatchObject([{ tricks: 5 }])
  })

  it('refuse what acts later', async () => {
    const article = new Article('On cats')
    await blog.save(article)
    await expect(blog.change(Article, article.id, async () => undefined)).rejects.toBeInstanceOf(TypeError)
  })
})

it('are decided again in memory, and outside of a transaction', async () => {
  const blog = inMemory(Application)
  await Promise.all(Array.from({ length: 10 }, () => blog.execute(counters, 'c', 'count', 2, redecide)))
  expect(await blog.repository.get(counters, 'c')).toMatchObject({ state: 20 })
  const plain = await Promise.allSettled([
    blog.execute(counters, 'd', 'count', 2),
    blog.execute(counters, 'd', 'count', 2),
  ])
  expect(plain.filter(({ status }) => status === 'rejected')).toHaveLength(1)
})

function article(): string {
  return crypto.randomUUID()
}
