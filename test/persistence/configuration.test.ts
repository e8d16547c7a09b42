/** What variables can name: modules, factories, compressors and ciphers. */

import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { EnvironmentError, MapperError, ProgrammingError, TopicError } from '../../src/errors.js'
import { AESCipher } from '../../src/persistence/cipher.js'
import { ZlibCompressor } from '../../src/persistence/compressor.js'
import {
  configuredFactory,
  configuredMapper,
  persistenceVariable,
  registerModule,
  resolveTopic,
} from '../../src/persistence/configured.js'
import { Environment, type InfrastructureFactory } from '../../src/persistence/environment.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'

const modules = './test/persistence/modules'

describe('the topic of a module', () => {
  it('gives an export, or all of them, the very same each time [98]', async () => {
    const exports = await resolveTopic(`${modules}/persistence.js`)
    expect(exports).toHaveProperty('limit', 10)
    const factory = await resolveTopic(`${modules}/persistence.js#OwnFactory`)
    expect(factory).toBe(await resolveTopic(`${modules}/persistence.js#OwnFactory`))
    expect(exports).toHaveProperty('OwnFactory', factory)
  })

  it('may be a path, a URL, a package or a module of Node', async () => {
    const path = resolve(`${modules}/persistence.js`)
    expect(await resolveTopic(`${path}#limit`)).toBe(10)
    expect(await resolveTopic(`${pathToFileURL(path).href}#limit`)).toBe(10)
    expect(await resolveTopic('uuid#v5')).toBeTypeOf('function')
    expect(await resolveTopic('node:zlib#deflateSync')).toBeTypeOf('function')
    expect(await resolveTopic('zlib#deflateSync')).toBeTypeOf('function')
  })

  it('may be a name that was registered', async () => {
    registerModule('a-bundled-module', { limit: 20 })
    expect(await resolveTopic('a-bundled-module#limit')).toBe(20)
  })

  it('is refused with the reason when there is no such module or export [98]', async () => {
    for (const [topic, reason] of [
      [`${modules}/missing.js#a`, /missing\.js/],
      ['no-such-package-anywhere#a', /no-such-package-anywhere/],
      [`${modules}/broken.js#a`, /no connection string/],
      [`${modules}/persistence.js#missing`, /exports .*OwnFactory.*, not 'missing'/],
      ['', /''/],
    ] as const) {
      await expect(resolveTopic(topic)).rejects.toThrow(TopicError)
      await expect(resolveTopic(topic)).rejects.toThrow(reason)
    }
  })
})

describe('the persistence module', () => {
  const load = async (variables: Record<string, string>): Promise<InfrastructureFactory | undefined> => {
    const environment = new Environment('School', variables)
    const key = persistenceVariable(environment)
    return key === undefined ? undefined : await configuredFactory(environment, key)
  }

  it('is none when nothing is configured [80]', async () => {
    expect(await load({})).toBeUndefined()
    expect(
      await load({ SCHOOL_PERSISTENCE_MODULE: '', PERSISTENCE_MODULE: `${modules}/persistence.js` }),
    ).toBeUndefined()
  })

  it('may be a module with one factory, a class of factories, or a function that makes one [81]', async () => {
    const ownFactory = (await resolveTopic(`${modules}/persistence.js#OwnFactory`)) as new () => object // see the module
    for (const name of ['', '#OwnFactory', '#TheSameFactory', '#makeFactory']) {
      const factory = await load({ PERSISTENCE_MODULE: `${modules}/persistence.js${name}` })
      expect(factory).toBeInstanceOf(ownFactory)
      expect(factory).toHaveProperty('environment.name', 'School')
    }
  })

  it('is refused when it is anything else, with variable and topic [82]', async () => {
    for (const [topic, reason] of [
      [`${modules}/missing.js`, /missing\.js/],
      [`${modules}/coding.js`, /found 0 classes of infrastructure factories, expected 1/],
      [`${modules}/two-factories.js`, /found 2 classes of infrastructure factories, expected 1/],
      [`${modules}/persistence.js#limit`, /number/],
      [`${modules}/persistence.js#makeNothing`, /does not give an infrastructure factory/],
    ] as const) {
      const loading = load({ PERSISTENCE_MODULE: topic })
      await expect(loading).rejects.toThrow(EnvironmentError)
      await expect(loading).rejects.toThrow(topic)
      await expect(loading).rejects.toThrow(/SCHOOL_PERSISTENCE_MODULE, PERSISTENCE_MODULE/)
      await expect(loading).rejects.toThrow(reason)
    }
  })

  it('may be given by its former variables, which count after the present one [83]', async () => {
    const topic = `${modules}/persistence.js`
    const bad = `${modules}/missing.js`
    expect(await load({ INFRASTRUCTURE_FACTORY: topic })).toBeDefined()
    expect(await load({ FACTORY_TOPIC: topic })).toBeDefined()
    expect(await load({ PERSISTENCE_MODULE: topic, INFRASTRUCTURE_FACTORY: bad, FACTORY_TOPIC: bad })).toBeDefined()
    await expect(load({ PERSISTENCE_MODULE: bad, FACTORY_TOPIC: topic })).rejects.toThrow(EnvironmentError)
  })
})

describe('the mapper', () => {
  const event = domainEvent({
    originatorId: 'a',
    originatorVersion: 1,
    topic: 'A.B',
    timestamp: createTimestamp(),
    data: { a: 'b' },
  })
  const key = AESCipher.createKey()

  it('neither compresses nor encrypts when nothing is configured [84]', async () => {
    const mapper = await configuredMapper(new Environment('School'), {})
    expect([mapper.compressor, mapper.cipher]).toEqual([undefined, undefined])
  })

  it('has the compressor that is named: zlib, a class, or a module itself [85]', async () => {
    registerModule('the-library', { ZlibCompressor })
    for (const topic of ['zlib', 'the-library#ZlibCompressor']) {
      const mapper = await configuredMapper(new Environment('', { COMPRESSOR_TOPIC: topic }), {})
      expect(mapper.compressor).toBeInstanceOf(ZlibCompressor)
    }
    const mapper = await configuredMapper(new Environment('', { COMPRESSOR_TOPIC: `${modules}/coding.js` }), {})
    expect(mapper.toDomainEvent(mapper.toStoredEvent(event))).toStrictEqual(event)
    expect(mapper.toStoredEvent(event).state.at(-1)).toBe('{'.charCodeAt(0))
  })

  it('encrypts when there is a key, with the cipher that is named or else AES [86]', async () => {
    const aes = await configuredMapper(new Environment('', { CIPHER_KEY: key, COMPRESSOR_TOPIC: 'zlib' }), {})
    expect(aes.cipher).toBeInstanceOf(AESCipher)
    expect(aes.compressor).toBeInstanceOf(ZlibCompressor)
    for (const name of ['Xor', 'reversing']) {
      const environment = new Environment('', { CIPHER_KEY: '7', CIPHER_TOPIC: `${modules}/coding.js#${name}` })
      const own = await configuredMapper(environment, {})
      expect(Buffer.from(own.toStoredEvent(event).state).includes('timestamp')).toBe(false)
      expect(own.toDomainEvent(own.toStoredEvent(event))).toStrictEqual(event)
    }
  })

  it('needs a key for a cipher that is named [86, 121]', async () => {
    registerModule('the-library', { AESCipher })
    const making = configuredMapper(new Environment('School', { CIPHER_TOPIC: 'the-library#AESCipher' }), {})
    await expect(making).rejects.toThrow(EnvironmentError)
    await expect(making).rejects.toThrow(/SCHOOL_CIPHER_KEY, CIPHER_KEY/)
  })

  it('has a key for each application [87]', async () => {
    const variables = { APP1_CIPHER_KEY: key, APP2_CIPHER_KEY: AESCipher.createKey() }
    const app1 = await configuredMapper(new Environment('App1', variables), {})
    const app2 = await configuredMapper(new Environment('App2', variables), {})
    const stored = app1.toStoredEvent(event)
    expect(app1.toDomainEvent(stored)).toStrictEqual(event)
    expect(() => app2.toDomainEvent(stored)).toThrow(MapperError)
  })

  it('prefers what it is given to what is configured', async () => {
    const parts = { compressor: new ZlibCompressor(), cipher: new AESCipher(key), transcoder: new JSONTranscoder() }
    const environment = new Environment('', { COMPRESSOR_TOPIC: 'unknown', CIPHER_TOPIC: 'unknown' })
    expect(await configuredMapper(environment, parts)).toMatchObject(parts)
  })

  it('refuses what has not the functions that are needed', async () => {
    for (const variable of ['COMPRESSOR_TOPIC', 'CIPHER_TOPIC']) {
      for (const topic of ['persistence.js', 'coding.js#compress']) {
        const making = configuredMapper(new Environment('', { [variable]: `${modules}/${topic}` }), {})
        await expect(making).rejects.toThrow(EnvironmentError)
        await expect(making).rejects.toThrow(variable)
      }
    }
  })

  it('refuses transcodings beside a transcoder', async () => {
    const parts = {
      transcoder: new JSONTranscoder(),
      transcodings: [{ name: 'a', type: Map, encode: String, decode: String }],
    }
    await expect(configuredMapper(new Environment(), parts)).rejects.toThrow(ProgrammingError)
  })
})
