/** Encryption in the layout of the Python library, keys and their faults. */
import { describe, expect, it } from 'vitest'
import { EnvironmentError, MapperError, ProgrammingError } from '../../src/errors.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { Environment } from '../../src/persistence/environment.js'

const plaintext = new TextEncoder().encode('a text that is to be secret')

describe('an AES cipher', () => {
  it('takes keys of 16, 24 and 32 bytes [119]', () => {
    for (const size of [16, 24, 32]) {
      const key = AESCipher.createKey(size)
      expect(Buffer.from(key, 'base64')).toHaveLength(size)
      const cipher = new AESCipher(key)
      expect(new Uint8Array(cipher.decrypt(cipher.encrypt(plaintext)))).toEqual(plaintext)
    }
  })

  it('refuses keys of other sizes, when made and when used [119]', () => {
    for (const size of [0, 12, 20, 28, 36]) {
      expect(() => AESCipher.createKey(size)).toThrow(ProgrammingError)
      expect(() => new AESCipher(Buffer.alloc(size).toString('base64'))).toThrow(ProgrammingError)
    }
  })

  it('refuses a key that is not base64, without showing it', () => {
    expect(() => new AESCipher('my secret, and no base64 at all!')).toThrow(ProgrammingError)
    expect(() => new AESCipher('my secret, and no base64 at all!')).not.toThrow(/my secret/)
  })

  it('puts nonce and tag, 28 bytes, before the ciphertext and never uses a nonce twice [115]', () => {
    const cipher = new AESCipher(AESCipher.createKey())
    const [first, second] = [cipher.encrypt(plaintext), cipher.encrypt(plaintext)]
    expect(first).toHaveLength(plaintext.length + 28)
    expect(first).not.toEqual(second)
    expect(Buffer.from(first).includes('secret')).toBe(false)
  })

  it('refuses a text that is cut off or changed anywhere, or of another key [120]', () => {
    const cipher = new AESCipher(AESCipher.createKey())
    const encrypted = cipher.encrypt(plaintext)
    for (const size of [0, 10, 20, 27, 28, 30])
      expect(() => cipher.decrypt(encrypted.subarray(0, size))).toThrow(MapperError)
    for (const index of encrypted.keys()) {
      const changed = Uint8Array.from(encrypted)
      changed[index] = (changed[index] ?? 0) ^ 1
      expect(() => cipher.decrypt(changed)).toThrow(MapperError)
    }
    expect(() => new AESCipher(AESCipher.createKey()).decrypt(encrypted)).toThrow(MapperError)
  })

  it('takes its key from the environment, and names the variable that is missing or wrong [121]', () => {
    const key = AESCipher.createKey()
    const encrypted = new AESCipher(key).encrypt(plaintext)
    const named = new AESCipher(new Environment('School', { SCHOOL_CIPHER_KEY: key }))
    expect(new Uint8Array(named.decrypt(encrypted))).toEqual(plaintext)
    expect(() => new AESCipher(new Environment('School'))).toThrow(EnvironmentError)
    expect(() => new AESCipher(new Environment('School'))).toThrow(/SCHOOL_CIPHER_KEY, CIPHER_KEY/)
    expect(() => new AESCipher(new Environment('', { CIPHER_KEY: 'c2VjcmV0' }))).toThrow(EnvironmentError)
    expect(() => new AESCipher(new Environment('', { CIPHER_KEY: 'c2VjcmV0' }))).not.toThrow(/c2VjcmV0/)
  })
})
