/** Damaged states: what is cut off, changed or of another key is one error that names the event, never another event. */
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AESCipher,
  BrotliCompressor,
  type Cipher,
  type Compressor,
  DecimalText,
  type DomainEvent,
  JSONTranscoder,
  Mapper,
  MapperError,
  RotatingCipher,
  type StoredEvent,
  Timestamp,
  Uuid,
  ZlibCompressor,
} from '../../src/index.js'

const event: DomainEvent = Object.freeze({
  originatorId: 'b2723fe2-c01a-40d2-875e-a3aac6a09ff5',
  originatorVersion: 123_456,
  topic: 'Dog.Weighed',
  timestamp: Timestamp.fromISO('2026-01-02T03:04:05.678901+00:00'),
  data: {
    kg: new DecimalText('10.00'),
    by: new Uuid('b2723fe2c01a40d2875ea3aac6a09ff5'),
    secret: ['🐈 哈哈', 1, null],
  },
})
const [key, otherKey, thirdKey] = [1, 2, 3].map((byte) => Buffer.alloc(32, byte).toString('base64')) as [
  string,
  string,
  string,
]

const compressors: ReadonlyArray<[string, Compressor | undefined]> = [
  ['plain', undefined],
  ['zlib', new ZlibCompressor()],
  ['Brotli', new BrotliCompressor()],
]
const ciphers: ReadonlyArray<[string, Cipher, Cipher]> = [
  ['AES', new AESCipher(key), new AESCipher(otherKey)],
  ['AES with changing keys', new RotatingCipher([key, thirdKey]), new RotatingCipher([otherKey])],
  [
    'AES read with changing keys',
    readBy(new AESCipher(key), new RotatingCipher([thirdKey, key])),
    new AESCipher(otherKey),
  ],
]
const transcoder = new JSONTranscoder()

/** A cipher for rows that another one wrote. */
function readBy(writer: Cipher, reader: Cipher): Cipher {
  return { encrypt: (bytes) => writer.encrypt(bytes), decrypt: (bytes) => reader.decrypt(bytes) }
}

/** Fails unless reading throws the one error, with all that finds the row and nothing of its content or of the keys. */
function checkRefused(mapper: Mapper, stored: StoredEvent): void {
  const read = readOrError(mapper, stored)
  if (!(read instanceof MapperError)) throw new Error(`read as ${JSON.stringify(read.data)}`)
  for (const part of ['Dog.Weighed', event.originatorId, '123456']) expect(read.message).toContain(part)
  for (const secret of [key, otherKey, thirdKey, '哈', '10.00']) expect(read.message).not.toContain(secret)
}

function readOrError(mapper: Mapper, stored: StoredEvent): DomainEvent | MapperError {
  try {
    return mapper.toDomainEvent(stored)
  } catch (error) {
    if (error instanceof MapperError) return error
    throw error
  }
}

function flipped(state: Uint8Array, index: number, bit: number): Uint8Array {
  const changed = Uint8Array.from(state)
  changed[index] = (changed[index] ?? 0) ^ (1 << bit)
  return changed
}

describe.each(compressors)('a state, %s', (name, compressor) => {
  const mapper = new Mapper({ transcoder, compressor })
  const stored = mapper.toStoredEvent(event)

  it('is refused when it is cut off anywhere, or goes on after its end [117]', () => {
    expect(mapper.toDomainEvent(stored)).toStrictEqual(event)
    for (const size of stored.state.keys()) checkRefused(mapper, { ...stored, state: stored.state.subarray(0, size) })
    checkRefused(mapper, { ...stored, state: Buffer.concat([stored.state, Uint8Array.of(0)]) })
    checkRefused(mapper, { ...stored, state: Buffer.concat([stored.state, stored.state]) })
  })

  it('is refused by a mapper with other settings [117]', () => {
    for (const [otherName, other] of compressors) {
      if (otherName !== name) checkRefused(new Mapper({ transcoder, compressor: other }), stored)
      for (const [, cipher] of ciphers) checkRefused(new Mapper({ transcoder, compressor: other, cipher }), stored)
    }
  })

  if (name === 'plain') {
    it('is refused when a byte is changed to what is not UTF-8 [117]', () => {
      for (const index of stored.state.keys())
        checkRefused(mapper, { ...stored, state: flipped(stored.state, index, 7) })
    })
  }

  if (name === 'zlib') {
    it('is refused when any bit is changed that means something [117]', () => {
      for (const index of stored.state.keys()) {
        for (let bit = 0; bit < 8; bit += 1) {
          const changed = { ...stored, state: flipped(stored.state, index, bit) }
          const read = readOrError(mapper, changed)
          // Some bits only fill up the last byte of the data.
          if (!isDeepStrictEqual(read, event)) checkRefused(mapper, changed)
        }
      }
    })
  }

  it('fails in no other way, whatever the bytes are [117]', () => {
    const anyBytes = fc.oneof(
      fc.uint8Array(),
      fc.tuple(fc.nat(stored.state.length - 1), fc.uint8Array()).map(([at, bytes]) => {
        const changed = Uint8Array.from(stored.state)
        changed.set(bytes.subarray(0, changed.length - at), at)
        return changed
      }),
      fc.json().map((json) => compressor?.compress(Buffer.from(json)) ?? Buffer.from(json)),
    )
    // Where nothing guards the content, another content cannot be told from the right one; it is an event at least.
    fc.assert(
      fc.property(anyBytes, (state) => {
        const read = readOrError(mapper, { ...stored, state })
        if (!(read instanceof MapperError)) expect(read.timestamp).toBeInstanceOf(Timestamp)
      }),
    )
  })

  describe.each(ciphers)('with %s', (_name, cipher, otherCipher) => {
    const secret = new Mapper({ transcoder, compressor, cipher })
    const encrypted = secret.toStoredEvent(event)

    it('is refused when it is cut off anywhere, or goes on after its end [117, 120]', () => {
      expect(secret.toDomainEvent(encrypted)).toStrictEqual(event)
      for (const size of encrypted.state.keys())
        checkRefused(secret, { ...encrypted, state: encrypted.state.subarray(0, size) })
      checkRefused(secret, { ...encrypted, state: Buffer.concat([encrypted.state, Uint8Array.of(0)]) })
    })

    it('is refused when any byte is changed [117, 120]', () => {
      for (const index of encrypted.state.keys())
        checkRefused(secret, { ...encrypted, state: flipped(encrypted.state, index, index % 8) })
    })

    it('is refused with another key, without one, or with another compressor [87, 117, 120]', () => {
      checkRefused(new Mapper({ transcoder, compressor, cipher: otherCipher }), encrypted)
      checkRefused(new Mapper({ transcoder, compressor }), encrypted)
      for (const [, other] of compressors)
        if (other !== compressor) checkRefused(new Mapper({ transcoder, compressor: other, cipher }), encrypted)
    })
  })
})
