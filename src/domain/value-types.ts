/** The types that events can hold beside those of JSON: what transcodings make known, for the moment an event is triggered. */

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
export function areOtherTypesPossible(): boolean {
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
