/** An article has a name in the URL, which may change, and an id, which does not. A name that was given leads to its article for ever. */
import { Aggregate, Application, defineEvent, event, facts, typed } from 'eventsourcing-prisma'

const ArticleWritten = defineEvent('ArticleWritten', typed<{ slug: string; title: string }>(), {
  tags: ({ slug }) => ({ slug }),
})
const SlugChanged = defineEvent('SlugChanged', typed<{ slug: string }>(), { tags: ({ slug }) => ({ slug }) })

@event(ArticleWritten, 'slug', 'title')
export class Article extends Aggregate {
  slug: string
  readonly title: string

  constructor(slug: string, title: string) {
    super()
    this.slug = slug
    this.title = title
  }

  @event(SlugChanged, 'slug')
  changeSlug(slug: string): void {
    this.slug = slug
  }
}

const unlessTaken = (slug: string) => ({ unless: { tags: { slug }, types: [ArticleWritten, SlugChanged] } })
const article = (slug: string) =>
  facts({ slug }, undefined as string | undefined, (when) => [
    when(ArticleWritten, (_id, _data, { originatorId }) => originatorId),
    when(SlugChanged, (_id, _data, { originatorId }) => originatorId),
  ])

export class Blog extends Application {
  async write(slug: string, title: string): Promise<void> {
    await this.save(new Article(slug, title), unlessTaken(slug))
  }

  async move(from: string, to: string): Promise<void> {
    const moved = await this.find(from)
    moved.changeSlug(to)
    await this.save(moved, unlessTaken(to))
  }

  async find(slug: string): Promise<Article> {
    let id: string | undefined
    // Nothing is decided, so this is a read.
    await this.decide({ article: article(slug) }, (known) => {
      id = known.article
      return []
    })
    if (id === undefined) throw new Error(`There is no article ${slug}`)
    return await this.repository.get(Article, id)
  }
}
