/** A change of keys: what is written, what stays readable, and how variables turn it on. */
import { createCipheriv } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  AESCipher,
  Environment,
  EnvironmentError,
  MapperError,
  ProgrammingError,
  RotatingCipher,
} from '../../src/index.js'
import { configuredMapper } from '../../src/persistence/configured.js'
import { Dog, TrainingSchool } from '../application/dogs.js'

const plaintext = new TextEncoder().encode('a text that is to be secret')
const [oldest, older, newest, foreign] = [32, 16, 24, 32].map((size) => AESCipher.createKey(size)) as [
  string,
  string,
  string,
  string,
]
const secrets = [oldest, older, newest, foreign]
const markOf = (key: string): Buffer =>
  Buffer.concat([Buffer.from('ESK1'), Buffer.from(RotatingCipher.keyId(key), 'hex')])
const isPlaintext = (bytes: Uint8Array): boolean => Buffer.compare(bytes, plaintext) === 0

function messageOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    return inspect(error, { depth: 10 })
  }
  throw new Error('nothing was thrown')
}

describe('a rotating cipher', () => {
  it('puts 8 bytes that name the newest key before the layout of AESCipher', () => {
    const encrypted = new RotatingCipher([newest, older]).encrypt(plaintext)
    expect(encrypted).toHaveLength(plaintext.length + 36)
    expect(encrypted.subarray(0, 8)).toEqual(markOf(newest))
    expect(isPlaintext(new AESCipher(newest).decrypt(encrypted.subarray(8)))).toBe(true)
    expect(Buffer.from(encrypted).includes('secret')).toBe(false)
  })

  it('reads what every one of its keys wrote, with a mark or without', () => {
    const cipher = new RotatingCipher([newest, older, oldest])
    for (const key of [oldest, older, newest]) {
      expect(isPlaintext(cipher.decrypt(new AESCipher(key).encrypt(plaintext)))).toBe(true)
      expect(isPlaintext(cipher.decrypt(new RotatingCipher([key]).encrypt(plaintext)))).toBe(true)
      expect(isPlaintext(cipher.decrypt(new RotatingCipher([key, foreign]).encrypt(plaintext)))).toBe(true)
    }
  })

  it('reads on after a key was added at the end of the list, then moved to the front', () => {
    const stages = [[older], [older, newest], [newest, older]].map((keys) => new RotatingCipher(keys))
    for (const [stage, writer] of stages.entries())
      for (const reader of stages.slice(Math.max(0, stage - 1)))
        expect(isPlaintext(reader.decrypt(writer.encrypt(plaintext)))).toBe(true)
  })

  it('reads text without a mark that starts like one by chance', () => {
    // Here the nonce of a text is chosen, which no one else does: it starts with the mark of the same key.
    const encrypted = withNonce(Buffer.concat([markOf(newest), Buffer.alloc(4, 7)]), newest)
    expect(isPlaintext(new RotatingCipher([newest, older]).decrypt(encrypted))).toBe(true)
    expect(isPlaintext(new RotatingCipher([older, newest]).decrypt(encrypted))).toBe(true)
  })

  it('refuses what is cut off or changed anywhere', () => {
    const cipher = new RotatingCipher([newest, older])
    for (const encrypted of [cipher.encrypt(plaintext), new AESCipher(older).encrypt(plaintext)]) {
      for (const index of encrypted.keys()) {
        const changed = Uint8Array.from(encrypted)
        changed[index] = (changed[index] ?? 0) ^ 0x10
        expect(() => cipher.decrypt(changed)).toThrow(MapperError)
        expect(() => cipher.decrypt(encrypted.subarray(0, index))).toThrow(MapperError)
      }
    }
  })

  it('refuses a text whose mark names another of its keys', () => {
    const cipher = new RotatingCipher([newest, older])
    const encrypted = Buffer.concat([markOf(older), cipher.encrypt(plaintext).subarray(8)])
    expect(() => cipher.decrypt(encrypted)).toThrow(MapperError)
  })

  it('names the id of a key that it does not have, and no key', () => {
    const cipher = new RotatingCipher([newest, older])
    const unknown = new RotatingCipher([foreign]).encrypt(plaintext)
    expect(() => cipher.decrypt(unknown)).toThrow(MapperError)
    expect(() => cipher.decrypt(unknown)).toThrow(RotatingCipher.keyId(foreign))
    const messages = [
      messageOf(() => cipher.decrypt(unknown)),
      messageOf(() => cipher.decrypt(new AESCipher(foreign).encrypt(plaintext))),
      messageOf(() => new RotatingCipher([newest, `${older}!`])),
      messageOf(() => new RotatingCipher(new Environment('', { CIPHER_KEYS: `${newest},${older}!` }))),
      inspect(cipher, { depth: 10, showHidden: true }),
    ]
    for (const message of messages)
      for (const secret of secrets) {
        expect(message).not.toContain(secret)
        expect(message).not.toContain(Buffer.from(secret, 'base64').toString('hex').slice(0, 16))
      }
  })

  it('gives keys ids that differ and stay the same', () => {
    expect(new Set(secrets.map((key) => RotatingCipher.keyId(key))).size).toBe(secrets.length)
    expect(RotatingCipher.keyId(Buffer.alloc(32).toString('base64'))).toMatch(/^[0-9a-f]{8}$/)
    expect(RotatingCipher.keyId(newest)).toBe(RotatingCipher.keyId(` ${newest} `))
  })

  it('refuses to have no keys, or what is no key [119]', () => {
    for (const keys of [[], [''], [newest, 'no base64!'], [Buffer.alloc(20).toString('base64')]])
      expect(() => new RotatingCipher(keys)).toThrow(ProgrammingError)
  })

  it('gives back any bytes, whichever of its keys wrote them', () => {
    const keys = fc.shuffledSubarray([oldest, older, newest, foreign], { minLength: 1 })
    fc.assert(
      fc.property(keys, fc.nat(3), fc.boolean(), fc.uint8Array(), (list, at, isMarked, bytes) => {
        const key = list[at % list.length] ?? newest
        const writer = isMarked ? new RotatingCipher([key]) : new AESCipher(key)
        expect(Buffer.compare(new RotatingCipher(list).decrypt(writer.encrypt(bytes)), bytes)).toBe(0)
      }),
    )
  })
})

describe('the variables', () => {
  const topic = 'eventsourcing-prisma#RotatingCipher'
  const cipherOf = async (variables: Record<string, string>, name = ''): Promise<unknown> =>
    (await configuredMapper(new Environment(name, variables), {})).cipher

  it('name several keys, the newest first [86]', async () => {
    const encrypted = new AESCipher(older).encrypt(plaintext)
    for (const variables of [
      { CIPHER_TOPIC: topic, CIPHER_KEYS: `${newest},${older}` },
      { CIPHER_TOPIC: topic, CIPHER_KEYS: ` ${newest} , ${older} ,`, CIPHER_KEY: foreign },
      { CIPHER_KEYS: `${newest},${older}` },
      { SCHOOL_CIPHER_KEYS: `${newest},${older}`, CIPHER_KEYS: foreign },
    ]) {
      const cipher = await cipherOf(variables, 'School')
      if (!(cipher instanceof RotatingCipher)) throw new Error('another cipher was made')
      expect(isPlaintext(cipher.decrypt(encrypted))).toBe(true)
      expect(Buffer.from(cipher.encrypt(plaintext).subarray(0, 8))).toEqual(markOf(newest))
    }
  })

  it('turn rotation on with the one key that there is [86]', async () => {
    const cipher = await cipherOf({ CIPHER_TOPIC: topic, CIPHER_KEY: older })
    if (!(cipher instanceof RotatingCipher)) throw new Error('another cipher was made')
    expect(isPlaintext(cipher.decrypt(new AESCipher(older).encrypt(plaintext)))).toBe(true)
    expect(Buffer.from(cipher.encrypt(plaintext).subarray(0, 8))).toEqual(markOf(older))
  })

  it('are named when keys are missing, wrong or ambiguous, and never shown [121]', async () => {
    for (const [variables, names] of [
      [{ CIPHER_TOPIC: topic }, /SCHOOL_CIPHER_KEYS, CIPHER_KEYS, SCHOOL_CIPHER_KEY, CIPHER_KEY/],
      [{ CIPHER_TOPIC: topic, CIPHER_KEYS: ' , ' }, /SCHOOL_CIPHER_KEYS, CIPHER_KEYS/],
      [{ CIPHER_KEYS: `${newest},c2VjcmV0` }, /SCHOOL_CIPHER_KEYS, CIPHER_KEYS/],
      [{ CIPHER_TOPIC: topic, CIPHER_KEY: 'c2VjcmV0' }, /SCHOOL_CIPHER_KEY, CIPHER_KEY/],
      [{ CIPHER_KEYS: newest, CIPHER_KEY: older }, /CIPHER_KEY and SCHOOL_CIPHER_KEYS, CIPHER_KEYS; set CIPHER_TOPIC/],
    ] as const) {
      const making = cipherOf(variables, 'School')
      await expect(making).rejects.toThrow(EnvironmentError)
      await expect(making).rejects.toThrow(names)
      const message = inspect(await making.catch((error: unknown) => error), { depth: 10 })
      for (const secret of [newest, older, 'c2VjcmV0']) expect(message).not.toContain(secret)
    }
  })
})

it('an application goes on with its events when rotation is turned on and keys are added', async () => {
  const id = Dog.createId('Fido')
  const first = new TrainingSchool({ env: { CIPHER_KEY: oldest, COMPRESSOR_TOPIC: 'zlib' } })
  await first.register('Fido')
  await first.addTrick('Fido', 'roll over')
  let rows = await first.recorder.selectEvents(id)

  for (const [index, keys] of [[oldest], [older, oldest], [newest, older, oldest]].entries()) {
    const env = {
      CIPHER_TOPIC: 'eventsourcing-prisma#RotatingCipher',
      CIPHER_KEYS: keys.join(),
      COMPRESSOR_TOPIC: 'zlib',
    }
    await using next = new TrainingSchool({ env })
    await next.recorder.insertEvents(rows)
    await next.addTrick('Fido', `trick ${index}`)
    expect(await next.getTricks('Fido')).toHaveLength(index + 2)
    rows = await next.recorder.selectEvents(id)
  }
  const marks = rows.map(({ state }) => Buffer.from(state.subarray(0, 8)))
  expect(marks.slice(2)).toEqual([oldest, older, newest].map(markOf))

  await using without = new TrainingSchool({ env: { CIPHER_KEYS: `${newest},${oldest}`, COMPRESSOR_TOPIC: 'zlib' } })
  await without.recorder.insertEvents(rows)
  const getting = without.getTricks('Fido')
  await expect(getting).rejects.toThrow(MapperError)
  await expect(getting).rejects.toThrow(
    new RegExp(`Dog.TrickAdded, version 4 of ${id}.*${RotatingCipher.keyId(older)}`),
  )
})

/** Encrypts in the layout of `AESCipher`, with a nonce that is given. */
function withNonce(nonce: Uint8Array, key: string): Uint8Array {
  const bytes = Buffer.from(key, 'base64')
  const cipher = createCipheriv('aes-192-gcm', bytes, nonce)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext])
}
