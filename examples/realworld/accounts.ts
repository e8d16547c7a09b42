/** Passwords and tokens, with nothing but node:crypto. */
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const scryptOf = promisify<string, Buffer, number, Buffer>(scrypt)
const keyBytes = 32

/** Salt and hash of a password, as they are stored. */
export async function hashed(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await scryptOf(password.normalize('NFC'), salt, keyBytes)
  return `${salt.toString('base64url')}.${hash.toString('base64url')}`
}

/** @param stored - what `hashed` gave; undefined where there is no such user, which takes as long to find out */
export async function isPassword(password: string, stored: string | undefined): Promise<boolean> {
  const [salt = '', hash = ''] = (stored ?? '').split('.')
  const given = await scryptOf(password.normalize('NFC'), Buffer.from(salt, 'base64url'), keyBytes)
  const expected = Buffer.from(hash, 'base64url')
  return expected.length === given.length && timingSafeEqual(expected, given)
}

/** JSON Web Tokens that say who a user is, signed by HS256. @see RFC 7519 */
export class Tokens {
  readonly #secret: string
  readonly #lifeSeconds: number

  constructor(secret: string, lifeSeconds = 60 * 24 * 3600) {
    this.#secret = secret
    this.#lifeSeconds = lifeSeconds
  }

  issue(user: number, now: number = Date.now()): string {
    const head = encoded({ alg: 'HS256', typ: 'JWT' })
    const claims = encoded({ sub: user, exp: Math.floor(now / 1000) + this.#lifeSeconds })
    return `${head}.${claims}.${this.#signature(`${head}.${claims}`)}`
  }

  /** @returns the user's id; 0 for a token that is not ours, or has expired */
  userOf(token: string, now: number = Date.now()): number {
    const [head = '', claims = '', signature = ''] = token.split('.')
    const expected = Buffer.from(this.#signature(`${head}.${claims}`))
    const given = Buffer.from(signature)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return 0
    // Ours, since the signature is.
    const { sub, exp } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { sub: number; exp: number }
    return exp * 1000 > now ? sub : 0
  }

  #signature(text: string): string {
    return createHmac('sha256', this.#secret).update(text).digest('base64url')
  }
}

function encoded(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}
