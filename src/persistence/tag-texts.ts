/** Tags as they are stored: `name:value`, with an HMAC in the place of a value that is secret. */
import { createHmac, hkdfSync } from 'node:crypto'
import { Secret, type Tag } from '../domain/tags.js'
import { EnvironmentError } from '../errors.js'
import { cipherKeysVariable, cipherKeyVariable } from './cipher.js'
import type { Environment } from './environment.js'

const tagKeyVariable = 'TAG_KEY'
const shortestKey = 16
const purpose = 'eventsourcing-prisma tags'
const noSalt = Buffer.alloc(0)

/** Writes tags, with the key of one application. */
export class TagTexts {
  readonly #environment: Environment | undefined
  #key: Buffer | undefined

  /** @param environment - has the key; without it no value can be secret */
  constructor(environment?: Environment) {
    this.#environment = environment
  }

  /**
   * Writes tags, each once.
   *
   * @throws `EnvironmentError` for a secret value where there is no key
   */
  of(tags: readonly Tag[]): string[] {
    return [
      ...new Set(tags.map(({ name, value }) => `${name}:${value instanceof Secret ? this.#hmac(name, value) : value}`)),
    ]
  }

  /** With the tag's name in it, so that one value under two names does not look the same. */
  #hmac(name: string, value: Secret): string {
    this.#key ??= this.#findKey()
    return createHmac('sha256', this.#key).update(`${name}\0${value.reveal()}`).digest('base64url')
  }

  #findKey(): Buffer {
    const names = (variable: string): string => this.#environment?.names(variable).join(', ') ?? variable
    const text = this.#environment?.get(tagKeyVariable) || this.#cipherKey()
    if (text === undefined) {
      throw new EnvironmentError(
        `Cannot hide the value of a tag by secret() without a key: set one of ${names(tagKeyVariable)} to what AESCipher.createKey() ` +
          `gives, and never change it. Without it, the key follows from ${cipherKeyVariable}.`,
      )
    }
    if (text.length < shortestKey) {
      throw new EnvironmentError(
        `Cannot hide the value of a tag: the key in ${names(tagKeyVariable)} has less than ${shortestKey} characters, and could be guessed.`,
      )
    }
    return Buffer.from(hkdfSync('sha256', Buffer.from(text), noSalt, purpose, 32))
  }

  /** @throws `EnvironmentError` where the key of the cipher changes: what was tagged before would not be found */
  #cipherKey(): string | undefined {
    const environment = this.#environment
    const texts = (environment?.get(cipherKeysVariable) ?? '').split(',').map((text) => text.trim())
    const keys = [environment?.get(cipherKeyVariable) ?? '', ...texts].filter((text) => text !== '')
    if (keys.length < 2) return keys[0]
    throw new EnvironmentError(
      `Cannot hide the value of a tag: ${cipherKeysVariable} has more than one key, and the tags of before have to be found. Set ` +
        `${environment?.names(tagKeyVariable).join(', ')} to the key that was the only one.`,
    )
  }
}
