/** Personal data: which fields of events are about a person, and about whom. */

/**
 * The personal fields of an event. A field is about the originator itself (`true`), or about the person whose id is in
 * another field, which is named; where that one holds a list of ids, about all of them.
 */
export type PersonalFields<Data extends object = Readonly<Record<string, unknown>>> = {
  readonly [Field in keyof Data]?: true | (keyof Data & string)
}

/** The personal fields of events, by the event's name. */
export type PersonalData = Readonly<Record<string, PersonalFields>>

/** By field, the persons that an event's data are about. */
export type Subjects = Readonly<Record<string, readonly string[]>>

/** The data of an event as they are read: instead of a personal field there may be its placeholder. */
export type WithErased<Data extends object, Personal> = {
  [Field in keyof Data]: Field extends keyof Personal ? Data[Field] | Erased : Data[Field]
}

/** An event to be. */
interface SubjectSource {
  /** For messages, such as `Dog.Registered`. */
  readonly topic: string
  readonly originatorId: string
  readonly data: Readonly<Record<string, unknown>>
}

const longestSubject = 255

/** Nobody. */
export const noSubjects: ReadonlySet<string> = new Set()

/** The persons that an originator knows data of, and those that one more of its events has data of. */
export function withSubjects(known: ReadonlySet<string>, personal: Subjects | undefined): ReadonlySet<string> {
  return personal === undefined ? known : new Set([...known, ...Object.values(personal).flat()])
}

/**
 * Gives the name of a person back as it is stored: a UUID in lower case and with hyphens, since databases write them so.
 *
 * @throws `TypeError` for anything but a text of 1 to 255 characters
 */
export function checkSubject(subject: unknown): string {
  if (isSubject(subject)) return canonical(subject)
  throw new TypeError(`A person must be named by a text of 1 to ${longestSubject} characters, not ${typeof subject}`)
}

/**
 * Finds out whom the personal fields of an event are about. Fields that are not there, null or erased are about nobody.
 *
 * @returns undefined where there are none
 * @throws `TypeError` where the person is not named by a text of 1 to 255 characters
 */
export function subjectsOf(fields: PersonalFields | undefined, event: SubjectSource): Subjects | undefined {
  if (fields === undefined) return undefined
  let subjects: Record<string, readonly string[]> | undefined
  for (const [field, about] of Object.entries(fields)) {
    const value = event.data[field]
    if (about === undefined || value === undefined || value === null || value instanceof Erased) continue
    const named = about === true ? event.originatorId : event.data[about]
    subjects ??= {}
    subjects[field] = Object.freeze(subjectsIn(named, { field, about, topic: event.topic }))
  }
  return subjects === undefined ? undefined : Object.freeze(subjects)
}

interface Place {
  readonly topic: string
  readonly field: string
  readonly about: true | string
}

function subjectsIn(named: unknown, { topic, field, about }: Place): string[] {
  const subjects: readonly unknown[] = Array.isArray(named) ? named : [named]
  if (subjects.length > 0 && subjects.every(isSubject)) return [...new Set(subjects.map(canonical))].sort()
  throw new TypeError(
    `Cannot tell whose data '${field}' of ${topic} is: ${about === true ? 'the id' : `'${about}'`} must be a text of 1 to ` +
      `${longestSubject} characters, or a list of such texts`,
  )
}

/** A UUID in lower case and with hyphens; any other text as it is. */
export function canonical(id: string): string {
  const digits = id.replaceAll('-', '').toLowerCase()
  if (!/^[0-9a-f]{32}$/.test(digits) || !/^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(id)) return id
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/**
 * Checks marks where they are made.
 *
 * @param names - the fields that the event has, undefined where any may be
 * @throws `TypeError` for what is no mark, for a field that the event does not have, and where the field with the person's id is
 *   marked itself: the id is stored in clear
 */
export function checkFields(fields: unknown, label: string, names?: readonly string[]): PersonalFields {
  if (typeof fields !== 'object' || fields === null) throw new TypeError(`${label} must be an object`)
  for (const [field, about] of Object.entries(fields)) {
    if (about !== true && (typeof about !== 'string' || about === '')) {
      throw new TypeError(`${label}.${field} must be true, or the name of the field with the person's id`)
    }
    const unknown = [field, about].find((name) => typeof name === 'string' && names?.includes(name) === false)
    if (unknown !== undefined)
      throw new TypeError(`${label} names '${String(unknown)}', which is no field of the event`)
    if (typeof about === 'string' && Object.hasOwn(fields, about)) {
      throw new TypeError(
        `${label}.${field} names '${about}', which is personal itself: name persons by an id that says nothing`,
      )
    }
  }
  return fields
}

function isSubject(value: unknown): value is string {
  // Half a surrogate pair and a zero are no text for every database.
  return typeof value === 'string' && /^[^\0\p{Surrogate}]+$/u.test(value) && value.length <= longestSubject
}

/**
 * Stands where an event had the data of persons: one of them was forgotten, or the reader does not have the keys.
 *
 * As text, and in JSON, it is `[erased]`.
 */
export class Erased {
  /** The persons, as events name them, in order: the data were about all of them. */
  readonly subjects: readonly string[]

  constructor(...subjects: readonly string[]) {
    this.subjects = Object.freeze([...subjects])
    Object.freeze(this)
  }

  /** `[erased]`. */
  toString(): string {
    return '[erased]'
  }

  /** `[erased]`. */
  toJSON(): string {
    return '[erased]'
  }
}

/** Whether a value is the placeholder of erased personal data. */
export function isErased(value: unknown): value is Erased {
  return value instanceof Erased
}
