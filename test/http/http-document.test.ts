/** docs/http.md and docs/middleware.md: every test that they refer to exists, and every row has one. */
import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const document = new URL('../../docs/http.md', import.meta.url)
const text = readFileSync(document, 'utf8')
const middlewares = readFileSync(new URL('../../docs/middleware.md', import.meta.url), 'utf8')
const links = [...`${text}${middlewares}`.matchAll(/\[([^\]]+)\]\((\.\.\/test\/[^)]+\.test\.ts)\)/g)].map(
  ([, name = '', file = '']) => ({
    name,
    file,
  }),
)
/** Links that are a part of a sentence. */
const unnamed = new Set(['before and after ours'])

/** The text of a test file and of the modules of tests that it imports, which may describe its tests. */
function textOf(file: URL): string {
  const code = readFileSync(file, 'utf8')
  const modules = [...code.matchAll(/from '(\.\.?\/[^']+)\.js'/g)].map(([, path = '']) => new URL(`${path}.ts`, file))
  return [code, ...modules.filter((url) => existsSync(url)).map((url) => readFileSync(url, 'utf8'))].join('\n')
}

it('refers to tests that exist, by their names', () => {
  const missing = links.filter(({ name, file }) => {
    const url = new URL(file, document)
    return !existsSync(url) || !(unnamed.has(name) || textOf(url).includes(name))
  })
  expect(missing).toEqual([])
  expect(links.length).toBeGreaterThan(40)
})

it('shows each row of the table by a test', () => {
  const [table = ''] = text.split('\n## ')
  const rows = table.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| case'))
  const promises = rows.filter((row) => !/^\| -+/.test(row))
  expect(promises.length).toBeGreaterThanOrEqual(15)
  expect(promises.filter((row) => !row.includes('.test.ts)'))).toEqual([])
  const packages = middlewares.split('\n').filter((line) => /^\| (?!-|package)/.test(line))
  expect(packages.length).toBeGreaterThanOrEqual(18)
  expect(packages.filter((row) => !row.includes('.test.ts)'))).toEqual([])
})
