/** How rows are shown: what is read of the database for each, for whom, and the objects of the API. */
import type { Prisma } from './generated/sqlite/client.js'

/** Who looks: the id of a user, or 0 for nobody, whom no row refers to. */
export type Viewer = number

export const profileOf = (viewer: Viewer) =>
  ({
    select: { username: true, bio: true, image: true, followers: { where: { followerId: viewer } } },
  }) satisfies Prisma.UserDefaultArgs

export const articleFor = (viewer: Viewer) =>
  ({
    include: {
      author: profileOf(viewer),
      tags: { orderBy: { tag: 'asc' } },
      favorites: { where: { userId: viewer } },
      _count: { select: { favorites: true } },
    },
  }) satisfies Prisma.ArticleDefaultArgs

export const commentFor = (viewer: Viewer) =>
  ({ include: { author: profileOf(viewer) } }) satisfies Prisma.CommentDefaultArgs

type ProfileRow = Prisma.UserGetPayload<ReturnType<typeof profileOf>>
type ArticleRow = Prisma.ArticleGetPayload<ReturnType<typeof articleFor>>
type CommentRow = Prisma.CommentGetPayload<ReturnType<typeof commentFor>>

export function shownProfile({ username, bio, image, followers }: ProfileRow): object {
  return { username, bio, image, following: followers.length > 0 }
}

/** Lists have no bodies. */
export function shownArticle({ author, tags, favorites, _count, ...article }: Omit<ArticleRow, 'body'>): object {
  const { slug, title, description, createdAt, updatedAt } = article
  return {
    slug,
    title,
    description,
    ...('body' in article ? { body: article.body } : {}),
    tagList: tags.map(({ tag }) => tag),
    createdAt,
    updatedAt,
    favorited: favorites.length > 0,
    favoritesCount: _count.favorites,
    author: shownProfile(author),
  }
}

export function shownComment({ id, body, createdAt, author }: CommentRow): object {
  return { id, createdAt, updatedAt: createdAt, body, author: shownProfile(author) }
}
