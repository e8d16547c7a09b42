/** Ciphers keep the states of events secret, with one key or with several, of which a new one can take over; no message ever shows a key. */
import { type CipherGCMTypes, createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { EnvironmentError, MapperError, ProgrammingError } from '../errors.js'
import type { Environment } from './environment.js'

/** The variable with the one key. */
export const cipherKeyVariable = 'CIPHER_KEY'
/** The variable with several keys, the newest first, with commas between them. */
export const cipherKeysVariable = 'CIPHER_KEYS'

const keySizes: readonly number[] = [16, 24, 32]
const sizesAllowed = `give ${keySizes.join(', ')} bytes`

/** @throws `ProgrammingError` unless AES has keys of this size */
function checkKeySize(numBytes: number): void {
  if (!keySizes.includes(numBytes))
    throw new ProgrammingError(`Cannot make an AES key of ${numBytes} bytes: ${sizesAllowed}`)
}

/** @throws `ProgrammingError` when the text is not 16, 24 or 32 bytes in base64 */
function keyFromText(text: string): Buffer {
  const key = Buffer.from(text.trim(), 'base64')
  const isBase64 = key.toString('base64') === text.trim()
  if (isBase64 && keySizes.includes(key.length)) return key
  throw new ProgrammingError(
    `Cannot make a cipher: its key is ${isBase64 ? `${key.length} bytes` : 'not base64'}; ${sizesAllowed} in base64`,
  )
}

/**
 * The key in `CIPHER_KEY`.
 *
 * @throws `EnvironmentError` when it is missing, or no key
 */
function keyFromEnvironment(environment: Environment): string {
  const text = environment.get(cipherKeyVariable) ?? ''
  if (text === '') throw missing(environment.names(cipherKeyVariable))
  checkKeyOf(environment, cipherKeyVariable, text)
  return text
}

/**
 * The keys in `CIPHER_KEYS`, in their order; without these the one in `CIPHER_KEY`.
 *
 * @throws `EnvironmentError` when both are missing, or have something that is no key
 */
function keysFromEnvironment(environment: Environment): string[] {
  const texts = (environment.get(cipherKeysVariable) ?? '').split(',').filter((text) => text.trim() !== '')
  for (const text of texts) checkKeyOf(environment, cipherKeysVariable, text)
  if (texts.length > 0) return texts
  if (hasVariable(environment, cipherKeyVariable)) return [keyFromEnvironment(environment)]
  throw missing([...environment.names(cipherKeysVariable), ...environment.names(cipherKeyVariable)])
}

/** Whether a variable has a value that is not empty. */
export function hasVariable(environment: Environment, key: string): boolean {
  return (environment.get(key) ?? '') !== ''
}

function checkKeyOf(environment: Environment, variable: string, text: string): void {
  try {
    keyFromText(text)
  } catch (error) {
    // The value is a secret, so the message names only the variable.
    const names = environment.names(variable).join(', ')
    throw new EnvironmentError(
      `Cannot make a cipher: the value of ${names} has what is no key in base64; ${sizesAllowed}`,
      {
        cause: error,
      },
    )
  }
}

function missing(names: readonly string[]): EnvironmentError {
  return new EnvironmentError(
    `Cannot make a cipher without a key: set one of ${names.join(', ')} to what AESCipher.createKey() gives`,
  )
}

/** Encrypts bytes and gives them back. */
export interface Cipher {
  /** @returns bytes that `decrypt` turns back; they may differ each time */
  encrypt(plaintext: Uint8Array): Uint8Array
  /** @throws when the bytes are not what `encrypt` gives, or were changed, or the key is another */
  decrypt(ciphertext: Uint8Array): Uint8Array
}

const nonceSize = 12
const tagSize = 16

/**
 * AES in Galois/Counter Mode: each text is encrypted with a nonce of its own and cannot be changed unnoticed.
 *
 * The result is the nonce (12 bytes), the tag (16 bytes), then the ciphertext. For a change of keys see `RotatingCipher`.
 *
 * @see NIST SP 800-38D; Python's `AESCipher`
 */
export class AESCipher implements Cipher {
  readonly #key: Buffer
  readonly #algorithm: CipherGCMTypes

  /**
   * Makes a key.
   *
   * @param numBytes - 16, 24 or 32
   * @returns the key in base64, for `CIPHER_KEY`
   * @throws `ProgrammingError` for another size
   */
  static createKey(numBytes: number = 32): string {
    checkKeySize(numBytes)
    return randomBytes(numBytes).toString('base64')
  }

  /**
   * @param key - in base64, as `createKey` gives it; or the environment that has it in `CIPHER_KEY`
   * @throws `ProgrammingError` when the key is not 16, 24 or 32 bytes in base64
   * @throws `EnvironmentError` when the environment's key is missing or not such a key
   */
  constructor(key: string | Environment) {
    this.#key = keyFromText(typeof key === 'string' ? key : keyFromEnvironment(key))
    this.#algorithm = `aes-${(this.#key.length * 8) as 128 | 192 | 256}-gcm` // the sizes just checked
  }

  /** Encrypts with a new nonce; the result is 28 bytes longer. */
  encrypt(plaintext: Uint8Array): Uint8Array {
    const nonce = randomBytes(nonceSize)
    const cipher = createCipheriv(this.#algorithm, this.#key, nonce)
    const result = new Uint8Array(nonceSize + tagSize + plaintext.byteLength)
    result.set(nonce)
    result.set(cipher.update(plaintext), nonceSize + tagSize)
    cipher.final() // of no length in this mode
    result.set(cipher.getAuthTag(), nonceSize)
    return result
  }

  /** @throws `MapperError` when the text is too short, was changed, or was encrypted with another key */
  decrypt(ciphertext: Uint8Array): Uint8Array {
    if (ciphertext.byteLength < nonceSize + tagSize) {
      throw new MapperError(
        `Cannot decrypt ${ciphertext.byteLength} bytes: a text encrypted with AES-GCM has at least ${nonceSize + tagSize}`,
      )
    }
    const nonce = ciphertext.subarray(0, nonceSize)
    const decipher = createDecipheriv(this.#algorithm, this.#key, nonce, { authTagLength: tagSize })
    decipher.setAuthTag(ciphertext.subarray(nonceSize, nonceSize + tagSize))
    const plaintext = decipher.update(ciphertext.subarray(nonceSize + tagSize))
    try {
      decipher.final()
    } catch (error) {
      throw new MapperError('Cannot decrypt a state: it was changed, or encrypted with another key', { cause: error })
    }
    return plaintext
  }
}

interface KeyInUse {
  readonly mark: Uint8Array
  readonly cipher: AESCipher
}

const keyIdSize = 4
/** `ESK`, then the version of this layout. */
const magic = Buffer.from('ESK1', 'latin1')
const markSize = magic.length + keyIdSize

/**
 * AES-GCM with a key that changes: the first key encrypts, all of them decrypt.
 *
 * What it writes is a mark of 8 bytes (`ESK1` and 4 bytes that tell which key it was), then the layout of `AESCipher`. Text
 * without a mark, as `AESCipher` and the Python library write it, is tried with each key, the oldest first; so rotation can
 * be turned on at any time, also with one key, and `CIPHER_KEY` may stay as it is. There is no way back: `AESCipher` and the
 * Python library do not read marked text.
 *
 * Events are never written again, so an old key is needed as long as the events from its time. Where several processes
 * share the events, add a new key at the end of their lists first, and when all have it move it to the front: otherwise
 * those that do not have it yet cannot read what the others write.
 *
 * @example
 * const cipher = new RotatingCipher([newKey, oldKey])
 * const school = new TrainingSchool({ datastore, cipher })
 */
export class RotatingCipher implements Cipher {
  readonly #keys: readonly KeyInUse[]
  readonly #newest: KeyInUse

  /**
   * What marks the texts of a key, as error messages name it. It does not tell the key.
   *
   * @param key - in base64, as `AESCipher.createKey()` gives it
   * @returns 8 hexadecimal digits
   * @throws `ProgrammingError` when it is not a key
   */
  static keyId(key: string): string {
    const digest = createHmac('sha256', keyFromText(key)).update('eventsourcing-prisma: id of a key')
    return digest.digest('hex').slice(0, 2 * keyIdSize)
  }

  /**
   * @param keys - each in base64, as `AESCipher.createKey()` gives it, the newest first; or the environment that has them in
   *   `CIPHER_KEYS`, with commas between them, or has one in `CIPHER_KEY`
   * @throws `ProgrammingError` when there are no keys, or one is not 16, 24 or 32 bytes in base64
   * @throws `EnvironmentError` when the environment's keys are missing or not such keys
   */
  constructor(keys: readonly string[] | Environment) {
    const texts = isList(keys) ? keys : keysFromEnvironment(keys)
    this.#keys = texts.map((text) => ({
      mark: Buffer.concat([magic, Buffer.from(RotatingCipher.keyId(text), 'hex')]),
      cipher: new AESCipher(text),
    }))
    const [newest] = this.#keys
    if (newest === undefined)
      throw new ProgrammingError('Cannot make a cipher of no keys: give what AESCipher.createKey() gives')
    this.#newest = newest
  }

  /** Encrypts with the first key; the result is 36 bytes longer. */
  encrypt(plaintext: Uint8Array): Uint8Array {
    return Buffer.concat([this.#newest.mark, this.#newest.cipher.encrypt(plaintext)])
  }

  /** @throws `MapperError` when the text is too short, was changed, or was encrypted with none of the keys */
  decrypt(ciphertext: Uint8Array): Uint8Array {
    const mark = ciphertext.subarray(0, markSize)
    for (const key of this.#keys) {
      const plaintext = isSame(key.mark, mark) ? tryDecrypt(key, ciphertext.subarray(markSize)) : undefined
      if (plaintext !== undefined) return plaintext
    }
    // Also for marked text: by chance a nonce starts like a mark. The tag tells which it was.
    for (const key of this.#keys.toReversed()) {
      const plaintext = tryDecrypt(key, ciphertext)
      if (plaintext !== undefined) return plaintext
    }
    throw this.#cannotDecrypt(mark)
  }

  #cannotDecrypt(mark: Uint8Array): MapperError {
    const isMarked = mark.byteLength === markSize && isSame(magic, mark.subarray(0, magic.length))
    if (!isMarked || this.#keys.some((key) => isSame(key.mark, mark))) {
      const keys = this.#keys.length === 1 ? 'another key' : `none of the ${this.#keys.length} keys`
      return new MapperError(`Cannot decrypt a state: it was changed, or encrypted with ${keys}`)
    }
    const id = Buffer.from(mark.subarray(magic.length)).toString('hex')
    return new MapperError(
      `Cannot decrypt a state: it is marked as encrypted with the key ${id}, which is not among the keys: ` +
        'add the key for which RotatingCipher.keyId() gives that',
    )
  }
}

function isSame(expected: Uint8Array, found: Uint8Array): boolean {
  return Buffer.compare(expected, found) === 0
}

function tryDecrypt({ cipher }: KeyInUse, ciphertext: Uint8Array): Uint8Array | undefined {
  try {
    return cipher.decrypt(ciphertext)
  } catch (error) {
    if (error instanceof MapperError) return undefined
    throw error
  }
}

// Array.isArray does not narrow a readonly list out of the union.
function isList(keys: readonly string[] | Environment): keys is readonly string[] {
  return Array.isArray(keys)
}
