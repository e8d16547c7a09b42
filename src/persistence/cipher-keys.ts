/** The keys of ciphers: texts in base64, from code or from variables, that no message ever shows. */
import { EnvironmentError, ProgrammingError } from '../errors.js'
import type { Environment } from './environment.js'

/** The variable with the one key. */
export const cipherKeyVariable = 'CIPHER_KEY'
/** The variable with several keys, the newest first, with commas between them. */
export const cipherKeysVariable = 'CIPHER_KEYS'

const keySizes: readonly number[] = [16, 24, 32]
const sizesAllowed = `give ${keySizes.join(', ')} bytes`

/** @throws `ProgrammingError` unless AES has keys of this size */
export function checkKeySize(numBytes: number): void {
  if (!keySizes.includes(numBytes))
    throw new ProgrammingError(`Cannot make an AES key of ${numBytes} bytes: ${sizesAllowed}`)
}

/** @throws `ProgrammingError` when the text is not 16, 24 or 32 bytes in base64 */
export function keyFromText(text: string): Buffer {
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
export function keyFromEnvironment(environment: Environment): string {
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
export function keysFromEnvironment(environment: Environment): string[] {
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
