/** Copies of originators, which share nothing that can change: what a cache keeps and gives out. */
import { type AggregateClass, isAggregate, tryRecordOf } from './aggregate.js'
import { aggregateWith, stateOf } from './aggregate-state.js'
import { type DeciderState, knownSubjects, withShownSubjects } from './decider.js'
import { isEnded, markEnded } from './ended.js'
import { assertVisible } from './private-members.js'
import type { Snapshotted } from './snapshot.js'
import { Timestamp } from './timestamp.js'
import { valueTypeOf } from './value-types.js'

/**
 * Copies an originator, without its pending events.
 *
 * Copied are arrays, maps, sets, dates, typed arrays, plain objects and instances of classes, at any depth, also in circles.
 * Instances with a transcoding are made again by it, frozen instances of classes are shared. The state of an aggregate that has `snapshotState` and `restoreState` is copied by them.
 *
 * @returns undefined for a state with a function in it, which would still be about the original
 * @throws `TypeError` for one with `#private` members that does not keep its state by itself
 */
export function copyOriginator(originator: Snapshotted): Snapshotted | undefined {
  const copy = copyOf(originator)
  if (copy !== undefined && isEnded(originator)) markEnded(copy)
  return copy
}

function copyOf(originator: Snapshotted): Snapshotted | undefined {
  if (!isAggregate(originator)) return copyOfState(originator)
  const record = tryRecordOf(originator)
  if (record === undefined) return undefined
  assertVisible(originator)
  const { creation, version, modifiedOn, subjects } = record
  const copier = new Copier()
  const state = copier.copy(stateOf(originator)) as object // as what it is a copy of
  if (copier.hasFailed) return undefined
  const aggregateClass = originator.constructor as AggregateClass // of an aggregate
  return aggregateWith(aggregateClass, { creation, version, modifiedOn, subjects, state })
}

function copyOfState(originator: DeciderState<unknown>): DeciderState<unknown> | undefined {
  const { id, version } = originator
  const copier = new Copier()
  const state = copier.copy(originator.state)
  if (copier.hasFailed) return undefined
  return withShownSubjects(Object.freeze({ id, version, state }), knownSubjects(originator))
}

// What is frozen may hold what is not.
function isContainer(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

/** Copies a graph of values; each object once. */
class Copier {
  hasFailed = false
  readonly #copies = new Map<object, object>()

  copy(value: unknown): unknown {
    if (typeof value === 'function') this.hasFailed = true
    if (typeof value !== 'object' || value === null) return value
    const known = this.#copies.get(value)
    if (known !== undefined) return known
    if (value instanceof Timestamp || (Object.isFrozen(value) && !isContainer(value))) return value
    return this.#copyObject(value)
  }

  #copyObject(value: object): unknown {
    if (value instanceof Date) return new Date(value)
    if (Buffer.isBuffer(value)) return Buffer.from(value)
    if (ArrayBuffer.isView(value)) return structuredClone(value)
    const type = isContainer(value) ? undefined : valueTypeOf(value)
    if (type !== undefined) return type.isImmutable === true ? value : type.decode(this.copy(type.encode(value)))
    if (Array.isArray(value)) return this.#filled(value, [])
    if (value instanceof Map) {
      const copy = this.#remembered(value, new Map<unknown, unknown>())
      for (const [key, member] of value) copy.set(this.copy(key), this.copy(member))
      return copy
    }
    if (value instanceof Set) {
      const copy = this.#remembered(value, new Set<unknown>())
      for (const member of value) copy.add(this.copy(member))
      return copy
    }
    return this.#filled(value, Object.create(Object.getPrototypeOf(value) as object | null) as object)
  }

  #filled(value: object, copy: object): object {
    this.#remembered(value, copy)
    for (const key of Reflect.ownKeys(value)) {
      const descriptor = Object.getOwnPropertyDescriptor(value, key)
      if (descriptor === undefined) continue
      if ('value' in descriptor) descriptor.value = this.copy(descriptor.value)
      else this.hasFailed = true
      Object.defineProperty(copy, key, descriptor)
    }
    return copy
  }

  #remembered<Copy extends object>(value: object, copy: Copy): Copy {
    this.#copies.set(value, copy)
    return copy
  }
}
