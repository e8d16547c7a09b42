/** A module with compressors and ciphers, as an application may have them. */

/** Reverses what it is given, with whatever name. */
const reverse = (bytes) => Uint8Array.from(bytes).reverse()

export const compress = reverse
export const decompress = reverse

export const reversing = { encrypt: reverse, decrypt: reverse }

export class Xor {
  constructor(environment) {
    this.key = Number(environment.get('CIPHER_KEY'))
  }

  encrypt(bytes) {
    return bytes.map((byte) => byte ^ this.key)
  }

  decrypt(bytes) {
    return this.encrypt(bytes)
  }
}
