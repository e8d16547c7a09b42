/** The values that events are tried with, as the table in docs/values.md has them. */
import { DecimalText, defineTranscoding, Timestamp, Uuid } from '../../src/index.js'
import { Prisma } from '../support/generated/sqlite/client.js'

/** A class with a transcoding whose instances can change, with a private member. */
export class Money {
  #cents: number
  constructor(cents: number) {
    this.#cents = cents
  }
  get cents(): number {
    return this.#cents
  }
  double(): void {
    this.#cents *= 2
  }
}

export const money = defineTranscoding({
  name: 'money',
  type: Money,
  encode: ({ cents }: Money) => cents,
  decode: (cents: number) => new Money(cents),
})

class Point {
  readonly x = 1
}

class Tags extends Array<string> {}

/** One row of the table. */
export interface ValueCase {
  /** As the table has it. */
  readonly value: string
  readonly make: () => unknown
}

/** A value that is kept. */
export interface KeptCase extends ValueCase {
  /** What the body of the event gets, new and stored, as the table has it. */
  readonly given: string
  readonly expected: unknown
}

/** A value that is refused when the event is triggered. */
export interface RefusedCase extends ValueCase {
  /** What the message says of it. */
  readonly message: string
}

const same = 'an equal value'

const nested = (levels: number): unknown => {
  let value: unknown = []
  for (let level = 1; level < levels; level += 1) value = [value]
  return value
}

const circular = (): unknown => {
  const value: Record<string, unknown> = {}
  value['self'] = { value }
  return value
}

export const kept: readonly KeptCase[] = [
  {
    value: 'texts, also with NUL and halves of surrogate pairs',
    make: () => 'a\0b\ud800 🐈',
    given: same,
    expected: 'a\0b\ud800 🐈',
  },
  { value: 'finite numbers, also -0', make: () => [1.5, -0, 1e308], given: same, expected: [1.5, -0, 1e308] },
  { value: 'true, false, null', make: () => [true, false, null], given: same, expected: [true, false, null] },
  { value: '`bigint`', make: () => 2n ** 70n, given: same, expected: 2n ** 70n },
  {
    value: 'objects with any names, such as `__proto__` and `_type_`',
    make: () => JSON.parse('{"__proto__":{"a":1},"b":{"_type_":"x","_data_":[2]},"":3,"toJSON":4}') as unknown,
    given: same,
    expected: JSON.parse('{"__proto__":{"a":1},"b":{"_type_":"x","_data_":[2]},"":3,"toJSON":4}'),
  },
  {
    value: 'objects without a prototype',
    make: () => Object.assign(Object.create(null) as object, { a: 1 }),
    given: 'a plain object',
    expected: { a: 1 },
  },
  { value: 'members that are undefined', make: () => ({ a: undefined, b: 1 }), given: 'left out', expected: { b: 1 } },
  {
    value: 'getters',
    make: () => ({
      get a(): number {
        return 1
      },
    }),
    given: 'the value that they gave at the trigger',
    expected: { a: 1 },
  },
  {
    value: `200 lists or objects within each other; a map counts as two`,
    make: () => nested(200),
    given: same,
    expected: nested(200),
  },
  {
    value: '`Map`, `Set`',
    make: () =>
      new Map<unknown, unknown>([
        ['a', new Set([1, new Date(5)])],
        [{ b: 1 }, new Map()],
      ]),
    given: same,
    expected: new Map<unknown, unknown>([
      ['a', new Set([1, new Date(5)])],
      [{ b: 1 }, new Map()],
    ]),
  },
  {
    value: '`Date` of the years 1 to 9999',
    make: () => new Date('0001-01-01T00:00:00.001Z'),
    given: 'a `Date` of its own',
    expected: new Date('0001-01-01T00:00:00.001Z'),
  },
  {
    value: '`Timestamp` with microseconds, or not in UTC',
    make: () => Timestamp.fromISO('9999-12-31T23:59:59.999999+00:00'),
    given: same,
    expected: Timestamp.fromISO('9999-12-31T23:59:59.999999+00:00'),
  },
  { value: '`Uint8Array`', make: () => Uint8Array.of(0, 255), given: same, expected: Uint8Array.of(0, 255) },
  { value: '`Buffer`', make: () => Buffer.from('hé'), given: same, expected: Buffer.from('hé') },
  {
    value: '`Uuid`',
    make: () => new Uuid('b2723fe2c01a40d2875ea3aac6a09ff5'),
    given: same,
    expected: new Uuid('b2723fe2c01a40d2875ea3aac6a09ff5'),
  },
  { value: '`DecimalText`', make: () => new DecimalText('10.00'), given: same, expected: new DecimalText('10.00') },
  {
    value: '`Prisma.Decimal`, and other numbers of decimal.js',
    make: () => new Prisma.Decimal('10.50'),
    given: '`DecimalText`; with `decimalsAs(Prisma.Decimal)` a number of that class',
    expected: new DecimalText('10.5'),
  },
  {
    value: 'instances of a class with a transcoding',
    make: () => new Money(5),
    given: 'what the transcoding makes of them',
    expected: new Money(5),
  },
]

export const refused: readonly RefusedCase[] = [
  { value: '`NaN`', make: () => Number.NaN, message: 'NaN, and JSON has no such number' },
  { value: '`Infinity`', make: () => -Infinity, message: '-Infinity, and JSON has no such number' },
  {
    value: 'an invalid `Date`',
    make: () => new Date(Number.NaN),
    message: 'an invalid Date: a time has to be in the years 1 to 9999',
  },
  {
    value: 'a `Date` after the year 9999',
    make: () => new Date('+012025-01-01'),
    message: 'the date +012025-01-01T00:00:00+00:00: a time has to be in the years 1 to 9999',
  },
  {
    value: 'a `Date` before the year 1',
    make: () => new Date('0000-12-31'),
    message: 'the date 0000-12-31T00:00:00+00:00: a time has to be in the years 1 to 9999',
  },
  { value: 'functions', make: () => parseInt, message: 'a function, parseInt' },
  { value: 'symbols', make: () => Symbol('a'), message: 'a symbol, Symbol(a)' },
  {
    value: 'an object with a symbol for a key',
    make: () => ({ [Symbol('a')]: 1 }),
    message: 'an object with a symbol for a key, which JSON cannot have',
  },
  { value: 'undefined in an array', make: () => [1, undefined], message: 'undefined: use null' },
  { value: 'a hole in an array', make: () => Object.assign([1, 2], { length: 3 }), message: 'undefined: use null' },
  {
    value: 'an array with other members than its items',
    make: () => /b/.exec('abc'),
    message: 'an array with members of its own (index, input, groups), which an event does not keep',
  },
  {
    value: 'a `Date`, `Map` or `Set` with members of its own',
    make: () => Object.assign(new Date(0), { note: 'x' }),
    message: 'a Date with members of its own (note), which an event does not keep',
  },
  {
    value: 'more than 200 lists or objects within each other',
    make: () => nested(201),
    message: 'nested deeper than 200 levels, or contains itself',
  },
  { value: 'what contains itself', make: circular, message: 'nested deeper than 200 levels, or contains itself' },
  {
    value: 'instances of a class without a transcoding',
    make: () => new Point(),
    message: 'an instance of Point: define a transcoding for the type and register it',
  },
  {
    value: 'instances of a class of arrays, maps or dates',
    make: () => new Tags('a', 'b'),
    message: 'an instance of Tags: define a transcoding for the type and register it',
  },
  {
    value: 'typed arrays but `Uint8Array`',
    make: () => new Float64Array(1),
    message: 'an instance of Float64Array: define a transcoding',
  },
  {
    value: '`RegExp`, `Error`, promises',
    make: () => Promise.resolve(),
    message: 'an instance of Promise: define a transcoding',
  },
]
