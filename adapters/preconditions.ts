/** Preconditions of requests: the version of an originator is its ETag, and If-Match says which version is expected. @see RFC 9110, section 13 */
import { checkOptions, flag, type OptionTypesOf } from '../src/checked-options.js'
import { PreconditionFailedError, PreconditionRequiredError, ProgrammingError } from '../src/index.js'

/** What has a version: an aggregate, or the state of a decider's originator. */
export interface Versioned {
  /** For messages. */
  readonly id: string
  /** The version of its last event. */
  readonly version: number
}

/** A request as far as its headers go, in any framework. */
export interface RequestWithHeaders {
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** What is asked of a request beside the match. */
export interface IfMatchOptions {
  /** Whether a request without If-Match is refused; default false. */
  readonly required?: boolean
}

const ifMatchOptionTypes: OptionTypesOf<IfMatchOptions> = { required: flag }

/**
 * The ETag of an originator's present version, such as `"7"`: a strong one, for the header of that name.
 *
 * @example
 * reply.header('etag', etagOf(dog))
 */
export function etagOf({ version }: Pick<Versioned, 'version'>): string {
  return `"${version}"`
}

/**
 * Refuses a request whose If-Match does not have the version of the originator as it was read, before something is done to
 * it. What is saved after that is a conflict as ever if somebody else is faster.
 *
 * @throws `PreconditionFailedError` for another version, which error handlers answer with 412; `PreconditionRequiredError` where one
 *   is required and there is none, 428; `ProgrammingError` for a header that is none
 *
 * @example
 * const dog = await school.repository.get(Dog, request.params.id)
 * assertIfMatch(request, dog)
 */
export function assertIfMatch({ headers }: RequestWithHeaders, originator: Versioned, options?: IfMatchOptions): void {
  if (options !== undefined) checkOptions('compare If-Match', options, ifMatchOptionTypes)
  const required = options?.required ?? false
  const given = headers['if-match']
  if (given === undefined) {
    if (!required) return
    throw new PreconditionRequiredError(
      `Could not change ${originator.id} without an If-Match: send the ETag of the version that the change is for.`,
    )
  }
  const expected = Array.isArray(given) ? given.join(', ') : given
  // If-Match compares strongly: a weak tag matches nothing.
  if (entityTags('If-Match', expected).some((tag) => tag === '*' || tag === etagOf(originator))) return
  throw new PreconditionFailedError(
    `Could not change ${originator.id}: If-Match is ${expected}, and the version is ${etagOf(originator)}. Get it again.`,
    { originatorId: originator.id, actualVersion: originator.version },
  )
}

/**
 * Whether a client has the present version already, as its If-None-Match says: the answer to its GET is 304 then, without a body.
 *
 * @throws `ProgrammingError` for a header that is none, which error handlers answer with 400
 *
 * @example
 * if (isNotModified(request, dog)) return reply.code(304).send()
 */
export function isNotModified({ headers }: RequestWithHeaders, originator: Pick<Versioned, 'version'>): boolean {
  const given = headers['if-none-match']
  if (given === undefined) return false
  // If-None-Match compares weakly: a proxy may have compressed what the tag was given for.
  const etag = etagOf(originator)
  return entityTags('If-None-Match', String(given)).some((tag) => tag === '*' || tag.replace(/^W\//, '') === etag)
}

const entityTag = String.raw`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`
const entityTagList = new RegExp(`^${entityTag}(?:\\s*,\\s*${entityTag})*$`)

/** The tags in a header, weak ones as well; they may have commas in them. */
function entityTags(name: string, header: string): string[] {
  const list = header.trim()
  if (list === '*') return [list]
  if (entityTagList.test(list)) return list.match(new RegExp(entityTag, 'g')) ?? []
  throw Object.assign(new ProgrammingError(`Could not read ${name}: ${header} is no list of entity tags.`), {
    statusCode: 400,
  })
}
