/** What requests look like, as JSON schemas that Fastify checks before a handler runs. What does not fit is 422. */

const text = { type: 'string', pattern: '\\S' }
const textOrNull = { type: ['string', 'null'] }
/** A slug is made from it. */
const title = { type: 'string', pattern: '[\\p{L}\\p{N}]' }
const tagList = { type: 'array', items: { ...text, maxLength: 100 }, maxItems: 20 }

/** Bodies of this API have one member, which has everything. */
function bodyOf(name: string, properties: object, required: readonly string[] = []): { readonly body: object } {
  const member = { type: 'object', properties, required }
  return { body: { type: 'object', properties: { [name]: member }, required: [name] } }
}

export const registration = bodyOf('user', { username: text, email: text, password: text }, [
  'username',
  'email',
  'password',
])
export const login = bodyOf('user', { email: text, password: text }, ['email', 'password'])
export const account = bodyOf('user', {
  username: text,
  email: text,
  password: text,
  bio: textOrNull,
  image: textOrNull,
})
export const newArticle = bodyOf('article', { title, description: text, body: text, tagList }, [
  'title',
  'description',
  'body',
])
export const changes = bodyOf('article', { title, description: text, body: text })
export const newComment = bodyOf('comment', { body: text }, ['body'])
export const commentId = { params: { type: 'object', properties: { id: { type: 'integer' } } } }

export const page = {
  querystring: {
    type: 'object',
    properties: {
      limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
      offset: { type: 'integer', minimum: 0, default: 0 },
    },
  },
}
