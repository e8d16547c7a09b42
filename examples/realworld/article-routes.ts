/** Articles, favorites, comments and tags. Commands go to the application, answers come from the rows. */
import { assertIfMatch, etagOf } from 'eventsourcing-prisma/fastify'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Article, type Text } from './articles.js'
import type { Database } from './db.js'
import { notFound, RequestError } from './errors.js'
import type { Prisma } from './generated/sqlite/client.js'
import { changes, commentId, newArticle, newComment, page } from './requests.js'
import { signedIn } from './sessions.js'
import { articleFor, commentFor, shownArticle, shownComment } from './views.js'

interface Page {
  readonly limit: number
  readonly offset: number
}

interface Slug {
  readonly slug: string
}

export function articleRoutes(fastify: FastifyInstance, { datastore, db, conduit }: Database): void {
  async function idOf(slug: string): Promise<string> {
    const row = await db.article.findFirst({ where: { slug }, select: { id: true } })
    if (row === null) throw notFound('article')
    return row.id
  }

  /** The article to be changed by its author. */
  async function ownArticle({ params, user }: FastifyRequest<{ Params: Slug }>): Promise<Article> {
    const article = await conduit.repository.get(Article, await idOf(params.slug))
    if (article.author !== user) throw new RequestError(403, { article: ['is not yours'] })
    return article
  }

  /** Answers with the article as it is after what was done. Its ETag is that of the text: favorites do not change it. */
  async function answer(
    where: { readonly id: string } | Slug,
    { user }: FastifyRequest,
    reply: FastifyReply,
  ): Promise<{ readonly article: object }> {
    const row = await db.article.findFirst({ where, ...articleFor(user) })
    if (row === null) throw notFound('article')
    reply.header('etag', etagOf({ version: row.revision }))
    return { article: shownArticle(row) }
  }

  /** The same after a command: writes its events now, and with them the rows of the read model. */
  async function answerAfter(id: string, request: FastifyRequest, reply: FastifyReply): Promise<object> {
    await datastore.currentTransaction.flush()
    return await answer({ id }, request, reply)
  }

  async function list(where: Prisma.ArticleWhereInput, { limit, offset }: Page, viewer: number): Promise<object> {
    const rows = await db.article.findMany({
      where,
      ...articleFor(viewer),
      omit: { body: true },
      orderBy: { number: 'desc' },
      take: limit,
      skip: offset,
    })
    return { articles: rows.map(shownArticle), articlesCount: await db.article.count({ where }) }
  }

  // The page and the count are of one moment.
  const oneMoment = { transaction: { readOnly: true } } as const

  fastify.get<{ Querystring: Page & { tag?: string; author?: string; favorited?: string } }>(
    '/articles',
    { schema: page, config: oneMoment },
    async ({ query: { tag, author, favorited, ...limits }, user }) => {
      const where = {
        ...(tag === undefined ? {} : { tags: { some: { tag } } }),
        ...(author === undefined ? {} : { author: { username: author } }),
        ...(favorited === undefined ? {} : { favorites: { some: { user: { username: favorited } } } }),
      }
      return await list(where, limits, user)
    },
  )

  fastify.get<{ Querystring: Page }>(
    '/articles/feed',
    { onRequest: signedIn, schema: page, config: oneMoment },
    async ({ query, user }) => await list({ author: { followers: { some: { followerId: user } } } }, query, user),
  )

  fastify.get<{ Params: Slug }>('/articles/:slug', async (request, reply) => {
    return await answer({ slug: request.params.slug }, request, reply)
  })

  fastify.post<{ Body: { article: Text & { tagList?: readonly string[] } } }>(
    '/articles',
    { onRequest: signedIn, schema: newArticle },
    async (request, reply) => {
      const { title, description, body, tagList = [] } = request.body.article
      const { id } = await conduit.publish(request.user, { title, description, body }, tagList)
      reply.code(201)
      return await answerAfter(id, request, reply)
    },
  )

  fastify.put<{ Params: Slug; Body: { article: Partial<Text> } }>(
    '/articles/:slug',
    { onRequest: signedIn, schema: changes },
    async (request, reply) => {
      const article = await ownArticle(request)
      // When another request is faster, the save is a conflict, the handler runs again, and compares with what is there by then.
      assertIfMatch(request, { id: article.id, version: article.revision })
      const { title, description, body } = { ...article.text, ...request.body.article }
      await conduit.revise(article, { title, description, body })
      return await answerAfter(article.id, request, reply)
    },
  )

  fastify.delete<{ Params: Slug }>('/articles/:slug', { onRequest: signedIn }, async (request, reply) => {
    const article = await ownArticle(request)
    await conduit.delete(article)
    await db.comment.deleteMany({ where: { articleId: article.id } })
    return await reply.code(204).send()
  })

  /**
   * Favorites commute: where others are faster, the command is decided again at the commit, on what they have stored. The answer is not made
   * again, so its count may lack theirs; to wait for the events first would keep all others waiting as well.
   */
  async function love(
    request: FastifyRequest<{ Params: Slug }>,
    reply: FastifyReply,
    change: (article: Article) => void,
  ): Promise<object> {
    const id = await idOf(request.params.slug)
    const { favoritedBy } = await conduit.change(Article, id, change, { onConflict: 'redecide' })
    const { article } = await answer({ id }, request, reply)
    const favorited = favoritedBy.has(request.user)
    return { article: { ...article, favorited, favoritesCount: favoritedBy.size } }
  }

  fastify.post<{ Params: Slug }>('/articles/:slug/favorite', { onRequest: signedIn }, async (request, reply) => {
    return await love(request, reply, (article) => article.favorite(request.user))
  })

  fastify.delete<{ Params: Slug }>('/articles/:slug/favorite', { onRequest: signedIn }, async (request, reply) => {
    return await love(request, reply, (article) => article.unfavorite(request.user))
  })

  fastify.get<{ Params: Slug }>('/articles/:slug/comments', async ({ params, user }) => {
    const where = { articleId: await idOf(params.slug) }
    const rows = await db.comment.findMany({ where, ...commentFor(user), orderBy: { id: 'asc' } })
    return { comments: rows.map(shownComment) }
  })

  fastify.post<{ Params: Slug; Body: { comment: { body: string } } }>(
    '/articles/:slug/comments',
    { onRequest: signedIn, schema: newComment },
    async ({ params, body, user }) => {
      const data = { articleId: await idOf(params.slug), authorId: user, body: body.comment.body }
      return { comment: shownComment(await db.comment.create({ data, ...commentFor(user) })) }
    },
  )

  fastify.delete<{ Params: Slug & { id: number } }>(
    '/articles/:slug/comments/:id',
    { onRequest: signedIn, schema: commentId },
    async ({ params: { slug, id }, user }, reply) => {
      const comment = await db.comment.findFirst({ where: { id, articleId: await idOf(slug) } })
      if (comment === null) throw notFound('comment')
      if (comment.authorId !== user) throw new RequestError(403, { comment: ['is not yours'] })
      await db.comment.delete({ where: { id } })
      return await reply.code(204).send()
    },
  )

  // Counted by a runner: a client that sends the `es-position` of its last answer as `es-wait-for` finds its own tags here.
  fastify.get('/tags', { config: { projections: ['tags'] } }, async () => {
    const tags = await db.tag.findMany({
      where: { articles: { gt: 0 } },
      orderBy: [{ articles: 'desc' }, { name: 'asc' }],
      take: 100,
    })
    return { tags: tags.map(({ name }) => name) }
  })
}
