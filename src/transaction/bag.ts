/** What is there at the moment, for what comes and goes with every request. */

/** A member of a bag, to take it out again. */
export interface Membership<T> {
  readonly value: T
  /** Undefined for one that is out. */
  place: number | undefined
}

/**
 * Takes things in and out, in no order.
 *
 * Why no `Set`: a set that is used for long makes its table anew now and then, and V8 lets the old table point to the new one.
 * Once one of them is in the old generation, so are all that come after it, with everything that was in them, until the next
 * full garbage collection: young requests did not die young. A `WeakMap` keeps its values in the same way.
 */
export class Bag<T> {
  readonly #members: Array<Membership<T>> = []

  get size(): number {
    return this.#members.length
  }

  /** Those that are in it now. */
  get values(): T[] {
    return this.#members.map(({ value }) => value)
  }

  add(value: T): Membership<T> {
    const member = { value, place: this.#members.length }
    this.#members.push(member)
    return member
  }

  /** Takes one out; harmless when it is out. */
  remove(member: Membership<T>): void {
    const { place } = member
    const last = this.#members.at(-1)
    if (place === undefined || last === undefined) return
    this.#members.pop()
    member.place = undefined
    if (last === member) return
    last.place = place
    this.#members[place] = last
  }
}
