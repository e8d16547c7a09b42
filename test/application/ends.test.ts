/** The end of a stream: an event that ends its aggregate, or a decider's originator. */
import { describe, expect, it } from 'vitest'
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
    const ids: string[] = []
    for await (const id of blog.aggregates(Article)) ids.push(id)
    expect(ids).toEqual([kept.id])
    other.rename('late')
    await expect(blog.save(other)).rejects.toBeInstanceOf(ConcurrencyError)
    await expect(blog.save(new Article('old'))).rejects.toBeInstanceOf(ConcurrencyError)
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
