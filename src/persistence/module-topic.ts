/** Topics of modules: `./db.js#datastore` names what a module exports, for variables that name code. */
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EnvironmentError, TopicError } from '../errors.js'
import type { Environment } from './environment.js'

/** What a module exports, by name. */
export type ModuleExports = Readonly<Record<string, unknown>>

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
    throw new EnvironmentError(`The variable ${environment.names(key).join(', ')} cannot be used. ${reason}`, {
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
