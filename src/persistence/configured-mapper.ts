/** Makes the mapper that an application's options and environment ask for. */
import { EnvironmentError, ProgrammingError } from '../errors.js'
import { AESCipher, type Cipher } from './cipher.js'
import { cipherKeysVariable, cipherKeyVariable, hasVariable } from './cipher-keys.js'
import { type Compressor, ZlibCompressor } from './compressor.js'
import type { Environment } from './environment.js'
import { Mapper } from './mapper.js'
import { resolveVariable } from './module-topic.js'
import { RotatingCipher } from './rotating-cipher.js'
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
  /** Default: what `CIPHER_TOPIC` names, else AES with the `CIPHER_KEY` or the `CIPHER_KEYS` that there are, else none. */
  readonly cipher?: Cipher
}

const compressorVariable = 'COMPRESSOR_TOPIC'
const cipherVariable = 'CIPHER_TOPIC'

/**
 * Makes a mapper. What is given counts before what is configured.
 *
 * `COMPRESSOR_TOPIC` and `CIPHER_TOPIC` name a class, which gets the environment, an object, or a module with the two
 * functions. `COMPRESSOR_TOPIC=zlib` is the `ZlibCompressor`. Without a `CIPHER_TOPIC`, a `CIPHER_KEY` makes an `AESCipher` and
 * `CIPHER_KEYS` make a `RotatingCipher`.
 *
 * @throws `EnvironmentError` when a variable names something else, the cipher's key is missing, or there are both
 *   `CIPHER_KEY` and `CIPHER_KEYS` and no `CIPHER_TOPIC` that says which cipher is meant
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
  if (named === undefined) return cipherOfKeys(environment)
  if (isCipher(named)) return named
  throw unusable(environment, cipherVariable, 'encrypt() and decrypt()')
}

function cipherOfKeys(environment: Environment): Cipher | undefined {
  const hasKey = hasVariable(environment, cipherKeyVariable)
  if (!hasVariable(environment, cipherKeysVariable)) return hasKey ? new AESCipher(environment) : undefined
  if (!hasKey) return new RotatingCipher(environment)
  const names = [cipherKeyVariable, cipherKeysVariable].map((key) => environment.names(key).join(', '))
  throw new EnvironmentError(
    `Cannot choose a cipher: there are both ${names.join(' and ')}; set ${cipherVariable} to the one that is meant, or ` +
      'leave one of them empty',
  )
}

function instanceOf(named: unknown, environment: Environment): unknown {
  // Arrow functions have no prototype, and cannot be constructed.
  const isClass = typeof named === 'function' && Object.hasOwn(named, 'prototype')
  return isClass ? Reflect.construct(named, [environment]) : named
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
