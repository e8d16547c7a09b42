/** Compressors make the states of events smaller. */
import {
  brotliCompressSync,
  brotliDecompressSync,
  constants,
  deflateSync,
  inflateSync,
  type ZlibOptions,
} from 'node:zlib'
import { DataError, MapperError, ProgrammingError } from '../errors.js'

/** Compresses bytes and gives them back. */
export interface Compressor {
  /** @returns bytes that `decompress` turns back */
  compress(bytes: Uint8Array): Uint8Array
  /** @throws when the bytes are not what `compress` gives */
  decompress(bytes: Uint8Array): Uint8Array
}

/** How a compressor works. */
export interface CompressorOptions {
  /**
   * The largest state, in bytes before it is compressed; default 268,435,456 (256 MiB). A larger one is neither written nor
   * read: a few kilobytes that a faulty or hostile writer stored could otherwise fill the memory of every reader.
   */
  readonly maxBytes?: number
}

const defaultMaxBytes = 256 * 1024 * 1024

/**
 * Compression in the format of zlib, which Python's `zlib` module reads and writes too.
 *
 * The format has a checksum: damaged states are recognised.
 *
 * @see RFC 1950
 */
export class ZlibCompressor implements Compressor {
  readonly #maxBytes: number

  /** @throws `ProgrammingError` when `maxBytes` is not a whole number above 0 */
  constructor(options?: CompressorOptions) {
    this.#maxBytes = maxBytesOf(options)
  }

  /**
   * Compresses with the default level of zlib.
   *
   * @throws `DataError` when there are more than `maxBytes`
   */
  compress(bytes: Uint8Array): Uint8Array {
    checkSize(bytes, this.#maxBytes)
    // A copy of the exact size: the driver's buffers are pages of 16 KiB, and stored events may be kept for a while.
    return new Uint8Array(deflateSync(bytes))
  }

  /** @throws `MapperError` when the bytes were not compressed by zlib, are damaged, or would give more than `maxBytes` */
  decompress(bytes: Uint8Array): Uint8Array {
    return decompressed({ format: 'zlib', decompress: inflateSync, bytes, maxBytes: this.#maxBytes })
  }
}

/**
 * Compression in the format of Brotli: a little smaller than zlib for single events, clearly so for those of several
 * kilobytes, and about as fast. Python's `brotli` package reads and writes the same.
 *
 * The quality is 5 of 11. Higher ones cost more than they save: 9 needs up to twenty times the time of 5 and 11 a hundred
 * times, for a sixth of the size at most.
 *
 * The format has no checksum: most damage is recognised, not all. Where that counts, use a cipher too, or zlib.
 *
 * @see RFC 7932
 */
export class BrotliCompressor implements Compressor {
  readonly #maxBytes: number

  /** @throws `ProgrammingError` when `maxBytes` is not a whole number above 0 */
  constructor(options?: CompressorOptions) {
    this.#maxBytes = maxBytesOf(options)
  }

  /**
   * Compresses with quality 5.
   *
   * @throws `DataError` when there are more than `maxBytes`
   */
  compress(bytes: Uint8Array): Uint8Array {
    checkSize(bytes, this.#maxBytes)
    return new Uint8Array(brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }))
  }

  /** @throws `MapperError` when the bytes were not compressed by Brotli, or would give more than `maxBytes` */
  decompress(bytes: Uint8Array): Uint8Array {
    return decompressed({ format: 'Brotli', decompress: brotliDecompressSync, bytes, maxBytes: this.#maxBytes })
  }
}

interface Decompression {
  readonly format: string
  readonly decompress: (bytes: Uint8Array, options: ZlibOptions) => unknown
  readonly bytes: Uint8Array
  readonly maxBytes: number
}

/** What zlib gives when it is asked for `info`. */
interface DecompressedWithInfo {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

function decompressed({ format, decompress, bytes, maxBytes }: Decompression): Uint8Array {
  let result: DecompressedWithInfo
  try {
    // The declared type of the result does not depend on `info`.
    result = decompress(bytes, { maxOutputLength: maxBytes, info: true }) as DecompressedWithInfo
  } catch (error) {
    const isTooLarge = error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE'
    throw new MapperError(
      isTooLarge
        ? `Cannot decompress a state: it has more than ${maxBytes} bytes; if it may, give the compressor a larger maxBytes`
        : `Cannot decompress a state: it was not compressed by ${format}, or is damaged`,
      { cause: error },
    )
  }
  // What follows the end of the compressed data would be passed over.
  if (result.engine.bytesWritten === bytes.byteLength) return result.buffer
  throw new MapperError(
    `Cannot decompress a state: its data end after ${result.engine.bytesWritten} of ${bytes.byteLength} bytes`,
  )
}

function checkSize(bytes: Uint8Array, maxBytes: number): void {
  if (bytes.byteLength <= maxBytes) return
  throw new DataError(
    `Cannot compress a state of ${bytes.byteLength} bytes: the compressor's maxBytes is ${maxBytes}, and a larger state ` +
      'would not be read again',
  )
}

function maxBytesOf(options: CompressorOptions = {}): number {
  const { maxBytes = defaultMaxBytes } = options
  if (Number.isSafeInteger(maxBytes) && maxBytes > 0) return maxBytes
  throw new ProgrammingError(`Cannot make a compressor with maxBytes ${maxBytes}: give a whole number above 0`)
}
