/** Functions that do their work when they are called: the bodies of events and what deciders are made of. */

const kinds: Readonly<Record<string, string>> = {
  AsyncFunction: 'asynchronous',
  GeneratorFunction: 'a generator',
  AsyncGeneratorFunction: 'an asynchronous generator',
}

/**
 * Checks a function when it is declared. One that was compiled to an older form is found when it gives a promise.
 *
 * @throws `TypeError` for what is no function, and for one that does its work later
 */
export function assertPlainFunction(value: unknown, label: string): asserts value is (...args: unknown[]) => unknown {
  if (typeof value !== 'function') throw new TypeError(`${label} must be a function`)
  const kind = kinds[Object.prototype.toString.call(value).slice('[object '.length, -1)]
  if (kind !== undefined)
    throw new TypeError(`${label} is ${kind}: look things up before, and decide and change at once`)
}
