/** Compressors make the states of events smaller. */
import { deflateSync, inflateSync } from 'node:zlib'
import { MapperError } from '../errors.js'

/** Compresses bytes and gives them back. */
export interface Compressor {
  /** @returns bytes that `decompress` turns back */
  compress(bytes: Uint8Array): Uint8Array
  /** @throws when the bytes are not what `compress` gives */
  decompress(bytes: Uint8Array): Uint8Array
}

/** Compression in the format of zlib, which Python's `zlib` module reads and writes too. @see RFC 1950 */
export class ZlibCompressor implements Compressor {
  /** Compresses with the default level of zlib. */
  compress(bytes: Uint8Array): Uint8Array {
    // A copy of the exact size: the driver's buffers are pages of 16 KiB, and stored events may be kept for a while.
    return new Uint8Array(deflateSync(bytes))
  }

  /** @throws `MapperError` when the bytes were not compressed by zlib, or are damaged */
  decompress(bytes: Uint8Array): Uint8Array {
    try {
      return inflateSync(bytes)
    } catch (error) {
      throw new MapperError('Cannot decompress a state: it was not compressed by zlib, or is damaged', { cause: error })
    }
  }
}
