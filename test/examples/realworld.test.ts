/** The example `realworld`, started by its command on each of its databases and walked through from outside. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Article, Favorited, Published } from '../../examples/realworld/articles.js'
import { given } from '../../src/testing/index.js'
import { type EmptyDatabase, emptyDatabase, providers, rowsOf, runAll } from '../support/empty-databases.js'

const here = (path: string): string => fileURLToPath(new URL(`../../examples/realworld/${path}`, import.meta.url))

/** Parts of answers that are looked into. */
interface Shown {
  readonly user: { readonly token: string }
  readonly article: { readonly slug: string; readonly favoritesCount: number; readonly favorited: boolean }
  readonly articles: ReadonlyArray<{ readonly title: string }>
  readonly articlesCount: number
  readonly comment: { readonly id: number }
  readonly tags: readonly string[]
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Shown
}

interface Asked {
  readonly body?: object
  readonly headers?: Record<string, string>
}

/** The server in a process of its own. */
class Server {
  readonly #process: ChildProcess
  readonly #origin: string

  private constructor(process: ChildProcess, origin: string) {
    this.#process = process
    this.#origin = origin
  }

  static async start(url: string): Promise<Server> {
    const env = { ...process.env, NODE_ENV: '', DATABASE_URL: url, SECRET: 'of the test', PORT: '0' }
    const child = spawn(process.execPath, [here('start.mjs')], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (printed += String(text)))
    const ended = once(child, 'exit').then(() => {
      throw new Error(`The server has not started:\n${printed}`)
    })
    ended.catch(() => undefined)
    for (;;) {
      const [, origin] = /serves (http\S+)\/api/.exec(printed) ?? []
      if (origin !== undefined) return new Server(child, origin)
      await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 50))])
    }
  }

  /** @returns the exit code of the process */
  async stop(): Promise<number | null> {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    return ((await ended) as [number | null])[0]
  }

  async send(method: string, path: string, { body, headers = {} }: Asked = {}): Promise<Answer> {
    // Without a body as well, as the front ends of this API do.
    const init = { method, headers: { 'content-type': 'application/json', ...headers } }
    const response = await fetch(
      `${this.#origin}/api${path}`,
      body === undefined ? init : { ...init, body: JSON.stringify(body) },
    )
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: JSON.parse(text === '' ? '{}' : text) as Shown }
  }
}

/** Sends as one user, or as nobody. */
type Send = (method: string, path: string, asked?: Asked) => Promise<Answer>

const article = (title: string, tagList?: readonly string[]): { article: object } => ({
  article: { title, description: `About ${title}`, body: 'Very carefully.', ...(tagList && { tagList }) },
})
const statuses = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status).sort((a, b) => a - b)
const profileShape = { username: expect.any(String), bio: null, image: null, following: false }
const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const listedShape = {
  slug: expect.any(String),
  title: expect.any(String),
  description: expect.any(String),
  tagList: expect.any(Array),
  createdAt: time,
  updatedAt: time,
  favorited: expect.any(Boolean),
  favoritesCount: expect.any(Number),
  author: profileShape,
}

describe.each(providers.filter((provider) => provider !== 'mysql'))('the example realworld on %s', (provider) => {
  let database: EmptyDatabase
  let server: Server
  const nobody: Send = async (...asked) => await server.send(...asked)

  const as = (token: string): Send => {
    return async (method, path, asked = {}) =>
      await nobody(method, path, { ...asked, headers: { authorization: `Token ${token}`, ...asked.headers } })
  }
  /** Registers a user. */
  const registered = async (username: string): Promise<Send> => {
    const user = { username, email: `${username}@mail.com`, password: 'secret' }
    const { status, body } = await nobody('POST', '/users', { body: { user } })
    expect(status).toBe(201)
    return as(body.user.token)
  }
  const count = async (table: string): Promise<number> =>
    Number((await rowsOf(database.url, `SELECT COUNT(*) FROM ${table}`))[0]?.[0])
  const titles = async (send: Send, path: string): Promise<string[]> =>
    (await send('GET', path)).body.articles.map(({ title }) => title)

  beforeAll(async () => {
    database = await emptyDatabase(provider)
    server = await Server.start(database.url)
  })
  afterAll(async () => {
    await server?.stop()
    await database?.drop()
  })

  it('serves the whole API, in the order of the public collection', async () => {
    const user = { username: 'jake', email: 'jake@mail.com', password: 'jakejake' }
    const shape = { user: { email: user.email, username: 'jake', bio: null, image: null, token: expect.any(String) } }
    const register = await nobody('POST', '/users', { body: { user } })
    expect([register.status, register.body]).toEqual([201, shape])
    const login = await nobody('POST', '/users/login', { body: { user } })
    expect([login.status, login.body]).toEqual([200, shape])
    const jake = as(login.body.user.token)
    expect((await jake('GET', '/user')).body).toEqual(shape)
    expect((await jake('PUT', '/user', { body: { user: { email: user.email } } })).body).toEqual(shape)

    for (const query of ['', '?author=johnjacob', '?favorited=jake', '?tag=dragons'])
      expect((await nobody('GET', `/articles${query}`)).body).toEqual({ articles: [], articlesCount: 0 })

    const created = await jake('POST', '/articles', {
      body: article('How to train your dragon', ['training', 'dragons']),
    })
    const shown = { ...listedShape, body: 'Very carefully.', tagList: ['dragons', 'training'] }
    expect([created.status, created.body]).toEqual([201, { article: shown }])
    const { slug } = created.body.article
    expect(slug).toBe('how-to-train-your-dragon')
    expect((await jake('GET', '/articles/feed')).body).toEqual({ articles: [], articlesCount: 0 })
    for (const query of ['', '?author=jake', '?tag=dragons'])
      for (const send of [nobody, jake])
        expect((await send('GET', `/articles${query}`)).body).toEqual({ articles: [listedShape], articlesCount: 1 })
    expect((await nobody('GET', `/articles/${slug}`)).body).toEqual({ article: shown })

    const updated = await jake('PUT', `/articles/${slug}`, { body: { article: { body: 'With two hands' } } })
    expect(updated.body).toEqual({ article: { ...shown, body: 'With two hands' } })
    const favorite = await jake('POST', `/articles/${slug}/favorite`)
    expect(favorite.body.article).toMatchObject({ favorited: true, favoritesCount: 1 })
    for (const [send, favorited] of [
      [nobody, false],
      [jake, true],
    ] as const)
      expect((await send('GET', '/articles?favorited=jake')).body.articles).toMatchObject([
        { favorited, favoritesCount: 1 },
      ])
    const unfavorite = await jake('DELETE', `/articles/${slug}/favorite`)
    expect(unfavorite.body.article).toMatchObject({ favorited: false, favoritesCount: 0 })

    const comment = {
      id: expect.any(Number),
      createdAt: time,
      updatedAt: time,
      body: 'Thank you!',
      author: profileShape,
    }
    const commented = await jake('POST', `/articles/${slug}/comments`, { body: { comment: { body: 'Thank you!' } } })
    expect([commented.status, commented.body]).toEqual([200, { comment }])
    for (const send of [nobody, jake])
      expect((await send('GET', `/articles/${slug}/comments`)).body).toEqual({ comments: [comment] })
    expect((await jake('DELETE', `/articles/${slug}/comments/${commented.body.comment.id}`)).status).toBe(204)
    expect((await jake('GET', `/articles/${slug}/comments`)).body).toEqual({ comments: [] })
    expect((await jake('DELETE', `/articles/${slug}`)).status).toBe(204)

    await registered('celeb')
    const profile = { ...profileShape, username: 'celeb' }
    expect((await jake('GET', '/profiles/celeb')).body).toEqual({ profile })
    const following = { profile: { ...profile, following: true } }
    expect((await jake('POST', '/profiles/celeb/follow')).body).toEqual(following)
    expect((await jake('GET', '/profiles/celeb')).body).toEqual(following)
    expect((await jake('DELETE', '/profiles/celeb/follow')).body).toEqual({ profile })
    expect((await nobody('GET', '/tags')).body).toEqual({ tags: expect.any(Array) })
  })

  it('says what is wrong in the format of the API', async () => {
    const [ann, bob] = [await registered('ann'), await registered('bob')]
    const { slug } = (await ann('POST', '/articles', { body: article('On errors') })).body.article
    const { id } = (await ann('POST', `/articles/${slug}/comments`, { body: { comment: { body: 'Hm' } } })).body.comment
    const taken = ['has already been taken']
    const empty = ["can't be empty"]
    const user = { username: 'ann', email: 'other@mail.com', password: 'secret' }
    const refused: ReadonlyArray<readonly [Send, string, string, object | undefined, number, object]> = [
      [nobody, 'POST', '/users', { user }, 422, { username: taken }],
      [nobody, 'POST', '/users', { user: { ...user, username: 'x', email: 'ann@mail.com' } }, 422, { email: taken }],
      [nobody, 'POST', '/users', { user: { email: ' ' } }, 422, { username: empty, email: empty, password: empty }],
      [
        nobody,
        'POST',
        '/users/login',
        { user: { ...user, password: 'no' } },
        401,
        { 'email or password': ['is invalid'] },
      ],
      [nobody, 'GET', '/user', undefined, 401, { token: expect.any(Array) }],
      [as('no.such.token'), 'GET', '/articles/feed', undefined, 401, { token: expect.any(Array) }],
      [ann, 'PUT', '/user', { user: { username: 'bob' } }, 422, { username: taken }],
      [ann, 'POST', '/articles', { article: { title: '!' } }, 422, { title: empty, description: empty, body: empty }],
      [bob, 'POST', '/articles', article('On errors'), 422, { title: taken }],
      [bob, 'POST', '/articles', article('Feed'), 422, { title: taken }],
      [bob, 'PUT', `/articles/${slug}`, { article: { body: 'Mine' } }, 403, { article: expect.any(Array) }],
      [bob, 'DELETE', `/articles/${slug}`, undefined, 403, { article: expect.any(Array) }],
      [bob, 'DELETE', `/articles/${slug}/comments/${id}`, undefined, 403, { comment: expect.any(Array) }],
      [ann, 'DELETE', `/articles/${slug}/comments/999999`, undefined, 404, { comment: ['not found'] }],
      [nobody, 'GET', '/articles/no-such-article', undefined, 404, { article: ['not found'] }],
      [bob, 'POST', '/articles/no-such-article/favorite', undefined, 404, { article: ['not found'] }],
      [nobody, 'GET', '/profiles/no-such-user', undefined, 404, { profile: ['not found'] }],
      [nobody, 'GET', '/articles?limit=0', undefined, 422, { limit: expect.any(Array) }],
      [nobody, 'GET', '/no-such-route', undefined, 404, { route: ['not found'] }],
    ]
    for (const [send, method, path, body, status, errors] of refused) {
      const answer = await send(method, path, body === undefined ? {} : { body })
      expect([method, path, answer.status, answer.body]).toEqual([method, path, status, { errors }])
    }
  })

  it('gives a title that two ask for at once to one of them', async () => {
    const [eve, mia] = [await registered('eve'), await registered('mia')]
    for (let round = 0; round < 5; round += 1) {
      const before = await count('conduit_events')
      const asked = [eve, mia, eve, mia].map(
        async (send) => await send('POST', '/articles', { body: article(`Race ${round}`) }),
      )
      const answers = await Promise.all(asked)
      expect(statuses(answers)).toEqual([201, 422, 422, 422])
      for (const { status, body } of answers)
        if (status === 422) expect(body).toEqual({ errors: { title: ['has already been taken'] } })
      // Of who was late there is neither event nor row.
      expect(await count('conduit_events')).toBe(before + 2)
    }
    expect(await titles(nobody, '/articles?author=eve')).toHaveLength(
      5 - (await titles(nobody, '/articles?author=mia')).length,
    )
  })

  it('moves and frees slugs with their articles', async () => {
    const kim = await registered('kim')
    await kim('POST', '/articles', { body: article('One title') })
    await kim('POST', '/articles', { body: article('Other title') })
    const move = async (title: string): Promise<Answer> =>
      await kim('PUT', '/articles/one-title', { body: { article: { title } } })
    expect((await move('Other title')).status).toBe(422)
    // Another title with the same slug.
    expect((await move('One title!')).body.article).toMatchObject({ slug: 'one-title', title: 'One title!' })
    expect((await move('New title')).body.article.slug).toBe('new-title')
    expect((await kim('GET', '/articles/one-title')).status).toBe(404)
    expect((await kim('POST', '/articles', { body: article('One title') })).status).toBe(201)
    expect((await kim('DELETE', '/articles/new-title')).status).toBe(204)
    expect((await kim('POST', '/articles', { body: article('New title') })).status).toBe(201)
  })

  it('counts the favorites of twenty users at once', async () => {
    const fans = await Promise.all(
      Array.from({ length: 20 }, async (_none, number) => await registered(`fan${number}`)),
    )
    const [author] = fans as [Send]
    await author('POST', '/articles', { body: article('Loved') })
    /** On a slow machine the deadline of a request may pass before its turn: then nothing is stored, and it is to be sent again. */
    const untilServed = async (fan: Send, method: string): Promise<Answer> => {
      const answer = await fan(method, '/articles/loved/favorite')
      return answer.status === 503 ? await untilServed(fan, method) : answer
    }
    const all = async (method: string, some: readonly Send[]): Promise<void> => {
      const answers = await Promise.all(some.map(async (fan) => await untilServed(fan, method)))
      for (const { status, body } of answers) {
        expect([status, body.article?.favorited]).toEqual([200, method === 'POST'])
      }
    }
    await all('POST', fans)
    await all('POST', fans.slice(0, 5)) // who loves it already changes nothing
    expect((await author('GET', '/articles/loved')).body.article).toMatchObject({ favoritesCount: 20, favorited: true })
    await Promise.all([all('DELETE', fans.slice(0, 8)), all('POST', fans.slice(8))])
    expect((await author('GET', '/articles/loved')).body.article).toMatchObject({
      favoritesCount: 12,
      favorited: false,
    })
    // With the events of the slug, and of publication.
    const sql = `SELECT COUNT(*) FROM conduit_events WHERE topic IN ('Article.Favorited', 'Article.Unfavorited')`
    expect(Number((await rowsOf(database.url, sql))[0]?.[0])).toBe(2 + 20 + 8)
  })

  it('changes the text that an editor has read, and no other', async () => {
    const zoe = await registered('zoe')
    const etag = (await zoe('POST', '/articles', { body: article('Drafts') })).headers.get('etag') ?? ''
    const edit = async (body: string, tag: string): Promise<Answer> =>
      await zoe('PUT', '/articles/drafts', { body: { article: { body } }, headers: { 'if-match': tag } })
    await zoe('POST', '/articles/drafts/favorite') // is in no editor's way
    const answers = await Promise.all(['left', 'right', 'middle'].map(async (body) => await edit(body, etag)))
    expect(statuses(answers)).toEqual([200, 412, 412])
    const current = (await zoe('GET', '/articles/drafts')).headers.get('etag') ?? ''
    expect(current).not.toBe(etag)
    expect((await edit('again', current)).status).toBe(200)
  })

  it('serves a POST once for its idempotency key', async () => {
    const [lee, tim] = [await registered('lee'), await registered('tim')]
    const once = { body: article('Only once'), headers: { 'idempotency-key': 'k1' } }
    const [first, second] = [await lee('POST', '/articles', once), await lee('POST', '/articles', once)]
    expect([second.status, second.body]).toEqual([201, first.body])
    expect(second.headers.get('idempotency-replayed')).toBe('true')
    const other = { ...once, body: article('Only twice') }
    expect((await lee('POST', '/articles', other)).status).toBe(422)
    expect((await tim('POST', '/articles', other)).status).toBe(201) // a key belongs to its user
    expect(await titles(nobody, '/articles?author=lee')).toEqual(['Only once'])
  })

  it('lists newest first, in pages, and feeds those who follow', async () => {
    const [pam, sue, reader] = [await registered('pam'), await registered('sue'), await registered('reader')]
    for (let number = 1; number <= 5; number += 1) {
      await pam('POST', '/articles', { body: article(`Pam ${number}`, ['paging']) })
      await sue('POST', '/articles', { body: article(`Sue ${number}`, ['paging']) })
    }
    const all = [5, 4, 3, 2, 1].flatMap((number) => [`Sue ${number}`, `Pam ${number}`])
    expect(await titles(nobody, '/articles?tag=paging')).toEqual(all)
    expect(await titles(nobody, '/articles?tag=paging&limit=3')).toEqual(all.slice(0, 3))
    expect(await titles(nobody, '/articles?tag=paging&limit=3&offset=8')).toEqual(all.slice(8))
    expect((await nobody('GET', '/articles?tag=paging&limit=3&offset=20')).body).toEqual({
      articles: [],
      articlesCount: 10,
    })
    await reader('POST', '/profiles/pam/follow')
    expect(await titles(reader, '/articles/feed?limit=2&offset=1')).toEqual(['Pam 4', 'Pam 3'])
    await reader('POST', '/profiles/sue/follow')
    expect(await titles(reader, '/articles/feed')).toEqual(all)
    await sue('PUT', '/articles/sue-1', { body: { article: { body: 'Revised' } } }) // which does not move it
    expect(await titles(reader, '/articles/feed?limit=1')).toEqual(['Sue 5'])
    const { body } = await reader('GET', '/articles/feed')
    expect(body.articles[0]).toMatchObject({ author: { username: 'sue', following: true } })
    expect(body.articles[0]).not.toHaveProperty('body')
  })

  it('shows a tag to whoever sends the position of its article', async () => {
    const tom = await registered('tom')
    const { headers } = await tom('POST', '/articles', { body: article('Tagged', ['fresh']) })
    const waiting = { headers: { 'es-wait-for': headers.get('es-position') ?? '', prefer: 'wait=30' } }
    expect((await nobody('GET', '/tags', waiting)).body.tags).toContain('fresh')
    const deleted = await tom('DELETE', '/articles/tagged')
    const after = { headers: { 'es-wait-for': deleted.headers.get('es-position') ?? '' } }
    expect((await nobody('GET', '/tags', after)).body.tags).not.toContain('fresh')
  })

  it('leaves neither an event nor a row of a request that fails', async () => {
    const max = await registered('max')
    await max('POST', '/articles', { body: article('Stays') })
    await max('POST', '/articles/stays/comments', { body: { comment: { body: 'This one, too' } } })
    const before = [await count('conduit_events'), await count('comments')]
    await runAll(database.url, refusals[provider].install)
    expect((await max('DELETE', '/articles/stays')).status).toBe(500)
    await runAll(database.url, refusals[provider].remove)
    expect([await count('conduit_events'), await count('comments')]).toEqual(before)
    expect((await max('GET', '/articles/stays')).status).toBe(200)
    expect((await max('DELETE', '/articles/stays')).status).toBe(204)
    expect(await count('comments')).toBe((before[1] ?? 0) - 1)
  })

  it('has everything after a restart, and the tokens are good', async () => {
    const ada = await registered('ada')
    await ada('POST', '/articles', { body: article('Kept', ['kept']) })
    await ada('POST', '/articles/kept/favorite')
    const { articlesCount } = (await nobody('GET', '/articles')).body
    expect(await server.stop()).toBe(0)
    server = await Server.start(database.url)
    expect((await nobody('GET', '/articles')).body.articlesCount).toBe(articlesCount)
    const { body } = await ada('DELETE', '/articles/kept/favorite')
    expect(body.article).toMatchObject({ favoritesCount: 0, author: { username: 'ada' } })
    const { headers } = await ada('POST', '/articles', { body: article('Kept on', ['kept']) })
    const { tags } = (await nobody('GET', '/tags', { headers: { 'es-wait-for': headers.get('es-position') ?? '' } }))
      .body
    expect(tags).toContain('kept')
  })
})

/** Make the database refuse that a row of articles is deleted, which comes after everything else of that request. */
const refusals = {
  sqlite: {
    install: ["CREATE TRIGGER refuse BEFORE DELETE ON articles BEGIN SELECT RAISE(ABORT, 'no'); END"],
    remove: ['DROP TRIGGER refuse'],
  },
  postgresql: {
    install: [
      "CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no'; END $$ LANGUAGE plpgsql",
      'CREATE TRIGGER refuse BEFORE DELETE ON articles FOR EACH ROW EXECUTE FUNCTION refuse()',
    ],
    remove: ['DROP FUNCTION refuse CASCADE'],
  },
}

it('an article of the example realworld is loved once by each user', () => {
  const text = { title: 'On dogs', description: 'Dogs', body: 'Woof', slug: 'on-dogs' }
  const published = Published({ ...text, author: 1, tagList: [] })
  given(Article, published)
    .when((article) => article.favorite(7))
    .thenEvents(Favorited({ user: 7 }))
  given(Article, published, Favorited({ user: 7 }))
    .when((article) => article.favorite(7))
    .thenEvents()
})

it('the example realworld has the same models on its databases', () => {
  const models = (provider: string): string => readFileSync(here(`prisma/${provider}/conduit.prisma`), 'utf8')
  expect(models('postgresql')).toBe(models('sqlite'))
})
