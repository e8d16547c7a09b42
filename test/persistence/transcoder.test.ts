/** JSON as the Python library writes it, byte for byte, and back. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Timestamp } from '../../src/domain/timestamp.js'
import { DataError, MapperError, TranscodingNotRegisteredError } from '../../src/errors.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'
import { DecimalText, type Transcoding, Uuid } from '../../src/persistence/transcodings.js'

class Inner {
  readonly id: Uuid
  constructor(id: Uuid) {
    this.id = id
  }
}

class Outer {
  readonly inner: Inner
  constructor(inner: Inner) {
    this.inner = inner
  }
}

const innerAsDict: Transcoding<Inner, Uuid> = {
  name: 'custom_type1_as_dict',
  type: Inner,
  encode: (inner) => inner.id,
  decode: (id) => new Inner(id),
}

const outerAsDict: Transcoding<Outer, Inner> = {
  name: 'custom_type2_as_dict',
  type: Outer,
  encode: (outer) => outer.inner,
  decode: (inner) => new Outer(inner),
}

const transcoder = new JSONTranscoder([innerAsDict, outerAsDict])
const text = (value: unknown): string => new TextDecoder().decode(transcoder.encode(value))
const read = (json: string): unknown => transcoder.decode(new TextEncoder().encode(json))
const roundTrip = (value: unknown): unknown => transcoder.decode(transcoder.encode(value))

describe('a JSON transcoder', () => {
  it('writes text as UTF-8, and reads escapes too [103]', () => {
    expect(text('a')).toBe('"a"')
    expect(text('a"b')).toBe('"a\\"b"')
    expect(text('🐈 哈哈')).toBe('"🐈 哈哈"')
    expect(read('"\\ud83d\\udc08 \\u54c8"')).toBe('🐈 哈')
    expect(roundTrip('a"b\n\u0000')).toBe('a"b\n\u0000')
  })

  it('writes objects without white space [104]', () => {
    for (const json of ['{}', '{"a":1}', '{"a":1,"b":2}', '{"a":{"b":{"c":1}}}'])
      expect(text(JSON.parse(json))).toBe(json)
  })

  it('writes lists [105]', () => {
    for (const json of ['[]', '[[],[[1]]]', '[1,"a",2.5,null,true,false]']) {
      expect(text(JSON.parse(json))).toBe(json)
      expect(roundTrip(JSON.parse(json))).toEqual(JSON.parse(json))
    }
  })

  it('writes values of registered types with their name, within each other [106]', () => {
    const value = new Outer(new Inner(new Uuid('b2723fe2-c01a-40d2-875e-a3aac6a09ff5')))
    expect(text(value)).toBe(
      '{"_type_":"custom_type2_as_dict","_data_":{"_type_":"custom_type1_as_dict","_data_":' +
        '{"_type_":"uuid_hex","_data_":"b2723fe2c01a40d2875ea3aac6a09ff5"}}}',
    )
    expect(roundTrip(value)).toStrictEqual(value)
  })

  it('writes values of registered types inside plain objects and lists [107]', () => {
    const value = { list: [new Inner(new Uuid('b2723fe2c01a40d2875ea3aac6a09ff5'))], decimal: new DecimalText('10.00') }
    expect(roundTrip(value)).toStrictEqual(value)
  })

  it('refuses values of other types, at any depth [108]', () => {
    class Unknown {}
    class LaterDate extends Date {}
    const values = [
      new Unknown(),
      new (class LaterMap extends Map {})(),
      new WeakSet(),
      /a/,
      new Float64Array(1),
      new LaterDate(),
      Symbol('a'),
      () => 1,
      undefined,
    ]
    for (const value of values) {
      for (const nested of [value, [value], value === undefined ? [value] : { a: { b: value } }]) {
        expect(() => transcoder.encode(nested)).toThrow(TranscodingNotRegisteredError)
        expect(() => transcoder.encode(nested)).toThrow(
          value === undefined ? 'undefined to an event: use null' : /define a transcoding .* and register it/,
        )
      }
    }
  })

  it('refuses stored types that it does not know, by their name [109]', () => {
    expect(() => read('{"a":{"_type_":"unheard_of","_data_":1}}')).toThrow(TranscodingNotRegisteredError)
    expect(() => read('{"_type_":"unheard_of","_data_":1}')).toThrow(/unheard_of/)
    expect(() => read('{"_type_":1,"_data_":1}')).toThrow(TranscodingNotRegisteredError)
  })

  it('takes objects with one of the two keys as plain [110]', () => {
    for (const value of [
      { _type_: 'a' },
      { _data_: 1 },
      { _type_: 'a', b: 1 },
      { _data_: 1, b: 2 },
      { _type_: 1, _data_: 2, c: 3 },
    ]) {
      expect(text(value)).toBe(JSON.stringify(value))
      expect(roundTrip(value)).toStrictEqual(value)
    }
  })

  it('keeps plain objects apart that look like a value of a type', () => {
    for (const value of [
      { _type_: 'uuid_hex', _data_: 'x' },
      { _data_: { _type_: 1, _data_: [] }, _type_: 'dict_as_items' },
    ]) {
      expect(roundTrip([value])).toStrictEqual([value])
    }
  })

  it('keeps subclasses of arrays, maps and numbers that are registered, in the form of the Python library [111]', () => {
    class Tuple extends Array<unknown> {}
    const tuple = Tuple.from([1, 'a', [2]])
    const tupleAsList: Transcoding<Tuple, unknown[]> = {
      name: 'tuple_as_list',
      type: Tuple,
      encode: (value) => Array.from(value),
      decode: (list) => Tuple.from(list),
    }
    const setAsList: Transcoding<Set<unknown>, unknown[]> = {
      name: 'set_as_list',
      type: Set,
      encode: (value) => [...value],
      decode: (list) => new Set(list),
    }
    const richer = new JSONTranscoder([tupleAsList, setAsList])
    expect(new TextDecoder().decode(richer.encode([new Tuple(), tuple]))).toBe(
      '[{"_type_":"tuple_as_list","_data_":[]},{"_type_":"tuple_as_list","_data_":[1,"a",[2]]}]',
    )
    const value = { tuple, set: new Set([new DecimalText('1.0'), tuple]), list: [1, 'a', [2]] }
    const again = richer.decode(richer.encode(value))
    expect(again).toStrictEqual(value)
    expect(again).toHaveProperty('tuple', expect.any(Tuple))
    // As in Python, where the type is not registered, an array of a subclass is stored as an array.
    expect(text(tuple)).toBe('[1,"a",[2]]')
    expect(roundTrip(tuple)).toStrictEqual([1, 'a', [2]])
  })

  it('writes maps and sets, with what is in them', () => {
    const value = new Map<unknown, unknown>([
      ['a', new Set([1, new DecimalText('1.0')])],
      [7, new Map()],
    ])
    expect(text(value)).toBe(
      '{"_type_":"map_as_list","_data_":[["a",{"_type_":"set_as_list","_data_":[1,{"_type_":"decimal_str","_data_":"1.0"}]}],' +
        '[7,{"_type_":"map_as_list","_data_":[]}]]}',
    )
    expect(roundTrip(value)).toStrictEqual(value)
    expect(() => read('{"_type_":"map_as_list","_data_":{}}')).toThrow(MapperError)
    expect(() => read('{"_type_":"set_as_list","_data_":"ab"}')).toThrow(MapperError)
  })

  it('writes UUIDs, decimals and times exactly [112]', () => {
    expect(text(new Uuid('B2723FE2-C01A-40D2-875E-A3AAC6A09FF5'))).toBe(
      '{"_type_":"uuid_hex","_data_":"b2723fe2c01a40d2875ea3aac6a09ff5"}',
    )
    expect(text(new DecimalText('10.00'))).toBe('{"_type_":"decimal_str","_data_":"10.00"}')
    const iso = '2026-01-02T03:04:05.678901+00:00'
    expect(text(Timestamp.fromISO(iso))).toBe(`{"_type_":"datetime_iso","_data_":"${iso}"}`)
    expect(read(`{"_type_":"datetime_iso","_data_":"${iso}"}`)).toStrictEqual(Timestamp.fromISO(iso))
    expect(text(12345678901234567890n)).toBe('{"_type_":"bigint_str","_data_":"12345678901234567890"}')
  })

  it('writes a Date as isoformat() does, and reads it as a Timestamp of that time', () => {
    const withFraction = new Date('2026-01-02T03:04:05.678Z')
    expect(text(withFraction)).toBe('{"_type_":"datetime_iso","_data_":"2026-01-02T03:04:05.678000+00:00"}')
    expect(text(new Date('2026-01-02T03:04:05Z'))).toBe(
      '{"_type_":"datetime_iso","_data_":"2026-01-02T03:04:05+00:00"}',
    )
    expect(roundTrip(withFraction)).toBeInstanceOf(Timestamp)
    expect(roundTrip(withFraction)).toEqual(withFraction)
    expect(text(new Date('1969-12-31T23:59:59.5Z'))).toContain('1969-12-31T23:59:59.500000+00:00')
  })

  it('keeps the offset of a stored time', () => {
    for (const iso of ['2026-01-02T03:04:05+05:30', '2026-01-02T03:04:05.000001', '2026-01-02T03:04:05Z']) {
      const json = `{"_type_":"datetime_iso","_data_":"${iso}"}`
      expect(text(read(json))).toBe(json)
    }
  })

  it('refuses what JSON cannot hold', () => {
    const circular: Record<string, unknown> = {}
    circular['self'] = circular
    for (const value of [Number.NaN, Infinity, [-Infinity], new Date(Number.NaN), circular]) {
      expect(() => transcoder.encode(value)).toThrow(DataError)
    }
    expect(() => new Uuid('123')).toThrow(DataError)
    expect(() => new DecimalText('1,5')).toThrow(DataError)
  })

  it('leaves out properties that are undefined', () => {
    expect(text({ a: undefined, b: 1, c: undefined })).toBe('{"b":1}')
    expect(text({ a: undefined })).toBe('{}')
  })

  it('refuses bytes that are not JSON in UTF-8, without quoting them', () => {
    for (const bytes of [Uint8Array.of(0x22, 0xff, 0x22), new Uint8Array(), new TextEncoder().encode('{"secret":')]) {
      expect(() => transcoder.decode(bytes)).toThrow(MapperError)
      expect(() => transcoder.decode(bytes)).not.toThrow(/secret/)
    }
  })

  it('refuses data of its own types that it cannot have written', () => {
    for (const name of ['uuid_hex', 'decimal_str', 'datetime_iso', 'bigint_str', 'dict_as_items']) {
      for (const data of ['1', '[]', 'null', '""', '"x"', '[["a",1,2]]', '[[1,2]]', '["ab"]', '{"length":0}', 'true']) {
        const isRight = name === 'dict_as_items' && data === '[]'
        if (!isRight) expect(() => read(`{"_type_":"${name}","_data_":${data}}`)).toThrow()
      }
    }
    expect(() => read('{"_type_":"dict_as_items","_data_":1}')).toThrow(MapperError)
    expect(() => read('{"_type_":"bigint_str","_data_":""}')).toThrow(MapperError)
  })

  it('lets an application put its own type in the place of a built-in one', () => {
    class Money {
      readonly amount: string
      constructor(amount: string) {
        this.amount = amount
      }
    }
    const money: Transcoding<Money, string> = {
      name: 'decimal_str',
      type: Money,
      encode: ({ amount }) => amount,
      decode: (amount) => new Money(amount),
    }
    const own = new JSONTranscoder([money])
    expect(own.decode(own.encode([new Money('1.50'), new DecimalText('2.50')]))).toStrictEqual([
      new Money('1.50'),
      new Money('2.50'),
    ])
  })

  it('gives back what it was given, whatever that is', () => {
    const values = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.string({ unit: 'binary' }),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.maxSafeInteger(),
        fc.boolean(),
        fc.constant(null),
        fc.bigInt(),
        fc.uuid().map((uuid) => new Uuid(uuid)),
        fc.tuple(fc.integer(), fc.nat(99)).map(([whole, places]) => new DecimalText(`${whole}.${places}`)),
        fc.integer({ min: -8e15, max: 8e15 }).map((microseconds) => Timestamp.fromMicroseconds(microseconds)),
        fc.array(tie('value')),
        fc.dictionary(
          fc.oneof(fc.string(), fc.constantFrom('_type_', '_data_', '__proto__', 'constructor', 'toJSON')),
          tie('value'),
        ),
      ),
    })).value
    fc.assert(
      fc.property(values, (value) => {
        expect(roundTrip(value)).toEqual(value)
      }),
    )
  })

  it('takes the short way only where it leads to the same', () => {
    const name = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('timestamp', 'originator_topic', 'class_version', '_personal_', '_type_', '_data_', '__proto__'),
    )
    const value = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom('_type_', '\\u0061', 'timestamp', '"},"', null, true, -0, 2 ** 53, 1e300, 12345678901234567890n),
      fc.double({ noDefaultInfinity: true, noNaN: true }),
      fc.array(fc.dictionary(name, fc.integer(), { maxKeys: 2 }), { maxLength: 2 }),
    )
    const data = fc.dictionary(name, value, { maxKeys: 4 })
    const topic = fc.option(fc.string({ unit: 'binary', maxLength: 5 }), { nil: undefined })
    let short = 0
    fc.assert(
      fc.property(data, topic, (members, originatorTopic) => {
        const timestamp = Timestamp.from(new Date(0))
        const whole = {
          timestamp,
          ...(originatorTopic === undefined ? {} : { originator_topic: originatorTopic }),
          ...members,
        }
        const written = transcoder.encodeText(whole)
        const plain = transcoder.encodePlain({ timestamp, originatorTopic, data: members })
        if (plain !== undefined) expect(plain).toBe(written)
        const parts = transcoder.decodePlain(written)
        if (parts === undefined) return
        short += 1
        const { timestamp: time, originatorTopic: creation, data: rest } = parts
        const again = { timestamp: time, ...(creation === undefined ? {} : { originator_topic: creation }), ...rest }
        expect(again).toStrictEqual(transcoder.decodeText(written))
      }),
      { numRuns: 2_000 },
    )
    expect(short).toBeGreaterThan(100)
  })

  it('takes no damaged state for a short one', () => {
    const start = '{"timestamp":{"_type_":"datetime_iso","_data_":"2026-01-02T03:04:05.678901+00:00"}'
    const damaged = [
      `${start},}`,
      `${start},"a":1`,
      `${start}},`,
      `${start},"originator_topic":"Dog",}`,
      `${start},"a":NaN}`,
    ]
    for (const state of damaged) expect(() => transcoder.decodePlain(state) ?? read(state), state).toThrow(MapperError)
    expect(transcoder.decodePlain(`${start}}`)?.data).toEqual({})
    expect(transcoder.decodePlain(`${start},"originator_topic":"Dog"}`)).toMatchObject({
      originatorTopic: 'Dog',
      data: {},
    })
    const deep = `${start},"a":${'['.repeat(300)}${']'.repeat(300)}}`
    expect(transcoder.decodePlain(deep)).toBeUndefined()
  })

  it('writes what JSON.stringify writes for all that is plain', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (generated) => {
        // JSON.stringify drops the sign of -0, which the transcoder keeps.
        const value: unknown = JSON.parse(JSON.stringify(generated))
        fc.pre(!JSON.stringify(value).includes('_type_') && !JSON.stringify(value).includes('-0'))
        // A number as great as that is written as the float that it is.
        fc.pre(!/\d{16}/.test(JSON.stringify(value)))
        expect(text(value)).toBe(JSON.stringify(value))
      }),
    )
  })

  describe('reads what only Python writes', () => {
    const decode = (json: string): unknown => new JSONTranscoder().decode(new TextEncoder().encode(json))

    it('gives integers beyond 2^53 as bigints, exactly, and leaves texts and floats alone', () => {
      const read = decode(
        `{"n":9007199254740993,"list":[-12345678901234567890123, 1, 9007199254740991],"text":"9007199254740993 \\"1234567890123456789\\"",` +
          `"9007199254740993":2,"float":12345678901234567890.0,"exponent":1e22,"digits":0.12345678901234567}`,
      )
      expect(read).toEqual({
        n: 9007199254740993n,
        list: [-12345678901234567890123n, 1, Number.MAX_SAFE_INTEGER],
        text: '9007199254740993 "1234567890123456789"',
        '9007199254740993': 2,
        float: Number('12345678901234567890'),
        exponent: 1e22,
        digits: Number('0.12345678901234567'),
      })
      expect(roundTrip(read)).toEqual(read)
    })

    it('keeps great numbers numbers', () => {
      for (const value of [2 ** 53, -(2 ** 60), 1e20, 1e21, 123456789012345680000]) expect(roundTrip(value)).toBe(value)
    })

    it('says that there is no NaN, and where it is a text reads that', () => {
      expect(() => decode('{"kg":NaN}')).toThrow(/it has NaN, which Python writes and JSON does not have/)
      expect(() => decode('{"kg":-Infinity}')).toThrow(/it has Infinity/)
      expect(() => decode('{"kg":"NaN"')).toThrow(/not well-formed/)
      expect(decode('{"kg":"NaN"}')).toEqual({ kg: 'NaN' })
    })
  })
})
