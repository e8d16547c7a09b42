/** The end of a stream: an event that ends its aggregate, or a decider's originator. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  Aggregate,
  AggregateEndedError,
  AggregateNotFoundError,
  Application,
  ConcurrencyError,
  defineDecider,
  defineEvent,
  event,
  typed,
} from '../../src/index.js'
import { inMemory } from '../../src/testing/index.js'
import { openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const Archived = defineEvent('Archived', typed<{ by: string }>(), { ends: true })

@event('Written', 'title')
class Article extends Aggregate {
  title: string

  constructor(title: string) {
    super()
    this.title = title
  }

  static createId(title: string): string {
    return `article-${title}`
  }

  @event('Renamed', 'title')
  rename(title: string): void {
    this.title = title
  }

  @event(Archived, 'by')
  archive(_by: string): void {}
}

@event('Opened', 'id', 'title')
class Page extends Aggregate {
  readonly title: string

  constructor(_id: string, title: string) {
    super()
    this.title = title
  }

  static createId(id: string): string {
    return id
  }

  @event(Archived, 'by')
  archive(_by: string): void {}
}

class Draft extends Aggregate {
  isThrownAway = false

  @event('ThrownAway', { ends: true })
  throwAway(): void {
    this.isThrownAway = true
  }
}

const orders = defineDecider([Archived], {
  name: 'Order',
  initialState: () => ({ archived: 0 }),
  evolve: { Archived: ({ archived }) => ({ archived: archived + 1 }) },
  decide: {
    archive: (_state, by: string) => [Archived({ by })],
    twice: (_state, by: string) => [Archived({ by }), Archived({ by })],
  },
})

describe.each([{ cache: false }, { cache: true }])('the end of a stream, %o', ({ cache }) => {
  it('is said by get, and nothing follows it', async () => {
    const blog = inMemory(Application, { cache, snapshots: true })
    const [kept, article] = [new Article('kept'), new Article('old')]
    await blog.save(kept, article)
    const other = await blog.repository.get(Article, article.id)
    article.archive('ann')
    expect(() => article.rename('new')).toThrow(AggregateEndedError)
    await blog.save(article)
    for (const get of [blog.repository.get(Article, article.id), blog.takeSnapshot(Article, article.id)]) {
      const error: unknown = await get.catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(AggregateEndedError)
      expect(error).toBeInstanceOf(AggregateNotFoundError)
      expect(error).toMatchObject({ code: 'ES_AGGREGATE_ENDED' })
    }
    expect((await blog.repository.get(Article, article.id, { version: 1 })).title).toBe('old')
    expect((await blog.repository.get(Article, article.id, { version: 2 })).version).toBe(2)
    expect([await blog.repository.has(Article, article.id), await blog.repository.has(Article, kept.id)]).toEqual([
      false,
      true,
    ])
    expect(await idsOf(blog, Article)).toEqual([kept.id])
    other.rename('late')
    await expect(blog.save(other)).rejects.toBeInstanceOf(ConcurrencyError)
    await expect(blog.save(new Article('old'))).rejects.toBeInstanceOf(ConcurrencyError)
  })

  it('lets a new life begin where that is asked for, and only then', async () => {
    const blog = inMemory(Application, { cache, snapshots: true })
    const first = new Article('old')
    await blog.save(new Article('other'), first)
    first.rename('older')
    await blog.save(first)
    await blog.takeSnapshot(Article, first.id)
    const early = new Article('old')
    await expect(blog.save(early, { newLife: true })).rejects.toBeInstanceOf(ConcurrencyError)
    first.archive('ann')
    await blog.save(first)
    await expect(blog.save(new Article('old'))).rejects.toBeInstanceOf(ConcurrencyError)
    const [again, rival] = [new Article('old'), new Article('old')]
    again.rename('new')
    const both = await Promise.allSettled([again, rival].map((each) => blog.save(each, { newLife: true })))
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect([again.version, again.title]).toEqual([5, 'new'])
    again.rename('newer')
    await blog.save(again)
    for (const read of [1, 2]) {
      const article = await blog.repository.get(Article, first.id)
      expect([read, article.version, article.title]).toEqual([read, 6, 'newer'])
      expect(article.createdOn.iso).toBe(again.createdOn.iso)
    }
    expect((await blog.repository.get(Article, first.id, { version: 2 })).title).toBe('older')
    expect((await blog.repository.get(Article, first.id, { version: 4 })).title).toBe('old')
    await blog.takeSnapshot(Article, first.id)
    expect((await blog.repository.get(Article, first.id)).title).toBe('newer')
    expect(await blog.repository.has(Article, first.id)).toBe(true)
    expect(await idsOf(blog, Article)).toEqual(['article-other', first.id])
    again.archive('bob')
    await blog.save(again)
    await blog.save(new Article('old'), { newLife: true, unless: { tags: { title: 'old' } } })
    expect((await blog.repository.get(Article, first.id)).version).toBe(8)
    expect(await idsOf(blog, Article)).toEqual(['article-other', first.id])
  })

  it('lets deciders begin anew', async () => {
    const blog = inMemory(Application, { cache })
    const newLife = { newLife: true }
    await blog.execute(orders, 'o', 'archive', 'ann', newLife)
    const anew = await blog.execute(orders, 'o', 'archive', 'ann', newLife)
    expect(anew).toMatchObject({ version: 2, state: { archived: 1 } })
    expect(await blog.repository.get(orders, 'o', { version: 2 })).toMatchObject({ state: { archived: 1 } })
    await expect(blog.execute(orders, 'o', 'archive', 'ann')).rejects.toBeInstanceOf(AggregateEndedError)
    const both = { ...newLife, onConflict: 'redecide' } as const
    expect(await blog.execute(orders, 'o', 'archive', 'ann', both)).toMatchObject({ version: 3 })
  })

  it('is said by the decorator, and by deciders', async () => {
    const blog = inMemory(Application, { cache })
    const draft = new Draft()
    draft.throwAway()
    await blog.save(draft)
    await expect(blog.repository.get(Draft, draft.id)).rejects.toBeInstanceOf(AggregateEndedError)
    await blog.execute(orders, 'o', 'archive', 'ann')
    await expect(blog.execute(orders, 'o', 'archive', 'ann')).rejects.toBeInstanceOf(AggregateEndedError)
    await expect(blog.execute(orders, 'p', 'twice', 'ann')).rejects.toBeInstanceOf(AggregateEndedError)
  })
})

describe.each(oneOfEach)('a new life on $name', (kind) => {
  it('begins where the events before are pending, and once', async () => {
    const open = await openDatabase(kind)
    onTestFinished(() => open.close())
    const blog = new Application({ name: '', datastore: open.datastore })
    const id = randomUUID()
    const archive = async (): Promise<void> => {
      const page = await blog.repository.get(Page, id)
      page.archive('ann')
      await blog.save(page)
    }
    await open.datastore.transaction(async () => {
      await blog.save(new Page(id, 'first'))
      await archive()
      await blog.save(new Page(id, 'second'), { newLife: true })
      expect(await blog.repository.get(Page, id)).toMatchObject({ title: 'second', version: 3 })
    })
    await archive()
    const both = ['third', 'fourth'].map((title) =>
      open.datastore.transaction(() => blog.save(new Page(id, title), { newLife: true })),
    )
    const results = await Promise.allSettled(both)
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(await blog.repository.get(Page, id)).toMatchObject({ version: 5 })
    expect((await blog.repository.get(Page, id, { version: 4 })).title).toBe('second')
  })
})

async function idsOf(application: Application, kind: typeof Article): Promise<string[]> {
  const ids: string[] = []
  for await (const id of application.aggregates(kind)) ids.push(id)
  return ids
}
