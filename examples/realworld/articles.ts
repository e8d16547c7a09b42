/** The domain of articles: what an article does, and the rule that two of them never have one slug. No database, no HTTP. */
import { Aggregate, Application, defineEvent, event, facts, typed } from 'eventsourcing-prisma'

/** What an author writes. */
export interface Text {
  readonly title: string
  readonly description: string
  readonly body: string
}

// Events name users by their ids: what a user is called may change, and is no matter of the log.
export const Published = defineEvent(
  'Published',
  typed<Text & { author: number; slug: string; tagList: readonly string[] }>(),
)
export const Revised = defineEvent('Revised', typed<Text & { slug: string }>())
export const Favorited = defineEvent('Favorited', typed<{ user: number }>())
export const Unfavorited = defineEvent('Unfavorited', typed<{ user: number }>())
export const Deleted = defineEvent('Deleted', typed<{ tagList: readonly string[] }>(), { ends: true })

@event(Published)
export class Article extends Aggregate {
  static readonly snapshots = { every: 20, keep: 1 }
  readonly author: number
  readonly tagList: readonly string[]
  readonly favoritedBy = new Set<number>()
  slug: string
  text: Text
  /** Counts the texts: what an ETag is made from. Favorites do not change it, so they are in no editor's way. */
  revision = 1

  constructor({ author, slug, tagList, ...text }: Text & { author: number; slug: string; tagList: readonly string[] }) {
    super()
    this.author = author
    this.slug = slug
    this.tagList = tagList
    this.text = text
  }

  revise(changes: Partial<Text>): void {
    const { title, description, body } = { ...this.text, ...changes }
    const { text } = this
    if (title === text.title && description === text.description && body === text.body) return
    const slug = title === text.title ? this.slug : slugOf(title)
    this.changeText({ slug, title, description, body })
  }

  favorite(user: number): void {
    if (!this.favoritedBy.has(user)) this.addFavorite(user)
  }

  unfavorite(user: number): void {
    if (this.favoritedBy.has(user)) this.removeFavorite(user)
  }

  delete(): void {
    this.end([...this.tagList])
  }

  @event(Revised) protected changeText({ slug, ...text }: Text & { slug: string }): void {
    this.slug = slug
    this.text = text
    this.revision += 1
  }

  @event(Favorited, 'user') protected addFavorite(user: number): void {
    this.favoritedBy.add(user)
  }

  @event(Unfavorited, 'user') protected removeFavorite(user: number): void {
    this.favoritedBy.delete(user)
  }

  @event(Deleted, 'tagList') protected end(_tagList: readonly string[]): void {}
}

/** The title as a part of a URL: letters and digits of any script, at most 60 of them. */
function slugOf(title: string): string {
  const folded = title.normalize('NFKC').toLowerCase()
  const words = folded.match(/[\p{L}\p{M}\p{N}]+/gu) ?? []
  const [slug = ''] = /^.{1,60}/u.exec(words.join('-')) ?? []
  return slug.replace(/-$/, '')
}

/** Another article has the slug that a title asks for. */
export class TitleTakenError extends Error {
  override readonly name = 'TitleTakenError'
}

// Who has a slug is a matter of all articles, so no aggregate can know it: it is decided on what was stored about the slug.
const SlugClaimed = defineEvent('SlugClaimed', typed<{ slug: string; article: string }>(), {
  tags: ({ slug }) => ({ slug }),
})
const SlugReleased = defineEvent('SlugReleased', typed<{ slug: string }>(), { tags: ({ slug }) => ({ slug }) })

const holderOf = (slug: string) =>
  facts(
    { slug },
    undefined as string | undefined,
    (when) => [when(SlugClaimed, (_holder, { article }) => article), when(SlugReleased, () => undefined)],
    { onlyLast: true },
  )

/** `GET /articles/feed` is another route. */
const reservedSlugs = new Set(['feed'])

export class Conduit extends Application {
  /** @throws `TitleTakenError`; an `AppendConditionError` at the commit, where another request takes the slug at the same time */
  async publish(author: number, text: Text, tagList: readonly string[]): Promise<Article> {
    const article = new Article({ author, slug: slugOf(text.title), tagList: [...new Set(tagList)], ...text })
    await this.#claim(article, article.slug)
    await this.save(article)
    return article
  }

  /** Saves the article as it was read: whoever was faster makes it a `ConcurrencyError`. @throws as `publish` */
  async revise(article: Article, changes: Partial<Text>): Promise<void> {
    const former = article.slug
    article.revise(changes)
    if (article.slug !== former) {
      await this.#claim(article, article.slug)
      await this.#release(former)
    }
    await this.save(article)
  }

  /** Its slug is free from then on. */
  async delete(article: Article): Promise<void> {
    article.delete()
    await this.#release(article.slug)
    await this.save(article)
  }

  async #claim(article: Article, slug: string): Promise<void> {
    await this.decide({ holder: holderOf(slug) }, ({ holder }) => {
      if (holder !== undefined || reservedSlugs.has(slug))
        throw new TitleTakenError(`There is an article ${slug} already`)
      return [SlugClaimed({ slug, article: article.id })]
    })
  }

  async #release(slug: string): Promise<void> {
    await this.decide({ holder: holderOf(slug) }, () => [SlugReleased({ slug })])
  }
}
