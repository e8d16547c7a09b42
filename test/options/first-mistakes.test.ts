/** What people write in their first hour is refused at once, by the message that docs/first-mistakes.md shows. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { knownVariables } from '../../src/persistence/environment.js'
import { firstMistakes } from './first-mistakes.js'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

it.each(firstMistakes)('refuses $code', async ({ run, message }) => {
  const refusal = await Promise.resolve()
    .then(run)
    .catch((error: unknown) => error)
  expect(refusal).toMatchObject({ isEventSourcingError: true, message })
})

it('shows every mistake with its message', () => {
  const rows = [...read('docs/first-mistakes.md').matchAll(/^\| `(.+?)` +\| (.+?) +\|$/gm)]
  expect(rows.map(([, code, message]) => ({ code, message }))).toEqual(
    firstMistakes.map(({ code, message }) => ({ code, message })),
  )
})

it('knows every variable that the README names', () => {
  const named = [...read('README.md').matchAll(/^\| (`[A-Z_]{6,}`.*?) *\|/gm)].flatMap(([, names = '']) =>
    [...names.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(10)
  expect(knownVariables).toEqual(expect.arrayContaining(named))
})
