/** The values that events keep: one walk checks them, copies them and pins them; another makes copies for those who change them. */
import { DataError, TranscodingNotRegisteredError } from '../errors.js'
import { dateOrTimestamp, isStorable, markedTimestamp, millisecondTimestamp, Timestamp } from './timestamp.js'

/** A way to take a value of a type apart, and to make it again. */
export interface ValueType {
  /** What the value is made of: values of other known types, lists and objects. */
  encode(value: unknown): unknown
  /** Another value that is equal. */
  decode(data: unknown): unknown
  /** Whether its values never change, so that they can be shared. */
  readonly isImmutable?: boolean
}

const typesByPrototype = new WeakMap<object, ValueType>()
const recognisers: Array<(value: object) => ValueType | undefined> = []
let areOthersPossible = false

/** Makes the type with a prototype known to the whole process; again, in the place of what was known. */
export function makeTypeKnown(prototype: object, type: ValueType): void {
  typesByPrototype.set(prototype, type)
}

/** Makes a type known whose classes are many and only alike: it is asked about values that nothing else knows. */
export function makeShapeKnown(recognise: (value: object) => ValueType | undefined): void {
  recognisers.push(recognise)
}

/** Notes that there is a transcoder which does not tell what it knows: instances of any class may be stored by it. */
export function admitOtherTypes(): void {
  areOthersPossible = true
}

/** Whether instances of classes that are not known here have to be left to a transcoder. */
function areOtherTypesPossible(): boolean {
  return areOthersPossible
}

/** The type of an instance of a class, undefined for one that is not known. */
export function valueTypeOf(value: object): ValueType | undefined {
  const known = typesByPrototype.get(Object.getPrototypeOf(value) as object)
  if (known !== undefined) return known
  for (const recognise of recognisers) {
    const type = recognise(value)
    if (type !== undefined) return type
  }
  return undefined
}

/** Whether a value is an object literal, also one of another realm, such as a test runner's sandbox. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype as object, 'isPrototypeOf')
}

/** How many lists and objects a value of an event can have within each other; a map counts as two. */
const deepestValue = 200

/** What is read and copied may be deeper: the state of an aggregate has its values within its own members. */
export const deepestState = 256

/**
 * Gives back values as an event keeps them: copies, frozen where they can be, equal to what will be read of the stored event.
 *
 * Dates become timestamps, which cannot change; instances of classes with a transcoding are made again by it.
 *
 * @param values - a plain object; members that are undefined are left out
 * @param attempted - gives what is to be done, for messages, such as `trigger Dog.Born, version 1 of 5`
 * @throws `DataError` for a value that could not be read again, with its place in the values
 * @throws `TranscodingNotRegisteredError` for an instance of a class that has no transcoding
 */
export function pinned<Values extends object>(values: Values, attempted: () => string, by: Pinning = pinning): Values {
  try {
    return by.members(values as Readonly<Record<string, unknown>>, 0) as Values // of the same shape
  } catch (error) {
    if (!(error instanceof UnkeepableValue)) throw error
    const message = `Cannot ${attempted()}: ${error.place} is ${error.message}`
    throw error.isOfUnknownType ? new TranscodingNotRegisteredError(message) : new DataError(message)
  }
}

/** The same for the state in a snapshot, which is also to tell dates and timestamps apart when it is read. */
export function pinnedState<State extends object>(state: State, attempted: () => string): State {
  return pinned(state, attempted, pinningOfStates)
}

/**
 * A copy for who may change it: of arrays, plain objects, maps, sets, bytes and instances with a transcoding, however deep.
 * Timestamps without microseconds become dates, in new events as in stored ones. Any other value is given back as it is.
 *
 * @throws `DataError` for a value that contains itself, or is nested too deeply
 */
export function copied(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? copyOf(value, 0, { isFrozen: false }) : value
}

/** The same of what nobody has checked: a value with members that the copy would not have is given back as it is, for `pinned` to refuse. */
export function copiedUnchecked(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? copyOf(value, 0, { isFrozen: false, isOfOthers: true }) : value
}

/** A copy of arrays and plain objects that is frozen, and of maps and sets; any other value is given back as it is. */
export function frozen(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? copyOf(value, 0, { isFrozen: true }) : value
}

/** Found on the way down; the place is put together on the way up. */
class UnkeepableValue extends Error {
  readonly isOfUnknownType: boolean
  readonly #path: string[] = []

  constructor(reason: string, isOfUnknownType = false) {
    super(reason)
    this.isOfUnknownType = isOfUnknownType
  }

  within(step: string): this {
    this.#path.unshift(step)
    return this
  }

  get place(): string {
    const path = this.#path.join('').replace(/^\./, '')
    return path.length > longestPlace ? `${path.slice(0, longestPlace)}…` : path
  }
}

const longestPlace = 100

class Pinning {
  readonly #deepest: number
  readonly #isOfState: boolean

  constructor(deepest: number, isOfState: boolean) {
    this.#deepest = deepest
    this.#isOfState = isOfState
  }

  members(value: Readonly<Record<string, unknown>>, depth: number): object {
    const symbols = Object.getOwnPropertySymbols(value)
    if (symbols.some((key) => Object.prototype.propertyIsEnumerable.call(value, key))) {
      throw new UnkeepableValue('an object with a symbol for a key, which JSON cannot have')
    }
    const result: Record<string, unknown> = {}
    for (const name of Object.keys(value)) {
      const member = value[name]
      if (member === undefined) continue
      try {
        const kept = this.value(member, depth)
        if (name === '__proto__') defineMember(result, name, kept)
        else result[name] = kept
      } catch (error) {
        throw error instanceof UnkeepableValue ? error.within(stepOf(name)) : error
      }
    }
    return Object.freeze(result)
  }

  value(value: unknown, depth: number): unknown {
    switch (typeof value) {
      case 'string':
      case 'boolean':
      case 'bigint':
        return value
      case 'number':
        if (Number.isFinite(value)) return value
        throw new UnkeepableValue(`${value}, and JSON has no such number`)
      case 'object':
        return value === null ? null : this.#object(value, depth)
      case 'undefined':
        throw new UnkeepableValue('undefined: use null')
      case 'function':
        throw new UnkeepableValue(`a function${value.name === '' ? '' : `, ${value.name}`}`)
      case 'symbol':
        throw new UnkeepableValue(`a symbol, ${String(value)}`)
    }
  }

  #object(value: object, depth: number): unknown {
    if (Array.isArray(value)) return this.#array(value, depth)
    if (isPlainObject(value)) {
      return this.members(value, this.#below(depth, looksTyped(value) ? 3 : 1))
    }
    if (value instanceof Timestamp) return storable(this.#isOfState ? markedTimestamp(value) : value)
    switch (Object.getPrototypeOf(value)) {
      case Date.prototype:
        assertBare(value, 'a Date')
        return storable(millisecondTimestamp(value as Date))
      case Map.prototype:
        assertBare(value, 'a Map')
        return this.#map(value as Map<unknown, unknown>, this.#below(depth, 2))
      case Set.prototype:
        assertBare(value, 'a Set')
        return new Set(this.#items([...(value as Set<unknown>)], this.#below(depth, 1)))
      case Uint8Array.prototype:
        return (value as Uint8Array).slice()
      case Buffer.prototype:
        return Buffer.from(value as Buffer)
      default:
        return this.#instance(value, depth)
    }
  }

  #array(value: readonly unknown[], depth: number): unknown {
    if (isOfArrayClass(value)) return this.#instance(value, depth)
    const items = this.#items(value, this.#below(depth, 1))
    // After the items, which have found the holes.
    assertBare(value, 'an array')
    return Object.freeze(items)
  }

  #items(value: readonly unknown[], depth: number): unknown[] {
    const result: unknown[] = []
    for (let index = 0; index < value.length; index += 1) {
      try {
        result.push(this.value(value[index], depth))
      } catch (error) {
        throw error instanceof UnkeepableValue ? error.within(`[${index}]`) : error
      }
    }
    return result
  }

  #map(value: ReadonlyMap<unknown, unknown>, depth: number): Map<unknown, unknown> {
    const result = new Map<unknown, unknown>()
    for (const entry of value) {
      const [key, member] = this.#items(entry, depth)
      result.set(key, member)
    }
    return result
  }

  #instance(value: object, depth: number): unknown {
    const type = valueTypeOf(value)
    if (type !== undefined) {
      return type.isImmutable === true ? value : type.decode(this.value(type.encode(value), depth))
    }
    // A transcoder of JSON would write a list of a class as any other list.
    if (areOtherTypesPossible() && !Array.isArray(value)) return value
    throw new UnkeepableValue(
      `an instance of ${nameOf(value)}: define a transcoding for the type and register it, by defineTranscoding() and the ` +
        'option transcodings of the application',
      true,
    )
  }

  #below(depth: number, levels: number): number {
    if (depth + levels <= this.#deepest) return depth + levels
    throw new UnkeepableValue(`nested deeper than ${this.#deepest} levels, or contains itself`)
  }
}

const pinning = new Pinning(deepestValue, false)
const pinningOfStates = new Pinning(deepestState, true)

interface Copying {
  readonly isFrozen: boolean
  /** Whether what the copy would not have makes a value stay as it is. */
  readonly isOfOthers?: boolean
}

function copyOf(value: object, depth: number, copying: Copying): unknown {
  if (depth > deepestState) {
    throw new DataError(`Cannot copy a value that is nested deeper than ${deepestState} levels, or contains itself`)
  }
  const copyMember = (member: unknown): unknown =>
    typeof member === 'object' && member !== null ? copyOf(member, depth + 1, copying) : member
  if (copying.isOfOthers === true && hasForeignMembers(value)) return value
  if (Array.isArray(value)) {
    if (isOfArrayClass(value)) return instanceOf(value, copyMember, copying)
    const items = Array.from(value, copyMember)
    return copying.isFrozen ? Object.freeze(items) : items
  }
  if (isPlainObject(value)) {
    const members = membersOf(value, copyMember)
    return copying.isFrozen ? Object.freeze(members) : members
  }
  switch (Object.getPrototypeOf(value)) {
    case Map.prototype:
      return new Map(
        [...(value as Map<unknown, unknown>)].map(([key, member]) => [copyMember(key), copyMember(member)]),
      )
    case Set.prototype:
      return new Set([...(value as Set<unknown>)].map(copyMember))
    default:
      return instanceOf(value, copyMember, copying)
  }
}

function instanceOf(value: object, copyMember: (member: unknown) => unknown, { isFrozen }: Copying): unknown {
  if (isFrozen) return value
  switch (Object.getPrototypeOf(value)) {
    case Timestamp.prototype:
      return dateOrTimestamp(value as Timestamp)
    case Date.prototype:
      return new Date(value as Date)
    case Uint8Array.prototype:
      return (value as Uint8Array).slice()
    case Buffer.prototype:
      return Buffer.from(value as Buffer)
    default: {
      const type = valueTypeOf(value)
      return type === undefined || type.isImmutable === true ? value : type.decode(copyMember(type.encode(value)))
    }
  }
}

/** A plain assignment to `__proto__` would change the prototype instead of making a property. */
function defineMember(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true })
}

function membersOf(
  value: Readonly<Record<string, unknown>>,
  change: (member: unknown) => unknown,
): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const name of Object.keys(value)) {
    const member = change(value[name])
    if (name === '__proto__') defineMember(result, name, member)
    else if (member !== undefined) result[name] = member
  }
  return result
}

/** The prototype of arrays is an array itself, here and in other realms; that of a class is none. */
function isOfArrayClass(value: readonly unknown[]): boolean {
  return !Array.isArray(Object.getPrototypeOf(value))
}

/** @throws `UnkeepableValue` for a list, date, map or set that was given members of its own */
function assertBare(value: object, kind: string): void {
  if (!hasForeignMembers(value)) return
  const isItem = Array.isArray(value) ? (name: string) => /^\d+$/.test(name) : () => false
  const names = [...Object.keys(value).filter((name) => !isItem(name)), ...symbolsOf(value).map(String)]
  const shown = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''}`
  throw new UnkeepableValue(
    `${kind} with members of its own (${shown}), which an event does not keep: put them beside it`,
  )
}

/** Whether a list, date, map or set was given members of its own. Bytes are not asked: to list their members takes far longer than to copy them. */
function hasForeignMembers(value: object): boolean {
  const isList = Array.isArray(value)
  if (!isList && !(value instanceof Date || value instanceof Map || value instanceof Set)) return false
  return Object.keys(value).length !== (isList ? value.length : 0) || symbolsOf(value).length > 0
}

function symbolsOf(value: object): symbol[] {
  return Object.getOwnPropertySymbols(value).filter((key) => Object.prototype.propertyIsEnumerable.call(value, key))
}

/** Such an object is written as a list of pairs. */
function looksTyped(value: object): boolean {
  return '_type_' in value && '_data_' in value
}

function storable(timestamp: Timestamp): Timestamp {
  if (isStorable(timestamp)) return timestamp
  const shown = Number.isNaN(timestamp.getTime()) ? 'an invalid Date' : `the date ${timestamp.iso}`
  throw new UnkeepableValue(`${shown}: a time has to be in the years 1 to 9999`)
}

function stepOf(name: string): string {
  return /^[\w$]+$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`
}

function nameOf(value: object): string {
  const type: unknown = value.constructor
  return typeof type === 'function' && type.name !== '' ? type.name : 'an unnamed class'
}
