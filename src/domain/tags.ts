/** Tags of events: what they are about beyond their stream, by which decisions find them and are guarded. */
import { inspect } from 'node:util'
import { DataError } from '../errors.js'
import { assertStorableText } from './names.js'
import { Erased, type Subjects } from './personal-data.js'

/** The value of a tag: one that may be read by whoever reads the table of tags, or one that `secret` hides. */
export type TagValue = string | number | bigint | Secret

/** Tags by name: `{ course: 'c1', student: ['s1', 's2'] }`. A name whose value is undefined is no tag. */
export type Tags = Readonly<Record<string, TagValue | readonly TagValue[] | undefined>>

/** Which tags an event has, by its data. */
export type TagsOf<Data extends object = never> = (data: Data) => Tags

/** One tag, before it is known how its value is written. */
export interface Tag {
  /** Such as `course`. */
  readonly name: string
  /** The value as a text; a `Secret` is not readable in the table. */
  readonly value: string | Secret
}

/** The value of a tag that is stored as an HMAC, which the application makes with its key. Logs do not show it, since it is private. */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** Gives the text itself, for who makes the HMAC. */
  reveal(): string {
    return this.#value
  }

  /** Not in what is made of it as JSON. */
  toJSON(): string {
    return '[secret]'
  }
}

/**
 * Hides the value of a tag: an HMAC under a key of the application is stored in its place. For personal values, such as an e-mail
 * address, which `forget()` would leave behind otherwise. The key is the variable `TAG_KEY`; without it, it follows from
 * `CIPHER_KEY`.
 *
 * @param value - exactly as it is to be compared: what is the same for you, such as another case, has to be made the same before
 * @throws `TypeError` for anything but a text, a number or a bigint
 */
export function secret(value: string | number | bigint | Erased): Secret {
  if (value instanceof Erased) return new Secret('')
  return new Secret(textOf(value, 'secret()'))
}

/** The greatest length of a tag, `name:value`, in bytes: it is a key in all databases. */
const longestTag = 255

/** Each is a table more in a statement: MariaDB takes 61, SQLite 64. */
const mostAsked = 20

/**
 * Checks tags, and gives them as a list.
 *
 * @param attempted - as the message of a failure says it
 * @throws `TypeError` for what is no tag; `DataError` for one that is too long or cannot be stored
 */
function tagList(tags: unknown, attempted: string): readonly Tag[] {
  if (typeof tags !== 'object' || tags === null || Array.isArray(tags)) {
    throw new TypeError(`Cannot ${attempted}: its tags are ${inspect(tags)}; give them by name: { course: 'c1' }`)
  }
  const list: Tag[] = []
  for (const [name, given] of Object.entries(tags)) {
    if (!/^[^\s:]+$/.test(name)) {
      throw new TypeError(`Cannot ${attempted}: '${name}' is no name of a tag, which has neither spaces nor colons`)
    }
    const values: readonly unknown[] = Array.isArray(given) ? given : [given]
    for (const value of values) if (value !== undefined && !isErased(value)) list.push(tagOf(name, value, attempted))
  }
  return Object.freeze(list)
}

/**
 * The tags that events are asked for.
 *
 * @throws `TypeError` as `tagList` does, without any, with more than 20, and for a name without a value: more would be asked for than is meant
 */
export function queriedTags(tags: Tags, attempted: string): readonly Tag[] {
  const list = tagList(tags, attempted)
  if (list.length > mostAsked) {
    throw new TypeError(
      `Cannot ${attempted} with ${list.length} tags at once: at most ${mostAsked}, all of which an event must have`,
    )
  }
  const missing = Object.keys(tags).find((name) => !list.some((tag) => tag.name === name))
  if (missing === undefined && list.length > 0) return list
  throw new TypeError(
    missing === undefined
      ? `Cannot ${attempted} without a tag: give at least one, such as { invoices: 2026 } for a rule about all`
      : `Cannot ${attempted}: the tag '${missing}' has no value`,
  )
}

/** Whether an event has all of the tags that are asked for. */
export function hasAllTags({ tags = [] }: { readonly tags?: readonly Tag[] }, asked: readonly Tag[]): boolean {
  const own = new Set(tags.map(tagKey))
  return asked.every((tag) => own.has(tagKey(tag)))
}

/** By it tags are compared; it has what is secret, so it is not to be shown. */
export function tagKey({ name, value }: Tag): string {
  return `${name}:${value instanceof Secret ? `secret ${value.reveal()}` : value}`
}

/** What was personal and is erased has no tags any more. */
function isErased(value: unknown): boolean {
  return value instanceof Erased || (value instanceof Secret && value.reveal() === '')
}

function tagOf(name: string, value: unknown, attempted: string): Tag {
  if (value instanceof Secret) return Object.freeze({ name, value })
  const text = textOf(value, `${attempted}: the tag '${name}'`)
  const tag = `${name}:${text}`
  assertStorableText({ tag }, () => attempted)
  if (Buffer.byteLength(tag) > longestTag) {
    throw new DataError(
      `Cannot ${attempted}: the tag '${name}' is longer than ${longestTag} bytes with its value. Tag by an id, or by secret(…), whose HMAC is short.`,
    )
  }
  return Object.freeze({ name, value: text })
}

function textOf(value: unknown, place: string): string {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))) return String(value)
  throw new TypeError(
    `Cannot ${place}: the value of a tag is a text that is not empty, a number or secret(…), not ${inspect(value)}`,
  )
}

/** What an event's tags are made from. */
export interface TaggedData {
  readonly tagsOf: TagsOf | undefined
  readonly data: Readonly<Record<string, unknown>>
  readonly personal: Subjects | undefined
  /** As the message of a failure says it, such as `trigger Dog.Registered, …`. */
  readonly attempted: string
}

/**
 * The tags of an event, undefined where its definition has none.
 *
 * @throws `TypeError` for what are no tags, and for a personal value that is not hidden: it would stay when the person is forgotten
 */
export function eventTags({ tagsOf, data, personal, attempted }: TaggedData): readonly Tag[] | undefined {
  if (tagsOf === undefined) return undefined
  // What a definition's function takes is what its schema gives.
  const tags = tagList((tagsOf as (data: object) => unknown)(data), attempted)
  for (const field of Object.keys(personal ?? {})) {
    const value: unknown = data[field]
    const open = tags.find((tag) => tag.value === value || tag.value === String(value))
    if (open === undefined) continue
    throw new TypeError(
      `Cannot ${attempted}: its tag '${open.name}' has '${field}' in the clear, which is personal and would stay when the person is ` +
        'forgotten. Write secret(…) around it.',
    )
  }
  return tags
}
