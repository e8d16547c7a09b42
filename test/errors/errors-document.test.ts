/** docs/errors.md lists just the errors that there are, with their codes and bases. */
import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import * as errors from '../../src/errors.js'
import * as requestErrors from '../../src/errors.js'
import { errorTableRows } from './error-table.js'

const document = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const documented = [...document.matchAll(/^\| `(ES_\w+)`\s+\| `(\w+)`\s+\| `(\w+)`\s+\|/gm)].map(
  ([, code, name, base]) => ({
    code,
    name,
    base,
  }),
)

type ErrorClass = new (message: string, details: errors.ConcurrencyDetails) => errors.EventSourcingError

const exported: Array<[string, unknown]> = Object.entries({ ...errors, ...requestErrors })
const existing = exported
  .filter((entry): entry is [string, ErrorClass] => entry[0].endsWith('Error') && entry[0] !== 'isEventSourcingError')
  .map(([name, ErrorClass]) => ({
    code: new ErrorClass('message', { originatorId: 'a', expectedVersion: 1 }).code,
    name,
    base: String(Reflect.get(Object.getPrototypeOf(ErrorClass), 'name')),
  }))

const byName = (a: { readonly name: string | undefined }, b: { readonly name: string | undefined }): number =>
  String(a.name).localeCompare(String(b.name))

it('lists every error with its code and its base, and no other', () => {
  expect(existing.length).toBeGreaterThan(20)
  expect(documented.toSorted(byName)).toEqual(existing.toSorted(byName))
})

it('gives every error a code of its own', () => {
  expect(new Set(existing.map(({ code }) => code)).size).toBe(existing.length)
})

it('lists every process warning, and no other', () => {
  const root = new URL('../../', import.meta.url)
  const sources = ['src', 'adapters'].flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(new URL(`${folder}/${name}`, root), 'utf8')),
  )
  // The codes of errors are members of their classes, which are declared by `=`.
  const emitted = new Set(
    sources.flatMap((source) => [...source.matchAll(/\bcode: '(ES_\w+)'/g)].map(([, code]) => code)),
  )
  const warnings = [...document.matchAll(/^\| `(ES_\w+)`\s+\|[^|\n]*\|$/gm)].map(([, code]) => code)
  expect(emitted.size).toBeGreaterThan(10)
  expect(new Set(warnings)).toEqual(emitted)
  expect(new Set(warnings).size).toBe(warnings.length)
})

it('keeps the cause, and is recognised by shape', () => {
  const cause = new Error('below')
  const error = new errors.OperationalError('above', { cause, retryable: true })
  expect(error.cause).toBe(cause)
  expect(error.name).toBe('OperationalError')
  expect(errors.isEventSourcingError(error)).toBe(true)
  expect(errors.isEventSourcingError(cause)).toBe(false)
  expect(errors.isEventSourcingError(null)).toBe(false)
})

it('lists what the codes of the databases become', () => {
  const [, section = ''] = document.split('## Codes of the databases')
  const rows = [...(section.split('\n## ')[0] ?? '').matchAll(/^\|(.*)\|$/gm)].map(([, row = '']) =>
    row.split('|').map((cell) => cell.trim()),
  )
  expect(rows.slice(2)).toEqual(errorTableRows())
})
