/** A cipher with several keys, so that a new key can take over while what older keys encrypted stays readable. */
import { createHmac } from 'node:crypto'
import { MapperError, ProgrammingError } from '../errors.js'
import { AESCipher, type Cipher } from './cipher.js'
import { keyFromText, keysFromEnvironment } from './cipher-keys.js'
import type { Environment } from './environment.js'

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
