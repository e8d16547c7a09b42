/** Names of applications that come to the wrong tables: those of another one, or none that stay. */
import { ProgrammingError } from '../errors.js'

/** What applications there are, by the first part of their tables' names. */
const known = new WeakMap<object, Map<string, Known>>()

interface Known {
  readonly name: string
  readonly applicationClass: object
  isTold: boolean
}

/**
 * Warns where another application of this process has the same tables: each would read the events of the other. Of one class
 * there may be as many as one likes.
 *
 * @param datastore - that both are on
 */
export function warnOfNamesake(datastore: object, name: string, applicationClass: object): void {
  const ofDatastore = known.get(datastore) ?? new Map<string, Known>()
  known.set(datastore, ofDatastore)
  const key = name.toLowerCase()
  const first = ofDatastore.get(key)
  if (first === undefined) {
    ofDatastore.set(key, { name, applicationClass, isTold: false })
    return
  }
  if (first.isTold || (first.name === name && isOne(first.applicationClass, applicationClass))) return
  first.isTold = true
  const called = first.name === name ? `called ${name}` : `${first.name} and ${name}`
  process.emitWarning(
    `The applications ${name === '' ? 'without a name' : called} have the same tables, so each reads the events of the other. Give one of them another name, by the ` +
      'option `name` or a `static name` of its class, and tables of its own.',
    { code: 'ES_SAME_NAME' },
  )
}

/** A system makes a leader of a class by extending it. */
function isOne(one: object, other: object): boolean {
  return (
    one === other || Object.prototype.isPrototypeOf.call(one, other) || Object.prototype.isPrototypeOf.call(other, one)
  )
}

/** @throws `ProgrammingError` for a name that a bundler has made, whose tables would be others after the next change of the code */
export function assertKeptName(applicationClass: { readonly name: string }, options: { readonly name?: string }): void {
  const { value, writable } = Object.getOwnPropertyDescriptor(applicationClass, 'name') ?? {}
  // The name that a class has by itself cannot be written; a static member can, or has a getter.
  if (options.name !== undefined || writable !== false || String(value).length > 2) return
  throw new ProgrammingError(
    `Could not set up the application ${String(value)}: a bundler seems to have shortened the name of its class, and its tables are named after ` +
      "it. Give the class a name that stays: `static override readonly name = 'TrainingSchool'`, or the option `name`.",
  )
}
