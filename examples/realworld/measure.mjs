/** `npm run measure`: how long requests of each kind take, one after the other, from a client on the same machine. */
import { served } from './served.mjs'

const warmUp = 20
const rounds = 300

await served(async (address) => {
  const send = async (method, path, body, token) => {
    const headers = { 'content-type': 'application/json', ...(token && { authorization: `Token ${token}` }) }
    const response = await fetch(`${address}${path}`, { method, headers, body: body && JSON.stringify(body) })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }
  const name = `m${Date.now()}`
  const { user } = await send('POST', '/users', { user: { username: name, email: name, password: name } })
  const as = async (method, path, body) => await send(method, path, body, user.token)
  const article = (title) => ({ article: { title, description: 'x', body: 'x'.repeat(2_000), tagList: ['a', 'b'] } })
  const path = `/articles/${(await as('POST', '/articles', article(name))).article.slug}`
  const kinds = {
    'POST /articles': async (round) => await as('POST', '/articles', article(`${name} ${round}`)),
    'PUT /articles/:slug': async (round) => await as('PUT', path, { article: { body: `${round}` } }),
    'POST and DELETE /articles/:slug/favorite': async (round) =>
      await as(round % 2 === 0 ? 'POST' : 'DELETE', `${path}/favorite`),
    'POST /articles/:slug/comments': async () => await as('POST', `${path}/comments`, { comment: { body: 'x' } }),
    'GET /articles/:slug': async () => await as('GET', path),
    'GET /articles?limit=20': async () => await as('GET', '/articles?limit=20'),
    'GET /tags': async () => await as('GET', '/tags'),
  }
  const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, []]))
  // By turns, so that what else the machine does meets all of them.
  for (let round = 0; round < warmUp + rounds; round += 1) {
    for (const [kind, request] of Object.entries(kinds)) {
      const began = performance.now()
      await request(round)
      if (round >= warmUp) times[kind].push(performance.now() - began)
    }
  }
  for (const [kind, all] of Object.entries(times)) {
    all.sort((a, b) => a - b)
    const at = (share) => `${all[Math.floor(all.length * share)].toFixed(1)} ms`
    console.log(`${kind.padEnd(42)} p50 ${at(0.5).padStart(8)}   p90 ${at(0.9).padStart(8)}`)
  }
})
