/** What is shown of articles: rows that follow from the events, in the models `Article`, `ArticleTag`, `Favorite` and `Tag`. */
import { defineProjection, on, type Projection } from 'eventsourcing-prisma'
import { Article, Deleted, Favorited, Published, Revised, Unfavorited } from './articles.js'
import type { PrismaClient } from './generated/sqlite/client.js'

/**
 * Articles, as lists and pages show them. Inline, so written in the transaction of the request: clients of this API send no
 * positions to wait for, and expect an article in the list as soon as it is published.
 */
export function articleRows(db: PrismaClient): Projection {
  return defineProjection({
    name: 'articles',
    models: ['Article', 'ArticleTag', 'Favorite'],
    on: [
      on(Article, Published, async ({ originatorId: id, timestamp, data: { author, tagList, ...text } }) => {
        await db.article.create({
          data: { ...text, id, authorId: author, createdAt: timestamp, updatedAt: timestamp },
        })
        await db.articleTag.createMany({ data: tagList.map((tag) => ({ articleId: id, tag })) })
      }),
      on(Article, Revised, async ({ originatorId: id, timestamp, data }) => {
        await db.article.update({
          where: { id },
          data: { ...data, updatedAt: timestamp, revision: { increment: 1 } },
        })
      }),
      on(Article, Favorited, async ({ originatorId: articleId, data: { user: userId } }) => {
        await db.favorite.create({ data: { articleId, userId } })
      }),
      on(Article, Unfavorited, async ({ originatorId: articleId, data: { user: userId } }) => {
        await db.favorite.delete({ where: { articleId_userId: { articleId, userId } } })
      }),
      // With its tags and favorites, which refer to it.
      on(Article, Deleted, async ({ originatorId: id }) => await db.article.delete({ where: { id } })),
    ],
  })
}

/**
 * How many articles have a tag. By a runner, some milliseconds later: all who publish with one tag would wait for its row
 * otherwise, and nobody misses one count. Who does not want to miss it sends `es-wait-for`.
 */
export function tagCounts(db: PrismaClient): Projection {
  return defineProjection({
    name: 'tags',
    models: ['Tag'],
    on: [
      on(Article, Published, async ({ data: { tagList } }) => {
        for (const name of tagList) {
          await db.tag.upsert({
            where: { name },
            create: { name, articles: 1 },
            update: { articles: { increment: 1 } },
          })
        }
      }),
      on(Article, Deleted, async ({ data: { tagList } }) => {
        await db.tag.updateMany({ where: { name: { in: [...tagList] } }, data: { articles: { decrement: 1 } } })
      }),
    ],
  })
}
