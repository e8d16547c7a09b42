/** How the browser of events shows values: as JSON, in which what JSON does not have, and what is not to be seen, is marked. */
import { isErased } from '../domain/personal-data.js'

/** A value that is no JSON: `$` says what it is, `text` how it reads. */
export interface MarkedValue {
  readonly $: 'hidden' | 'erased' | 'other'
  readonly text: string
}

/** How placeholders of personal data are called: hidden by this page, or erased for everybody. */
export type Placeholder = 'hidden' | 'erased'

const deepest = 50
const longestText = 20_000
const longestList = 1_000

/** Shows a value of an event or a state. */
export function shownValue(value: unknown, placeholder: Placeholder, depth = 0): unknown {
  switch (typeof value) {
    case 'string':
      return value.length > longestText ? other(`${value.slice(0, longestText)}… (${value.length} characters)`) : value
    case 'number':
      return Number.isFinite(value) ? value : other(String(value))
    case 'boolean':
      return value
    case 'undefined':
      return null
    case 'object':
      if (value === null) return null
      return depth > deepest ? other('…') : shownObject(value, placeholder, depth)
    case 'bigint':
      return other(`${value}n`)
    case 'function':
    case 'symbol':
      return other(String(value))
  }
}

function shownObject(value: object, placeholder: Placeholder, depth: number): unknown {
  if (isErased(value)) return { $: placeholder, text: placeholder } satisfies MarkedValue
  if (value instanceof Uint8Array) return other(`${value.byteLength} bytes`)
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return shownValue(value.toJSON(), placeholder, depth + 1)
  }
  const items = value instanceof Map || value instanceof Set ? [...value] : value
  if (Array.isArray(items)) return shownList(items, placeholder, depth)
  const entries = Object.entries(items).filter(([, member]) => member !== undefined)
  const shown = entries.map(([name, member]) => [name, shownValue(member, placeholder, depth + 1)])
  // As an own member, whatever it is called.
  return Object.fromEntries(shown)
}

function shownList(items: readonly unknown[], placeholder: Placeholder, depth: number): unknown[] {
  const shown = items.slice(0, longestList).map((item) => shownValue(item, placeholder, depth + 1))
  return items.length > longestList ? [...shown, other(`… ${items.length - longestList} more`)] : shown
}

function other(text: string): MarkedValue {
  return { $: 'other', text }
}

/** JSON of an answer: positions may pass what a number can hold, so that they are texts. */
export function jsonOf(answer: unknown): string {
  return JSON.stringify(answer, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))
}
