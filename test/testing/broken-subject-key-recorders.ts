/** Subject key recorders that break one promise each. */
import { InMemorySubjectKeyRecorder, type SubjectKey, type SubjectKeyRecorder } from '../../src/recorders.js'

/** Changes names before it stores and reads. */
class Renames extends InMemorySubjectKeyRecorder {
  readonly #nameOf: (name: string) => string
  constructor(nameOf: (name: string) => string) {
    super()
    this.#nameOf = nameOf
  }
  override async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return await super.selectKeys(subjects.map(this.#nameOf))
  }
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    return await super.insertKeys(keys.map(({ subject, key }) => ({ subject: this.#nameOf(subject), key })))
  }
  override async deleteKey(subject: string): Promise<boolean> {
    return await super.deleteKey(this.#nameOf(subject))
  }
}

class Replaces extends InMemorySubjectKeyRecorder {
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    for (const { subject } of keys) await this.deleteKey(subject)
    return await super.insertKeys(keys)
  }
}

class GivesWhatItWasGiven extends InMemorySubjectKeyRecorder {
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    await super.insertKeys(keys)
    return [...keys]
  }
}

class GivesNewKeysOnly extends InMemorySubjectKeyRecorder {
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    const known = new Set((await this.selectKeys(keys.map(({ subject }) => subject))).map(({ subject }) => subject))
    return await super.insertKeys(keys.filter(({ subject }) => !known.has(subject)))
  }
}

class GivesOnePerQuestion extends InMemorySubjectKeyRecorder {
  override async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return (await Promise.all(subjects.map((subject) => super.selectKeys([subject])))).flat()
  }
}

class MakesKeysUp extends InMemorySubjectKeyRecorder {
  override async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    const known = new Map((await super.selectKeys(subjects)).map((each) => [each.subject, each]))
    return [...new Set(subjects)].map((subject) => known.get(subject) ?? { subject, key: new Uint8Array([7]) })
  }
}

class ForgetsNobody extends InMemorySubjectKeyRecorder {
  override async deleteKey(subject: string): Promise<boolean> {
    return (await this.selectKeys([subject])).length > 0
  }
}

class ForgetsAll extends InMemorySubjectKeyRecorder {
  readonly #names = new Set<string>()
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    for (const { subject } of keys) this.#names.add(subject)
    return await super.insertKeys(keys)
  }
  override async deleteKey(subject: string): Promise<boolean> {
    const deleted = await super.deleteKey(subject)
    if (deleted) for (const name of this.#names) await super.deleteKey(name)
    return deleted
  }
}

class ForgetsForGood extends InMemorySubjectKeyRecorder {
  readonly #forgotten = new Set<string>()
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    return await super.insertKeys(keys.filter(({ subject }) => !this.#forgotten.has(subject)))
  }
  override async deleteKey(subject: string): Promise<boolean> {
    this.#forgotten.add(subject)
    return await super.deleteKey(subject)
  }
}

class AlwaysSaysDeleted extends InMemorySubjectKeyRecorder {
  override async deleteKey(subject: string): Promise<boolean> {
    await super.deleteKey(subject)
    return true
  }
}

/** Keeps and gives the very bytes, so that whoever changes them changes the key. */
class SharesBytes implements SubjectKeyRecorder {
  readonly #keys = new Map<string, SubjectKey>()
  async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return [...new Set(subjects)].flatMap((subject) => this.#keys.get(subject) ?? [])
  }
  async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    for (const key of keys) if (!this.#keys.has(key.subject)) this.#keys.set(key.subject, key)
    return await this.selectKeys(keys.map(({ subject }) => subject))
  }
  async deleteKey(subject: string): Promise<boolean> {
    return this.#keys.delete(subject)
  }
}

class TakesTheFirstHundred extends InMemorySubjectKeyRecorder {
  override async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    return await super.insertKeys(keys.slice(0, 100))
  }
}

class ReadsBytesAsText extends InMemorySubjectKeyRecorder {
  override async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    const keys = await super.selectKeys(subjects)
    return keys.map(({ subject, key }) => ({ subject, key: Buffer.from(Buffer.from(key).toString('utf8')) }))
  }
}

/** Break the promises of subject keys. */
export const brokenSubjectKeys: Record<string, () => SubjectKeyRecorder> = {
  'takes names of either case for one': () => new Renames((name) => name.toLowerCase()),
  'takes spaces at the end for nothing': () => new Renames((name) => name.trimEnd()),
  'takes accents for nothing': () => new Renames((name) => name.normalize('NFD').replace(/\p{M}/gu, '')),
  'takes two writings of one letter for one': () => new Renames((name) => name.normalize()),
  'cuts names at 200 characters': () => new Renames((name) => name.slice(0, 200)),
  'replaces a key': () => new Replaces(),
  'gives what it was given': () => new GivesWhatItWasGiven(),
  'gives new keys only': () => new GivesNewKeysOnly(),
  'gives a key as often as it is asked for': () => new GivesOnePerQuestion(),
  'makes up keys': () => new MakesKeysUp(),
  'forgets nobody': () => new ForgetsNobody(),
  'forgets all for one': () => new ForgetsAll(),
  'lets nobody come back': () => new ForgetsForGood(),
  'says always that there was a key': () => new AlwaysSaysDeleted(),
  'shares its bytes': () => new SharesBytes(),
  'takes the first hundred': () => new TakesTheFirstHundred(),
  'reads bytes as text': () => new ReadsBytesAsText(),
}
