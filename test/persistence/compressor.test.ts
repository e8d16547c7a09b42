/** Compression: the formats, the bounds and what happens to damaged states. */
import { brotliCompressSync, brotliDecompressSync, deflateSync, inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as library from '../../src/index.js'
import {
  BrotliCompressor,
  type Compressor,
  type CompressorOptions,
  DataError,
  Environment,
  MapperError,
  ProgrammingError,
  ZlibCompressor,
} from '../../src/index.js'
import { configuredMapper } from '../../src/persistence/configured.js'

interface Format {
  readonly name: string
  readonly newCompressor: (options?: CompressorOptions) => Compressor
  /** Node's own functions, so that the format is not only known to ourselves. */
  readonly write: (bytes: Uint8Array) => Uint8Array
  readonly read: (bytes: Uint8Array) => Uint8Array
}

const formats: readonly Format[] = [
  {
    name: 'ZlibCompressor',
    newCompressor: (options) => new ZlibCompressor(options),
    write: deflateSync,
    read: inflateSync,
  },
  {
    name: 'BrotliCompressor',
    newCompressor: (options) => new BrotliCompressor(options),
    write: brotliCompressSync,
    read: brotliDecompressSync,
  },
]

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const sample = bytesOf(JSON.stringify({ tricks: Array.from({ length: 50 }, (_, index) => ({ index, trick: 'roll' })) }))

describe.each(formats)('$name', ({ name, newCompressor, write, read }) => {
  it('gives back what it was given, none and much', () => {
    const compressor = newCompressor()
    for (const bytes of [new Uint8Array(), bytesOf('a'), sample, new Uint8Array(1_000_000)])
      expect(Buffer.compare(compressor.decompress(compressor.compress(bytes)), bytes)).toBe(0)
  })

  it('writes and reads the format that others do', () => {
    const compressor = newCompressor()
    expect(Buffer.compare(read(compressor.compress(sample)), sample)).toBe(0)
    expect(Buffer.compare(compressor.decompress(write(sample)), sample)).toBe(0)
  })

  it('makes states smaller, in memory of their own', () => {
    const compressed = newCompressor().compress(sample)
    expect(compressed.byteLength).toBeLessThan(sample.byteLength / 4)
    expect(compressed.buffer.byteLength).toBe(compressed.byteLength)
  })

  it('refuses bytes that are not of the format', () => {
    for (const bytes of [new Uint8Array(), sample, Uint8Array.of(0xff, 0xff, 0xff), new Uint8Array(100)])
      expect(() => newCompressor().decompress(bytes)).toThrow(MapperError)
  })

  it('refuses what is cut off anywhere, or goes on after its end', () => {
    const compressor = newCompressor()
    const compressed = compressor.compress(sample)
    for (const size of compressed.keys())
      expect(() => compressor.decompress(compressed.subarray(0, size))).toThrow(MapperError)
    expect(() => compressor.decompress(Buffer.concat([compressed, bytesOf('x')]))).toThrow(MapperError)
    expect(() => compressor.decompress(Buffer.concat([compressed, compressed]))).toThrow(MapperError)
  })

  it('reads no state that is larger than it may be, and writes none', () => {
    const compressor = newCompressor({ maxBytes: 1000 })
    const fits = new Uint8Array(1000)
    const isLarger = new Uint8Array(1001)
    expect(compressor.decompress(compressor.compress(fits))).toHaveLength(1000)
    expect(() => compressor.compress(isLarger)).toThrow(DataError)
    expect(() => compressor.compress(isLarger)).toThrow(/1001 bytes.*maxBytes is 1000/)
    expect(() => compressor.decompress(write(isLarger))).toThrow(MapperError)
    expect(() => compressor.decompress(write(isLarger))).toThrow(/more than 1000 bytes.*maxBytes/)
  })

  it('refuses a bound that is none', () => {
    for (const maxBytes of [0, -1, 1.5, Number.NaN, Infinity])
      expect(() => newCompressor({ maxBytes })).toThrow(ProgrammingError)
  })

  it('is what COMPRESSOR_TOPIC names, with the default bound [85]', async () => {
    const topic = `eventsourcing-prisma#${name}`
    const { compressor } = await configuredMapper(new Environment('', { COMPRESSOR_TOPIC: topic }), {})
    expect(compressor).toBeInstanceOf(Object.entries(library).find(([key]) => key === name)?.[1])
    expect(compressor?.decompress(write(sample))).toHaveLength(sample.byteLength)
  })
})

describe('without options', () => {
  it('a few kilobytes do not inflate beyond 256 MiB', () => {
    const bomb = brotliCompressSync(new Uint8Array(256 * 1024 * 1024 + 1), { params: { 1: 1 } })
    expect(bomb.byteLength).toBeLessThan(100_000)
    const read = readOrError(new BrotliCompressor(), bomb)
    expect(read).toBeInstanceOf(MapperError)
    expect(read).toHaveProperty('message', expect.stringContaining('more than 268435456 bytes'))
  })

  it('damage to a state that zlib compressed never gives another state', () => {
    const compressor = new ZlibCompressor()
    const compressed = compressor.compress(sample)
    let refused = 0
    for (const index of compressed.keys()) {
      for (let bit = 0; bit < 8; bit += 1) {
        const damaged = Uint8Array.from(compressed)
        damaged[index] = (damaged[index] ?? 0) ^ (1 << bit)
        const read = readOrError(compressor, damaged)
        // The bits that only fill up the last byte before the checksum mean nothing.
        if (!(read instanceof MapperError)) expect(Buffer.compare(read, sample)).toBe(0)
        else refused += 1
      }
    }
    expect(refused).toBeGreaterThanOrEqual(compressed.byteLength * 8 - 7)
  })
})

function readOrError(compressor: Compressor, bytes: Uint8Array): Uint8Array | MapperError {
  try {
    return compressor.decompress(bytes)
  } catch (error) {
    if (error instanceof MapperError) return error
    throw error
  }
}
