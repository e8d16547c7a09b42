/** Ciphers keep the states of events secret. */
import { type CipherGCMTypes, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { MapperError } from '../errors.js'
import { checkKeySize, keyFromEnvironment, keyFromText } from './cipher-keys.js'
import type { Environment } from './environment.js'

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
