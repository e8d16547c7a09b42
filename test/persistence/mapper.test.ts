/** Events in and out of stored rows. */
import { describe, expect, it } from 'vitest'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { createTimestamp, Timestamp } from '../../src/domain/timestamp.js'
import { DataError, MapperError, TranscodingNotRegisteredError } from '../../src/errors.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { ZlibCompressor } from '../../src/persistence/compressor.js'
import { Mapper } from '../../src/persistence/mapper.js'
import type { StoredEvent } from '../../src/persistence/stored-event.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'

const transcoder = new JSONTranscoder()
const compressor = new ZlibCompressor()
const cipher = new AESCipher(AESCipher.createKey())
const mappers: Readonly<Record<string, Mapper>> = {
  plain: new Mapper({ transcoder }),
  zlib: new Mapper({ transcoder, compressor }),
  aes: new Mapper({ transcoder, cipher }),
  zlib_aes: new Mapper({ transcoder, compressor, cipher }),
}

const textOf = ({ state }: StoredEvent): string => new TextDecoder().decode(state)

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

  it('hides the content when it has a cipher, with 28 bytes more [115]', () => {
    const plain = new Mapper({ transcoder }).toStoredEvent(event)
    const encrypted = new Mapper({ transcoder, cipher }).toStoredEvent(event)
    expect(Buffer.from(encrypted.state).includes('trick')).toBe(false)
    expect(encrypted.state).toHaveLength(plain.state.length + 28)
    const again = new Mapper({ transcoder, cipher }).toStoredEvent(event)
    expect(again.state).not.toEqual(encrypted.state)
    for (const stored of [encrypted, again])
      expect(new Mapper({ transcoder, cipher }).toDomainEvent(stored)).toStrictEqual(event)
  })

  it('compresses before it encrypts [116]', () => {
    const long = domainEvent({ ...event, data: { text: 'roll over '.repeat(100) } })
    const size = (mapper: Mapper): number => mapper.toStoredEvent(long).state.length
    expect(size(new Mapper({ transcoder, compressor, cipher }))).toBe(size(new Mapper({ transcoder, compressor })) + 28)
    expect(size(new Mapper({ transcoder, compressor }))).toBeLessThan(300)
  })

  it('makes an event of 134 bytes smaller, although it is encrypted [116]', () => {
    const data = { a: 'dog', b: { _type_: 'dog' }, c: ['a dog', 'dog'] }
    const small = domainEvent({ ...event, timestamp: Timestamp.fromISO('2026-01-02T03:04:05.678901+00:00'), data })
    const sizes = ['plain', 'aes', 'zlib_aes'].map((name) => mappers[name]?.toStoredEvent(small).state.length)
    expect(sizes.slice(0, 2)).toEqual([134, 162])
    expect(sizes[2]).toBeGreaterThanOrEqual(129)
    expect(sizes[2]).toBeLessThanOrEqual(142)
  })

  it('gives back an id as the text that it is, a UUID or not [118]', () => {
    for (const originatorId of [
      'b2723fe2-c01a-40d2-875e-a3aac6a09ff5',
      'B2723FE2C01A40D2875EA3AAC6A09FF5',
      'dog-1',
      'Ünï/🐈',
    ]) {
      const stored = new Mapper({ transcoder }).toStoredEvent(domainEvent({ ...event, originatorId }))
      expect(stored.originatorId).toBe(originatorId)
      expect(textOf(stored)).not.toContain(originatorId)
      expect(new Mapper({ transcoder }).toDomainEvent(stored).originatorId).toBe(originatorId)
    }
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
    const unwritable = domainEvent({ ...event, data: { tricks: new WeakSet() } })
    const writing = (): StoredEvent => new Mapper({ transcoder }).toStoredEvent(unwritable)
    expect(writing).toThrow(TranscodingNotRegisteredError)
    expect(writing).toThrow(/Dog\.TrickAdded, version 123456 of b2723fe2.*type WeakSet/)
    const numberless = domainEvent({ ...event, data: { tricks: Number.NaN } })
    const second = (): StoredEvent => new Mapper({ transcoder }).toStoredEvent(numberless)
    expect(second).toThrow(DataError)
    expect(second).toThrow(/^Cannot store Dog\.TrickAdded, version 123456 of b2723fe2.*: Cannot write NaN to an event/)
  })
})
