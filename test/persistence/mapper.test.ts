/** Events in and out of stored rows, also rows that the Python library wrote. */
import { readFileSync } from 'node:fs'
import { deflateSync, inflateSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { createTimestamp, Timestamp } from '../../src/domain/timestamp.js'
import { MapperError, TranscodingNotRegisteredError } from '../../src/errors.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { ZlibCompressor } from '../../src/persistence/compressor.js'
import { DecimalText, Uuid } from '../../src/persistence/exact-values.js'
import { Mapper } from '../../src/persistence/mapper.js'
import type { StoredEvent } from '../../src/persistence/stored-event.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'

interface PythonRow {
  readonly originator_id: string
  readonly originator_version: number
  readonly topic: string
  readonly state: string
}

interface PythonRows {
  readonly cipher_key: string
  readonly sets: Readonly<
    Record<string, { readonly stored_events: PythonRow[]; readonly stored_snapshots: PythonRow[] }>
  >
}

// The fixture's shape is known: it is checked in.
const python = JSON.parse(readFileSync(new URL('../fixtures/python-rows.json', import.meta.url), 'utf8')) as PythonRows
const transcoder = new JSONTranscoder()
const compressor = new ZlibCompressor()
const cipher = new AESCipher(python.cipher_key)
const mappers: Readonly<Record<string, Mapper>> = {
  plain: new Mapper({ transcoder }),
  zlib: new Mapper({ transcoder, compressor }),
  aes: new Mapper({ transcoder, cipher }),
  zlib_aes: new Mapper({ transcoder, compressor, cipher }),
}

function storedOf(row: PythonRow): StoredEvent {
  return {
    originatorId: row.originator_id,
    originatorVersion: row.originator_version,
    topic: row.topic,
    state: Uint8Array.from(Buffer.from(row.state, 'hex')),
  }
}

const textOf = ({ state }: StoredEvent): string => new TextDecoder().decode(state)

describe.each(Object.keys(python.sets))('rows of the Python library, %s', (name) => {
  const mapper = mappers[name]
  const set = python.sets[name]
  const rows = set?.stored_events.map(storedOf) ?? []
  if (mapper === undefined || set === undefined) throw new Error(`There is no mapper for the set ${name}`)

  it('are read as events', () => {
    const events = rows.map((row) => mapper.toDomainEvent(row))
    expect(events.map(({ topic }) => topic)).toEqual([
      '__main__:Dog.Registered',
      '__main__:Dog.TrickAdded',
      '__main__:Dog.TrickAdded',
      '__main__:Dog.Weighed',
    ])
    expect(events[0]).toMatchObject({ originatorTopic: '__main__:Dog', originatorVersion: 1, data: { name: 'Fido' } })
    expect(events[1]?.data).toStrictEqual({ trick: 'roll over' })
    expect(events[1]).not.toHaveProperty('originatorTopic')
    expect(events[3]?.data).toStrictEqual({
      kg: new DecimalText('10.00'),
      at: Timestamp.fromISO('2026-01-02T03:04:05.678901+00:00'),
      by: new Uuid('b2723fe2-c01a-40d2-875e-a3aac6a09ff5'),
      notes: { ünïcode: '🐈 哈哈', nested: [{ a: null, b: [1, 2.5, true] }] },
    })
  })

  it('are read as snapshots', () => {
    const [snapshot] = set.stored_snapshots.map((row) => mapper.toDomainEvent(storedOf(row)))
    expect(snapshot?.data).toMatchObject({
      topic: '__main__:Dog',
      state: { name: 'Fido', tricks: ['roll over', 'play dead'] },
    })
  })

  it('are written again with the same content', () => {
    const again = rows.map((row) => mapper.toStoredEvent(mapper.toDomainEvent(row)))
    const events = again.map((row) => mapper.toDomainEvent(row))
    expect(events).toStrictEqual(rows.map((row) => mapper.toDomainEvent(row)))
  })
})

it('writes the plain rows of the Python library byte for byte', () => {
  const rows = python.sets['plain']?.stored_events.map(storedOf) ?? []
  const { plain } = mappers
  expect(rows).toHaveLength(4)
  for (const row of rows) expect(plain?.toStoredEvent(plain.toDomainEvent(row))).toStrictEqual(row)
})

const event: DomainEvent = domainEvent({
  originatorId: 'b2723fe2-c01a-40d2-875e-a3aac6a09ff5',
  originatorVersion: 123_456,
  topic: 'Dog.TrickAdded',
  timestamp: createTimestamp(),
  data: { trick: 'roll over', a_b: { c: [1] } },
})

describe('a mapper', () => {
  it('writes the timestamp, then the topic of the originator, then the data [113]', () => {
    const created = domainEvent({ ...event, originatorTopic: 'Dog' })
    const timestamp = `"timestamp":{"_type_":"datetime_iso","_data_":"${event.timestamp.iso}"}`
    const data = '"trick":"roll over","a_b":{"c":[1]}'
    expect(mappers['plain']?.toStoredEvent(event)).toMatchObject({
      originatorId: event.originatorId,
      originatorVersion: 123_456,
      topic: 'Dog.TrickAdded',
    })
    expect(textOf(new Mapper({ transcoder }).toStoredEvent(event))).toBe(`{${timestamp},${data}}`)
    expect(textOf(new Mapper({ transcoder }).toStoredEvent(created))).toBe(
      `{${timestamp},"originator_topic":"Dog",${data}}`,
    )
  })

  it.each(Object.entries(mappers))('gives back an equal event, %s [114]', (_name, mapper) => {
    const withAll = domainEvent({ ...event, originatorTopic: 'Dog', metadata: { by: 'me' } })
    for (const original of [event, withAll]) {
      expect(mapper.toDomainEvent(mapper.toStoredEvent(original))).toStrictEqual(original)
    }
  })

  it('gives back an equal event for any data', () => {
    const data = fc.dictionary(
      fc.string().filter((name) => !/^(timestamp|originator)/.test(name)),
      fc.jsonValue(),
    )
    fc.assert(
      fc.property(data, (content) => {
        const original = domainEvent({ ...event, data: content })
        const read = mappers['zlib_aes']?.toDomainEvent(mappers['zlib_aes'].toStoredEvent(original))
        expect(read).toEqual(original)
      }),
    )
  })

  it('hides the content when it has a cipher, with 28 bytes more [115]', () => {
    const plain = new Mapper({ transcoder }).toStoredEvent(event)
    const encrypted = new Mapper({ transcoder, cipher }).toStoredEvent(event)
    expect(Buffer.from(encrypted.state).includes('trick')).toBe(false)
    expect(encrypted.state).toHaveLength(plain.state.length + 28)
  })

  it('compresses before it encrypts [116]', () => {
    const long = domainEvent({ ...event, data: { text: 'roll over '.repeat(100) } })
    const size = (mapper: Mapper): number => mapper.toStoredEvent(long).state.length
    expect(size(new Mapper({ transcoder, compressor, cipher }))).toBe(size(new Mapper({ transcoder, compressor })) + 28)
    expect(size(new Mapper({ transcoder, compressor }))).toBeLessThan(300)
  })

  it('compresses in the format of zlib', () => {
    const bytes = new TextEncoder().encode('roll over '.repeat(10))
    expect(new Uint8Array(inflateSync(compressor.compress(bytes)))).toEqual(bytes)
    expect(new Uint8Array(compressor.decompress(deflateSync(bytes)))).toEqual(bytes)
    expect(() => compressor.decompress(bytes)).toThrow(MapperError)
  })

  it('tells which event it cannot read, for every reason [117]', () => {
    const good = new Mapper({ transcoder }).toStoredEvent(event)
    const bytes = (json: string): Uint8Array => new TextEncoder().encode(json)
    const bad: Array<[Mapper, Uint8Array]> = [
      [new Mapper({ transcoder }), good.state.subarray(0, 20)],
      [new Mapper({ transcoder }), bytes('[]')],
      [new Mapper({ transcoder }), bytes('null')],
      [new Mapper({ transcoder }), bytes('{}')],
      [new Mapper({ transcoder }), bytes('{"timestamp":"2026-01-01"}')],
      [new Mapper({ transcoder }), bytes('{"timestamp":{"_type_":"datetime_iso","_data_":"yesterday"}}')],
      [new Mapper({ transcoder }), bytes('{"timestamp":{"_type_":"unheard_of","_data_":"yesterday"}}')],
      [new Mapper({ transcoder, compressor }), good.state],
      [new Mapper({ transcoder, cipher }), good.state],
      [
        new Mapper({ transcoder, cipher: new AESCipher(AESCipher.createKey()) }),
        new Mapper({ transcoder, cipher }).toStoredEvent(event).state,
      ],
    ]
    for (const [mapper, state] of bad) {
      const reading = (): DomainEvent => mapper.toDomainEvent({ ...good, state })
      expect(reading).toThrow(MapperError)
      for (const part of ['Dog.TrickAdded', event.originatorId, '123456']) expect(reading).toThrow(part)
    }
  })

  it('tells which event it cannot write [108]', () => {
    const unwritable = domainEvent({ ...event, data: { tricks: new Set() } })
    const writing = (): StoredEvent => new Mapper({ transcoder }).toStoredEvent(unwritable)
    expect(writing).toThrow(TranscodingNotRegisteredError)
    expect(writing).toThrow(/Dog\.TrickAdded, version 123456 of b2723fe2.*type Set/)
  })
})
