/** Applications whose names come to the same tables. */

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
  if (first.isTold || (first.name === name && first.applicationClass === applicationClass)) return
  first.isTold = true
  const called = first.name === name ? `called ${name}` : `${first.name} and ${name}`
  process.emitWarning(
    `The applications ${name === '' ? 'without a name' : called} have the same tables, so each reads the events of the other. Give one of them another name, by the ` +
      'option `name` or a `static name` of its class, and tables of its own.',
    { code: 'ES_SAME_NAME' },
  )
}
