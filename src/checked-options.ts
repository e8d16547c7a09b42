/** Checks options objects: what nobody knows and what is of another type is refused, where it is given. */
import { ProgrammingError } from './errors.js'

/** What an option may be. */
export interface OptionType {
  /** Completes "give", with what to write where something else was meant. */
  readonly says: string
  readonly fits: (value: unknown) => boolean
  /** Of an option that is itself an object of options. */
  readonly members?: OptionTypes
}

/** One type for each option that there is: an option that is added has to get one. */
export type OptionTypesOf<Options> = { readonly [Name in keyof Required<Options>]: OptionType }

type OptionTypes = Readonly<Record<string, OptionType>>

/** Yes or no. */
export const flag: OptionType = { says: 'true or false', fits: (value) => typeof value === 'boolean' }

/** Any text. */
export const text: OptionType = { says: 'a text', fits: (value) => typeof value === 'string' }

/** What can be called. */
export const callable: OptionType = { says: 'a function', fits: (value) => typeof value === 'function' }

/** A count, where none, or no limit, is one too. */
export const count: OptionType = {
  says: 'a whole number from 0',
  fits: (value) => value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && Number(value) >= 0),
}

/** A duration. Its limits are checked where it is used. */
export const milliseconds: OptionType = {
  says: 'a number of milliseconds',
  fits: (value) => typeof value === 'number' && !Number.isNaN(value),
}

/** What aborts. */
export const abortSignal: OptionType = {
  says: 'the signal of an AbortController',
  fits: (value) => isObject(value) && 'aborted' in value,
}

/** What is checked where it is used. */
export const anything: OptionType = { says: 'a value', fits: () => true }

/** One of a few values. */
export function oneOf(...values: readonly unknown[]): OptionType {
  return { says: listed(values.map(spelled), 'or'), fits: (value) => values.includes(value) }
}

/** A list of values of one type. */
export function listOf(type: OptionType, says: string): OptionType {
  return { says, fits: (value) => Array.isArray(value) && value.every(type.fits) }
}

/** An object that has a method; functions count. */
export function having(method: string, says: string): OptionType {
  return { says, fits: (value) => isObject(value) && typeof Reflect.get(value, method) === 'function' }
}

/** An object of options, checked in the same way. */
export function optionsOf<Options>(members: OptionTypesOf<Options>): OptionType {
  return { says: `an object of ${listed(Object.keys(members), 'and')}`, fits: isPlain, members }
}

/** One type or another. */
export function either(...types: readonly OptionType[]): OptionType {
  const members = types.find((type) => type.members !== undefined)?.members
  return {
    says: types.map(({ says }) => says).join(', or '),
    fits: (value) => types.some(({ fits }) => fits(value)),
    ...(members === undefined ? {} : { members }),
  }
}

/**
 * Checks what was given as options. An option that is undefined is one that was not given.
 *
 * @param attempted - completes "Could not"; a function where it costs something to tell
 * @param types - of all options that there are
 * @throws `ProgrammingError` for an option that there is not, with the nearest that there is, and for one of another type
 */
export function checkOptions<Options>(
  attempted: string | (() => string),
  given: unknown,
  types: OptionTypesOf<Options>,
): void {
  // Objects of classes have their options in fields as well.
  if (!isObject(given) || isPrismaClient(given))
    throw refused(attempted, `${described(given)} was given as its options; give an object`)
  check(attempted, given, types, '')
}

function check(attempted: string | (() => string), given: object, types: OptionTypes, path: string): void {
  for (const name of Object.keys(given)) {
    const type = Object.hasOwn(types, name) ? types[name] : undefined
    if (type === undefined) throw refused(attempted, unknownOption(name, Object.keys(types), path))
    const value: unknown = Reflect.get(given, name)
    if (value === undefined) continue
    if (!type.fits(value))
      throw refused(attempted, `the option \`${path}${name}\` is ${described(value)}; give ${type.says}`)
    if (type.members !== undefined && isPlain(value)) check(attempted, value, type.members, `${path}${name}.`)
  }
}

function refused(attempted: string | (() => string), problem: string): ProgrammingError {
  const what = typeof attempted === 'function' ? attempted() : attempted
  return new ProgrammingError(`Could not ${what}: ${problem}${problem.endsWith('?') ? '' : '.'}`)
}

function unknownOption(name: string, known: readonly string[], path: string): string {
  const nearest = nearestName(name, known)
  const ask = nearest === undefined ? `it has ${listed(known, 'and')}` : `did you mean \`${path}${nearest}\`?`
  return `there is no option \`${path}${name}\`; ${ask}`
}

/** Words that Prisma and others have for the same. */
const otherWords: Readonly<Record<string, string>> = {
  timeout: 'deadlineMs',
  prisma: 'client',
  db: 'datastore',
  database: 'datastore',
  handlers: 'on',
}

/** The name that was probably meant, undefined where none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const given = comparable(name)
  const same = Object.hasOwn(otherWords, given) ? otherWords[given] : undefined
  if (same !== undefined && known.includes(same)) return same
  const longer = known.filter((candidate) => given.length > 2 && comparable(candidate).startsWith(given))
  if (longer.length === 1) return longer[0]
  let nearest: string | undefined
  let least = Math.min(3, Math.ceil(given.length / 3)) + 1
  for (const candidate of known) {
    const distance = distanceOf(given, comparable(candidate))
    if (distance >= least) continue
    nearest = candidate
    least = distance
  }
  return nearest
}

function comparable(name: string): string {
  return name.replaceAll(/[_-]/g, '').toLowerCase()
}

/** How many letters are to be added, taken away, changed, or exchanged with the next one. */
function distanceOf(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isExchange = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const exchanged = isExchange ? (before[j - 2] ?? 0) + 1 : changed
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, changed, exchanged))
    }
    before = row
    row = next
  }
  return row[b.length] ?? 0
}

/** A value as messages tell it. Long texts are left out: they may be URLs with passwords. */
export function described(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return /^[\w .-]{0,40}$/.test(value) ? `the text ${spelled(value)}` : 'a text'
    case 'function':
      return describedFunction(value)
    case 'number':
    case 'bigint':
    case 'boolean':
      return `the ${typeof value} ${value}`
    case 'object':
      return value === null ? 'null' : describedObject(value)
    case 'undefined':
      return 'undefined'
    case 'symbol':
      return 'a symbol'
  }
}

function describedObject(value: object): string {
  if (Array.isArray(value)) return 'a list'
  if (isPrismaClient(value)) return 'a PrismaClient'
  if (value instanceof Promise) return 'a promise that nobody has awaited'
  const { constructor } = value as { readonly constructor?: { readonly name?: string } }
  return isPlain(value) || !constructor?.name ? 'an object' : `an object of the class ${constructor.name}`
}

/** Whether it is one of any generated client: known by shape, since each project has its own. */
function isPrismaClient(value: unknown): boolean {
  // Clients look at names that they don't have as if they were models.
  return isObject(value) && '$transaction' in value && '$connect' in value
}

/** Whether it can be called with `new` only. */
export function isClass(value: unknown): boolean {
  // Only that of a class is not to be replaced, also where a decorator has wrapped it.
  return typeof value === 'function' && Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false
}

function describedFunction(value: NewableFunction | (() => unknown)): string {
  const { name } = value
  // A bundler has left nothing of the name.
  if (isClass(value)) return name.length < 3 ? 'a class' : `the class ${name}`
  return name === '' ? 'a function' : `the function ${name}`
}

function spelled(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : String(value)
}

function listed(names: readonly string[], word: string): string {
  return names.length < 2 ? names.join() : `${names.slice(0, -1).join(', ')} ${word} ${names.at(-1)}`
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
