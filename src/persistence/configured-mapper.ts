/** Makes the mapper that an application's options and environment ask for. */
import { EnvironmentError, ProgrammingError } from '../errors.js'
import { AESCipher, type Cipher, cipherKeyVariable } from './cipher.js'
import { type Compressor, ZlibCompressor } from './compressor.js'
import type { Environment } from './environment.js'
import { Mapper } from './mapper.js'
import { resolveVariable } from './module-topic.js'
import { JSONTranscoder, type Transcoder } from './transcoder.js'
import type { Transcoding } from './transcodings.js'

/** The parts of a mapper that were given instead of configured. */
export interface MapperParts {
  /** Default: a `JSONTranscoder`. */
  readonly transcoder?: Transcoder
  /** For the default transcoder; with a transcoder of your own, register them there. */
  readonly transcodings?: readonly Transcoding[]
  /** Default: what `COMPRESSOR_TOPIC` names, else none. */
  readonly compressor?: Compressor
  /** Default: what `CIPHER_TOPIC` names, else AES when there is a `CIPHER_KEY`, else none. */
  readonly cipher?: Cipher
}

const compressorVariable = 'COMPRESSOR_TOPIC'
const cipherVariable = 'CIPHER_TOPIC'

/**
 * Makes a mapper. What is given counts before what is configured.
 *
 * `COMPRESSOR_TOPIC` and `CIPHER_TOPIC` name a class, which gets the environment, an object, or a module with the two
 * functions. `COMPRESSOR_TOPIC=zlib` is the `ZlibCompressor`.
 *
 * @throws `EnvironmentError` when a variable names something else, or the cipher's key is missing
 * @throws `ProgrammingError` when transcodings are given together with a transcoder
 */
export async function configuredMapper(environment: Environment, parts: MapperParts): Promise<Mapper> {
  if (parts.transcoder !== undefined && (parts.transcodings ?? []).length > 0) {
    throw new ProgrammingError(
      'Cannot use both the options transcoder and transcodings: register the transcodings with your transcoder',
    )
  }
  return new Mapper({
    transcoder: parts.transcoder ?? new JSONTranscoder(parts.transcodings),
    compressor: parts.compressor ?? (await configuredCompressor(environment)),
    cipher: parts.cipher ?? (await configuredCipher(environment)),
  })
}

async function configuredCompressor(environment: Environment): Promise<Compressor | undefined> {
  // The name that the Python library takes too: there, the module itself is the compressor.
  if (environment.get(compressorVariable) === 'zlib') return new ZlibCompressor()
  const named = instanceOf(await resolveVariable(environment, compressorVariable), environment)
  if (named === undefined || isCompressor(named)) return named
  throw unusable(environment, compressorVariable, 'compress() and decompress()')
}

async function configuredCipher(environment: Environment): Promise<Cipher | undefined> {
  const named = instanceOf(await resolveVariable(environment, cipherVariable), environment)
  if (named === undefined)
    return (environment.get(cipherKeyVariable) ?? '') === '' ? undefined : new AESCipher(environment)
  if (isCipher(named)) return named
  throw unusable(environment, cipherVariable, 'encrypt() and decrypt()')
}

function instanceOf(named: unknown, environment: Environment): unknown {
  return typeof named === 'function' ? Reflect.construct(named, [environment]) : named
}

function isCompressor(value: unknown): value is Compressor {
  return typeof value === 'object' && value !== null && 'compress' in value && 'decompress' in value
}

function isCipher(value: unknown): value is Cipher {
  return typeof value === 'object' && value !== null && 'encrypt' in value && 'decrypt' in value
}

function unusable(environment: Environment, key: string, members: string): EnvironmentError {
  return new EnvironmentError(
    `The variable ${environment.names(key).join(', ')} is '${environment.get(key)}', and that has no ${members}: ` +
      'name a class, an object or a module that has them',
  )
}
