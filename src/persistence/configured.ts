/** What the options and variables of an application name: the exports of modules, as in `./db.js#datastore`, its mapper and its factory. */
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError, ProgrammingError, TopicError } from '../errors.js'
import { AESCipher, type Cipher, cipherKeysVariable, cipherKeyVariable, hasVariable, RotatingCipher } from './cipher.js'
import { type Compressor, ZlibCompressor } from './compressor.js'
import type { Environment, InfrastructureFactory, InfrastructureFactoryClass } from './environment.js'
import { Mapper } from './mapper.js'
import { JSONTranscoder, type Transcoder } from './transcoder.js'
import type { Transcoding } from './transcodings.js'

/** What a module exports, by name. */
type ModuleExports = Readonly<Record<string, unknown>>

const registered = new Map<string, ModuleExports>()

/**
 * Makes a module known by a name without loading it from a file, such as the modules of a bundle.
 *
 * @param name - the part of a topic before `#`
 * @param exports - what it exports; registering the name again replaces it
 */
export function registerModule(name: string, exports: ModuleExports): void {
  registered.set(name, exports)
}

/**
 * Loads what a topic names.
 *
 * @param topic - `module#export`, or `module` for all that it exports. The module is a path, taken from the current
 *   directory when it starts with a dot, a `file:` URL, or the name of a package of the project in the current directory.
 * @throws `TopicError` with the reason when the module cannot be loaded, or does not export that
 */
export async function resolveTopic(topic: string): Promise<unknown> {
  const at = topic.indexOf('#')
  const specifier = at === -1 ? topic : topic.slice(0, at)
  const name = at === -1 ? undefined : topic.slice(at + 1)
  const exports = registered.get(specifier) ?? (await loadModule(specifier, topic))
  if (name === undefined) return exports
  if (Object.hasOwn(exports, name)) return exports[name]
  const found = Object.keys(exports).join(', ') || 'nothing'
  throw new TopicError(`Cannot resolve the topic '${topic}': the module exports ${found}, not '${name}'`)
}

/**
 * Loads what the topic in a variable names.
 *
 * @param key - the variable, without the application's prefix
 * @returns undefined when the variable is not set, or empty
 * @throws `EnvironmentError` that names variable and topic, with the reason as its cause
 */
export async function resolveVariable(environment: Environment, key: string): Promise<unknown> {
  const topic = environment.get(key)
  if (topic === undefined || topic === '') return undefined
  try {
    return await resolveTopic(topic)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    // As Python has it, or nearly right.
    const isOurs = topic.startsWith('eventsourcing') && !registered.has(topic.replace(/#.*/s, ''))
    const hint = isOurs ? ' Did you mean eventsourcing-prisma?' : ''
    throw new EnvironmentError(`The variable ${environment.names(key).join(', ')} cannot be used. ${reason}${hint}`, {
      cause: error,
    })
  }
}

async function loadModule(specifier: string, topic: string): Promise<ModuleExports> {
  try {
    return (await import(locationOf(specifier))) as ModuleExports // a module namespace is an object of its exports
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new TopicError(`Cannot resolve the topic '${topic}': its module cannot be loaded: ${reason}`, {
      cause: error,
    })
  }
}

function locationOf(specifier: string): string {
  if (specifier.startsWith('./') || specifier.startsWith('../')) return pathToFileURL(resolve(specifier)).href
  if (isAbsolute(specifier)) return pathToFileURL(specifier).href
  if (/^(?:file|node|data):/.test(specifier)) return specifier
  try {
    // From the project's directory: with strict package managers this library does not see the project's packages.
    const found = createRequire(join(process.cwd(), 'package.json')).resolve(specifier)
    return isAbsolute(found) ? pathToFileURL(found).href : found
  } catch {
    // Packages that can only be imported are not found by `require`.
    return specifier
  }
}

/** The parts of a mapper that were given instead of configured. */
export interface MapperParts {
  /** Default: a `JSONTranscoder`. */
  readonly transcoder?: Transcoder
  /** For the default transcoder; with a transcoder of your own, register them there. */
  readonly transcodings?: readonly Transcoding[]
  /** Default: what `COMPRESSOR_TOPIC` names, else none. */
  readonly compressor?: Compressor
  /** Default: what `CIPHER_TOPIC` names, else AES with the `CIPHER_KEY` or the `CIPHER_KEYS` that there are, else none. */
  readonly cipher?: Cipher
}

const compressorVariable = 'COMPRESSOR_TOPIC'
const cipherVariable = 'CIPHER_TOPIC'

/**
 * Makes a mapper. What is given counts before what is configured.
 *
 * `COMPRESSOR_TOPIC` and `CIPHER_TOPIC` name a class, which gets the environment, an object, or a module with the two
 * functions. `COMPRESSOR_TOPIC=zlib` is the `ZlibCompressor`. Without a `CIPHER_TOPIC`, a `CIPHER_KEY` makes an `AESCipher` and
 * `CIPHER_KEYS` make a `RotatingCipher`.
 *
 * @throws `EnvironmentError` when a variable names something else, the cipher's key is missing, or there are both
 *   `CIPHER_KEY` and `CIPHER_KEYS` and no `CIPHER_TOPIC` that says which cipher is meant
 * @throws `ProgrammingError` when transcodings are given together with a transcoder
 */
export async function configuredMapper(environment: Environment, parts: MapperParts): Promise<Mapper> {
  if (parts.transcoder !== undefined && (parts.transcodings ?? []).length > 0) {
    throw new ProgrammingError(
      'Cannot use both the options transcoder and transcodings: register the transcodings with your transcoder',
    )
  }
  return new Mapper({
    transcoder: parts.transcoder ?? new JSONTranscoder(parts.transcodings),
    compressor: parts.compressor ?? (await configuredCompressor(environment)),
    cipher: parts.cipher ?? (await configuredCipher(environment)),
  })
}

async function configuredCompressor(environment: Environment): Promise<Compressor | undefined> {
  // The name that the Python library takes too: there, the module itself is the compressor.
  if (environment.get(compressorVariable) === 'zlib') return new ZlibCompressor()
  const named = instanceOf(await resolveVariable(environment, compressorVariable), environment)
  if (named === undefined || isCompressor(named)) return named
  throw unusable(environment, compressorVariable, 'compress() and decompress()')
}

async function configuredCipher(environment: Environment): Promise<Cipher | undefined> {
  const named = instanceOf(await resolveVariable(environment, cipherVariable), environment)
  if (named === undefined) return cipherOfKeys(environment)
  if (isCipher(named)) return named
  throw unusable(environment, cipherVariable, 'encrypt() and decrypt()')
}

function cipherOfKeys(environment: Environment): Cipher | undefined {
  const hasKey = hasVariable(environment, cipherKeyVariable)
  if (!hasVariable(environment, cipherKeysVariable)) return hasKey ? new AESCipher(environment) : undefined
  if (!hasKey) return new RotatingCipher(environment)
  const names = [cipherKeyVariable, cipherKeysVariable].map((key) => environment.names(key).join(', '))
  throw new EnvironmentError(
    `Cannot choose a cipher: there are both ${names.join(' and ')}; set ${cipherVariable} to the one that is meant, or ` +
      'leave one of them empty',
  )
}

function instanceOf(named: unknown, environment: Environment): unknown {
  // Arrow functions have no prototype, and cannot be constructed.
  const isClass = typeof named === 'function' && Object.hasOwn(named, 'prototype')
  return isClass ? Reflect.construct(named, [environment]) : named
}

function isCompressor(value: unknown): value is Compressor {
  return typeof value === 'object' && value !== null && 'compress' in value && 'decompress' in value
}

function isCipher(value: unknown): value is Cipher {
  return typeof value === 'object' && value !== null && 'encrypt' in value && 'decrypt' in value
}

function unusable(environment: Environment, key: string, members: string): EnvironmentError {
  return new EnvironmentError(
    `The variable ${environment.names(key).join(', ')} is '${environment.get(key)}', and that has no ${members}: ` +
      'name a class, an object or a module that has them',
  )
}

/** The variables that may name the persistence module: the first that is set counts, the others are former names. */
const moduleVariables: readonly string[] = ['PERSISTENCE_MODULE', 'INFRASTRUCTURE_FACTORY', 'FACTORY_TOPIC']

/** The variable that names the persistence module, undefined when the environment has none. */
export function persistenceVariable(environment: Environment): string | undefined {
  return moduleVariables.find((key) => (environment.get(key) ?? '') !== '')
}

/**
 * Loads a persistence module and makes its factory.
 *
 * The topic names a class of factories, a function that takes the environment and gives a factory or a promise of one, or
 * a module that exports just one class of factories.
 *
 * @param key - what `persistenceVariable` gives
 * @throws `EnvironmentError` naming variable and topic when it is none of these
 */
export async function configuredFactory(environment: Environment, key: string): Promise<InfrastructureFactory> {
  const named = await resolveVariable(environment, key)
  const problem = (reason: string): EnvironmentError =>
    new EnvironmentError(
      `The variable ${environment.names(key).join(', ')} is '${environment.get(key)}', and ${reason}`,
    )
  if (isFactoryClass(named)) return new named(environment)
  if (typeof named === 'function') {
    const made: unknown = await Reflect.apply(named, undefined, [environment])
    if (isFactory(made)) return made
    throw problem('that function does not give an infrastructure factory')
  }
  if (typeof named !== 'object' || named === null) throw problem(`that is not a factory: it is a ${typeof named}`)
  const classes = [...new Set(Object.values(named).filter(isFactoryClass))]
  const [factoryClass] = classes
  if (factoryClass !== undefined && classes.length === 1) return new factoryClass(environment)
  throw problem(`in it were found ${classes.length} classes of infrastructure factories, expected 1`)
}

// By shape, so that a factory from another copy of this package fits.
function isFactory(value: unknown): value is InfrastructureFactory {
  if (typeof value !== 'object' || value === null) return false
  return 'applicationRecorder' in value && 'aggregateRecorder' in value && 'close' in value
}

function isFactoryClass(value: unknown): value is InfrastructureFactoryClass {
  return typeof value === 'function' && isFactory(value.prototype)
}
