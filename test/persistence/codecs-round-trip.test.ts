/** The law of all codecs: what was encoded is decoded to an equal value, whatever it is and however it is stored. */
// Not `expect`, which takes an own property `constructor` for the type of an object.
import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { domainEvent } from '../../src/domain/event.js'
import {
  AESCipher,
  BrotliCompressor,
  type Cipher,
  type Compressor,
  DecimalText,
  JSONTranscoder,
  Mapper,
  RotatingCipher,
  Timestamp,
  type Transcoding,
  Uuid,
  ZlibCompressor,
} from '../../src/index.js'

/** A type with data of other registered types, within each other to any depth. */
class Money {
  readonly amount: DecimalText
  readonly reason: unknown
  constructor(amount: DecimalText, reason: unknown) {
    this.amount = amount
    this.reason = reason
  }
}

const moneyAsList: Transcoding<Money, [DecimalText, unknown]> = {
  name: 'money',
  type: Money,
  encode: ({ amount, reason }) => [amount, reason],
  decode: ([amount, reason]) => new Money(amount, reason),
}

const mapAsItems: Transcoding<Map<unknown, unknown>, unknown[]> = {
  name: 'map_as_items',
  type: Map,
  encode: (map) => [...map],
  decode: (items) => new Map(items as Array<[unknown, unknown]>), // what encode gives
}

const bytesAsText: Transcoding<Uint8Array, string> = {
  name: 'bytes_as_text',
  type: Uint8Array,
  encode: (bytes) => Buffer.from(bytes).toString('base64'),
  decode: (text) => Uint8Array.from(Buffer.from(text, 'base64')),
}

const decimals = fc.oneof(
  fc.tuple(fc.integer(), fc.nat(99)).map(([whole, places]) => `${whole}.${String(places).padStart(2, '0')}`),
  fc.constantFrom('10.00', '-0', '1E+400', '0.1e-7', 'NaN', '-Infinity', '12345678901234567890.0987654321'),
)
const timestamps = fc.oneof(
  fc.integer({ min: -8e15, max: 8e15 }).map((microseconds) => Timestamp.fromMicroseconds(microseconds)),
  fc
    .constantFrom('2026-01-02T03:04:05+05:30', '2026-01-02T03:04:05.000001', '0001-01-01T00:00:00Z')
    .map((iso) => Timestamp.fromISO(iso)),
)
const keys = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('_type_', '_data_', '__proto__', 'constructor', 'toJSON', 'length', ''),
)

/** Whatever an event may hold. */
const values: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'binary' }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.constantFrom(null, true, false),
    fc.bigInt(),
    fc.uuid().map((uuid) => new Uuid(uuid)),
    decimals.map((text) => new DecimalText(text)),
    timestamps,
    fc.uint8Array(),
    fc.array(tie('value')),
    fc.dictionary(keys, tie('value'), { noNullPrototype: true }),
    fc.tuple(decimals, tie('value')).map(([amount, reason]) => new Money(new DecimalText(amount), reason)),
    fc.array(fc.tuple(tie('value'), tie('value'))).map((items) => new Map(items)),
  ),
})).value

// An event's own attributes have these names in its state.
const reserved = new Set(['timestamp', 'originator_topic', 'originatorId', 'originatorVersion', 'originatorTopic'])
const events = fc
  .record({
    originatorId: fc.oneof(fc.uuid(), fc.string({ minLength: 1 })),
    originatorVersion: fc.maxSafeInteger().map(Math.abs),
    topic: fc.string({ minLength: 1 }),
    timestamp: timestamps,
    originatorTopic: fc.option(fc.string(), { nil: undefined }),
    data: fc.dictionary(
      keys.filter((name) => !reserved.has(name)),
      values,
      { noNullPrototype: true },
    ),
    metadata: fc.option(fc.constant({ by: 'me' }), { nil: undefined }),
  })
  .map(({ originatorTopic, metadata, ...fields }) =>
    domainEvent({
      ...fields,
      ...(originatorTopic === undefined ? {} : { originatorTopic }),
      ...(metadata === undefined ? {} : { metadata }),
    }),
  )

const transcoder = new JSONTranscoder([moneyAsList, mapAsItems, bytesAsText])
const [key, olderKey] = [32, 16].map((size) => AESCipher.createKey(size)) as [string, string]
const compressors: ReadonlyArray<[string, Compressor | undefined]> = [
  ['not compressed', undefined],
  ['ZlibCompressor', new ZlibCompressor()],
  ['BrotliCompressor', new BrotliCompressor()],
]
const ciphers: ReadonlyArray<[string, Cipher | undefined]> = [
  ['not encrypted', undefined],
  ['AESCipher', new AESCipher(key)],
  ['RotatingCipher', new RotatingCipher([key, olderKey])],
]

it('any value with values of registered types in it is read as it was written [106, 107, 112]', () => {
  fc.assert(
    fc.property(values, (value) => {
      deepStrictEqual(transcoder.decode(transcoder.encode(value)), value)
    }),
  )
})

it('a time is read as the same time, with the same text the next time it is written [112]', () => {
  fc.assert(
    fc.property(fc.date({ noInvalidDate: true }), (date) => {
      fc.pre(date.getUTCFullYear() >= 0 && date.getUTCFullYear() <= 9999)
      const written = transcoder.encode({ date })
      const read = transcoder.decode(written)
      expect(read).toEqual({ date: expect.any(Timestamp) })
      expect(read).toEqual({ date })
      expect(transcoder.encode(read)).toEqual(written)
    }),
  )
})

describe.each(compressors)('%s', (_compressorName, compressor) => {
  describe.each(ciphers)('%s', (_cipherName, cipher) => {
    const mapper = new Mapper({ transcoder, compressor, cipher })

    it('any event is read as it was written, from what a database may give [113, 114]', () => {
      fc.assert(
        fc.property(events, fc.nat(9), (event, offset) => {
          const stored = mapper.toStoredEvent(event)
          deepStrictEqual(mapper.toDomainEvent(stored), event)
          expect(stored).toMatchObject({ originatorId: event.originatorId, topic: event.topic })
          // Drivers give bytes that are a part of a larger page.
          const page = Buffer.concat([Buffer.alloc(offset, 1), stored.state, Buffer.alloc(9, 1)])
          const state = page.subarray(offset, offset + stored.state.byteLength)
          deepStrictEqual(mapper.toDomainEvent({ ...stored, state }), event)
          expect(page.subarray(0, offset)).toEqual(Buffer.alloc(offset, 1))
        }),
        { numRuns: 50 },
      )
    })
  })
})
