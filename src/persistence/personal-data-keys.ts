/** Hides what is personal or secret: data, with keys of the persons that they are about, given back while the keys exist; and values of tags, by an HMAC. */

import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { type DomainEvent, domainEvent } from '../domain/event.js'
import { canonical, checkSubject, Erased, noSubjects } from '../domain/personal-data.js'
import { Secret, type Tag } from '../domain/tags.js'
import { ConcurrencyError, EnvironmentError, MapperError, NotSupportedError } from '../errors.js'
import { cipherKeysVariable, cipherKeyVariable } from './cipher.js'
import type { Environment } from './environment.js'
import { type Mapper, placeholderOf, type SealedData, sealedIn, unreadable, unwritable } from './mapper.js'
import type { SubjectKeyRecorder } from './recorder.js'

const keySize = 32
const keyIdSize = 8
const nonceSize = 12
const tagSize = 16
const noSalt = new Uint8Array()
const purpose = 'eventsourcing-prisma personal data'

/**
 * The keys of the persons whose data an application keeps.
 *
 * A value is encoded as the mapper does it, compressed where the mapper compresses, and encrypted by AES-256-GCM with a key
 * that is derived (HKDF, SHA-256) from the keys of all persons that it is about: who lacks one of them cannot read it. It
 * is bound to its place in the stream. Where the mapper has a cipher, the keys themselves are stored encrypted with it.
 *
 * @see NIST SP 800-38D; RFC 5869
 */
export class PersonalDataKeys {
  readonly #mapper: Mapper
  readonly #recorder: () => SubjectKeyRecorder | undefined

  /** @param recorder - called when personal data are met; undefined where keys cannot be kept */
  constructor(mapper: Mapper, recorder: () => SubjectKeyRecorder | undefined) {
    this.#mapper = mapper
    this.#recorder = recorder
  }

  /**
   * Encrypts the personal fields of events. Persons without a key get one, in the current transaction.
   *
   * @param shown - persons who had a key when their data were read: they get no new one
   * @throws `NotSupportedError` where keys cannot be kept
   * @throws `ConcurrencyError` where one of the persons shown has no key any more, since being forgotten
   */
  async sealed(
    events: readonly DomainEvent[],
    shown: ReadonlySet<string> = noSubjects,
  ): Promise<readonly DomainEvent[]> {
    const subjects = subjectsOf(events)
    if (subjects.length === 0) return events
    const keys = await this.#keysFor(subjects, (missing) => assertNotForgotten(missing, shown, events))
    return events.map((event) => (event.personal === undefined ? event : this.#sealedEvent(event, keys)))
  }

  /**
   * The same, for what repeats data that are stored already, such as snapshots: nobody gets a key by it.
   *
   * @returns undefined where a person has none, since being forgotten: the data must not be stored again
   */
  async resealed(event: DomainEvent): Promise<DomainEvent | undefined> {
    const subjects = subjectsOf([event])
    if (subjects.length === 0) return event
    const known = await this.#keeper.selectKeys(subjects)
    if (known.length < subjects.length) return undefined
    return this.#sealedEvent(event, new Map(known.map(({ subject, key }) => [subject, this.#unwrapped(key)])))
  }

  /** Decrypts the personal fields of stored events; where a key is gone, the placeholder stays. */
  async opened(events: readonly DomainEvent[]): Promise<readonly DomainEvent[]> {
    const subjects = new Set<string>()
    for (const { data } of events) {
      for (const field in data) for (const subject of sealedIn(data[field])?.subjects ?? []) subjects.add(subject)
    }
    if (subjects.size === 0) return events
    const stored = (await this.#recorder()?.selectKeys([...subjects])) ?? []
    const keys = new Map(stored.map(({ subject, key }) => [subject, this.#unwrapped(key)]))
    return events.map((event) => {
      try {
        return this.#openedEvent(event, keys)
      } catch (error) {
        throw unreadable(error, event)
      }
    })
  }

  /**
   * Deletes a person's key, in the current transaction.
   *
   * @returns whether there was one
   * @throws `TypeError` for what cannot name a person
   * @throws `NotSupportedError` where keys cannot be kept
   */
  async forget(subject: string): Promise<boolean> {
    return await this.#keeper.deleteKey(checkSubject(subject))
  }

  get #keeper(): SubjectKeyRecorder {
    const recorder = this.#recorder()
    if (recorder !== undefined) return recorder
    throw new NotSupportedError(
      'Cannot keep keys for personal data: the factory of this application makes no subject key recorder.',
    )
  }

  async #keysFor(
    subjects: readonly string[],
    assertMayBegin: (missing: readonly string[]) => void,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const recorder = this.#keeper
    const known = await recorder.selectKeys(subjects)
    const found = new Set(known.map(({ subject }) => subject))
    const missing = subjects.filter((subject) => !found.has(subject))
    assertMayBegin(missing)
    const made =
      missing.length === 0
        ? []
        : await recorder.insertKeys(missing.map((subject) => ({ subject, key: this.#wrapped(randomBytes(keySize)) })))
    return new Map([...known, ...made].map(({ subject, key }) => [subject, this.#unwrapped(key)]))
  }

  #wrapped(key: Uint8Array): Uint8Array {
    return this.#mapper.cipher?.encrypt(key) ?? key
  }

  #unwrapped(key: Uint8Array): Uint8Array {
    return this.#mapper.cipher?.decrypt(key) ?? key
  }

  #sealedEvent(event: DomainEvent, keys: ReadonlyMap<string, Uint8Array>): DomainEvent {
    const data: Record<string, unknown> = { ...event.data }
    for (const [field, subjects] of Object.entries(event.personal ?? {})) {
      const { compressor } = this.#mapper
      const encoded = this.#encoded(event, field)
      const derived = derivedKey(subjects, keys)
      if (derived === undefined) throw new MapperError(`Cannot encrypt '${field}' of ${event.topic}: a key is missing`)
      const text = encrypted(compressor?.compress(encoded) ?? encoded, derived.key, placeOf(event, field))
      data[field] = placeholderOf({ subjects, keyId: derived.id, text })
    }
    return domainEvent({ ...event, data })
  }

  #encoded(event: DomainEvent, field: string): Uint8Array {
    try {
      return this.#mapper.transcoder.encode(event.data[field])
    } catch (error) {
      throw unwritable(error, event, field)
    }
  }

  #openedEvent(event: DomainEvent, keys: ReadonlyMap<string, Uint8Array>): DomainEvent {
    const data: Record<string, unknown> = { ...event.data }
    const personal: Record<string, readonly string[]> = {}
    for (const [field, value] of Object.entries(data)) {
      const sealed = sealedIn(value)
      if (sealed === undefined) continue
      const derived = derivedKey(sealed.subjects, keys)
      if (derived?.id === sealed.keyId) {
        data[field] = this.#openedValue(sealed, derived.key, placeOf(event, field))
        personal[field] = sealed.subjects
      } else {
        data[field] = new Erased(...sealed.subjects)
      }
    }
    return domainEvent({ ...event, data, ...(Object.keys(personal).length === 0 ? {} : { personal }) })
  }

  #openedValue({ text }: SealedData, key: Uint8Array, place: string): unknown {
    const { transcoder, compressor } = this.#mapper
    const bytes = decrypted(text, key, place)
    return transcoder.decode(compressor?.decompress(bytes) ?? bytes)
  }
}

/** The data that a command has made from what it has read of a person must not come back under a new key. */
function assertNotForgotten(
  missing: readonly string[],
  shown: ReadonlySet<string>,
  events: readonly DomainEvent[],
): void {
  const forgotten = missing.find((subject) => shown.has(subject))
  if (forgotten === undefined) return
  const isAbout = ({ personal = {} }: DomainEvent): boolean => Object.values(personal).flat().includes(forgotten)
  const event = events.find(isAbout)
  const { topic = '', originatorId = '', originatorVersion = 1 } = event ?? {}
  throw new ConcurrencyError(
    `Could not store ${topic}, version ${originatorVersion} of ${originatorId}: the person '${forgotten}', whose data were read ` +
      'before, was forgotten meanwhile. Nothing was stored. Load it again and repeat the command.',
    { originatorId, expectedVersion: originatorVersion - 1 },
  )
}

function subjectsOf(events: readonly DomainEvent[]): string[] {
  return [...new Set(events.flatMap(({ personal = {} }) => Object.values(personal).flat()))]
}

interface DerivedKey {
  readonly key: Uint8Array
  readonly id: string
}

/** Undefined where one of the persons has no key. */
function derivedKey(subjects: readonly string[], keys: ReadonlyMap<string, Uint8Array>): DerivedKey | undefined {
  const all: Uint8Array[] = []
  for (const subject of subjects) {
    const key = keys.get(subject)
    if (key === undefined) return undefined
    all.push(key)
  }
  const bytes = Buffer.from(hkdfSync('sha256', Buffer.concat(all), noSalt, purpose, keySize + keyIdSize))
  return { key: bytes.subarray(0, keySize), id: bytes.subarray(keySize).toString('hex') }
}

// A database may write ids in its own way: PostgreSQL gives UUIDs in lower case, with hyphens.
function placeOf({ originatorId, originatorVersion }: DomainEvent, field: string): string {
  return JSON.stringify([canonical(originatorId).toLowerCase(), originatorVersion, field])
}

function encrypted(plaintext: Uint8Array, key: Uint8Array, place: string): string {
  const nonce = randomBytes(nonceSize)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(place))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([nonce, cipher.getAuthTag(), ciphertext]).toString('base64')
}

/** @throws `MapperError` when the text was changed, or stands in another place than it was encrypted for */
function decrypted(text: string, key: Uint8Array, place: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, nonceSize), { authTagLength: tagSize })
  try {
    decipher.setAAD(Buffer.from(place)).setAuthTag(bytes.subarray(nonceSize, nonceSize + tagSize))
    return Buffer.concat([decipher.update(bytes.subarray(nonceSize + tagSize)), decipher.final()])
  } catch (error) {
    throw new MapperError(
      `Cannot decrypt personal data: they were changed, or moved from another place than ${place}`,
      {
        cause: error,
      },
    )
  }
}

const tagKeyVariable = 'TAG_KEY'
const shortestKey = 16
const tagPurpose = 'eventsourcing-prisma tags'

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
    return Buffer.from(hkdfSync('sha256', Buffer.from(text), noSalt, tagPurpose, 32))
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
