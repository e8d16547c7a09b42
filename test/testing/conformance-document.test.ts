/** docs/conformance.md tells which behaviours are held and where, leaves none out, and its samples work. */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import * as testing from '../../src/testing/index.js'
import { collectCases, numbersOf } from './collected-cases.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const samples = fileURLToPath(new URL('./samples/', import.meta.url))
const document = readFileSync(join(root, 'docs/conformance.md'), 'utf8')
const run = promisify(execFile)

const contracts: Array<[string, unknown]> = Object.entries(testing).filter(([name]) => name.endsWith('Contract'))

/** What the document says of the contracts, by their names. */
const documented = new Map(
  [...document.matchAll(/^\| `(\w+Contract)`\s*\|[^|]*\|([^|]*)\|\s*(\d+)\s*\|$/gm)].map(([, name, numbers, cases]) => [
    name,
    { numbers: listOf(numbers), cases: Number(cases) },
  ]),
)

/** Numbers, and ranges of numbers, in a text. */
function listOf(text = ''): number[] {
  return [...text.matchAll(/(\d+)(?:–(\d+))?/g)].flatMap(([, first, last = first]) =>
    Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index),
  )
}

/** The numbers that the document says something different of. */
function reasonsTold(): number[] {
  return [...document.matchAll(/^- \*\*([\d, –]+)\*\*: \S/gm)].flatMap(([, numbers]) => listOf(numbers))
}

function casesOf(contract: unknown): string[] {
  if (typeof contract !== 'function') throw new TypeError('A contract is a function')
  const cases = collectCases((framework) => contract(framework, '', () => Promise.reject(new Error('not to be run'))))
  return cases.map(({ name }) => name)
}

/** The numbers in the names of all tests. */
function numbersInTests(): number[] {
  const files = ['test', 'src/testing'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/generated|node_modules/.test(file))
      .map((file) => join(root, folder, file)),
  )
  const names = files.flatMap(
    (file) => readFileSync(file, 'utf8').match(/['`][^'`\n]*\[\d[\d, ]*\][^'`\n]*['`]/g) ?? [],
  )
  return names.flatMap((name) => [...name.matchAll(/\[\d[\d, ]*\]/g)].flatMap(([list]) => numbersOf(list)))
}

/** The rows of the table of single behaviours: the number, and the files or words in the last column. */
const [, singly = ''] =
  /\n## Codecs, aggregates, applications, systems and projections, one by one\n([\s\S]*?)\n## /.exec(document) ?? []
const rows = [...singly.matchAll(/^\| (\d+) +\|[^|]*\| ([^|]*?) *\|$/gm)].map(([, number, place = '']) => ({
  number: Number(number),
  place,
  files: [...place.matchAll(/`([^`]+)`/g)].map(([, file]) => join(root, 'test', file ?? '')),
}))

/** The numbers in the names of the tests of a file: in texts that are the first argument of a call. */
function numbersInNames(file: string): Set<number> {
  const names = readFileSync(file, 'utf8').matchAll(/\((['`])((?:(?!\1)[^\n])*)\1/g)
  return new Set(
    [...names].flatMap(([, , name = '']) => [...name.matchAll(/\[\d[\d, ]*\]/g)].flatMap(([list]) => numbersOf(list))),
  )
}

describe('the document of the contracts', () => {
  it('tells of each contract which behaviours it has cases of, and how many cases', () => {
    const declared = contracts.map(([name, contract]) => {
      const cases = casesOf(contract)
      const numbers = [...new Set(cases.flatMap(numbersOf))].toSorted((one, other) => one - other)
      return [name, { numbers, cases: cases.length }] as const
    })
    expect(declared.length).toBeGreaterThan(7)
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(declared))
  })

  it('tells of each behaviour without a test why it has none', () => {
    const reasons = reasonsTold()
    const told = new Set([...numbersInTests(), ...reasons])
    const behaviours = listOf('1–234, 251–264')
    expect(behaviours.filter((number) => !told.has(number))).toEqual([])
    const inCases = new Set(contracts.flatMap(([, contract]) => casesOf(contract).flatMap(numbersOf)))
    expect(reasons.filter((number) => inCases.has(number))).toEqual([])
  })

  it('tells of each behaviour of codecs, aggregates, applications, systems and projections in which files it is held', () => {
    expect(rows.map(({ number }) => number)).toEqual(listOf('103–198, 206–234'))
    const files = rows.flatMap((row) => row.files.map((file) => ({ number: row.number, file })))
    expect(files.filter(({ file }) => !existsSync(file))).toEqual([])
    expect(files.filter(({ number, file }) => !numbersInNames(file).has(number))).toEqual([])
  })

  it('tells what is different of each behaviour that is held in no file', () => {
    const unheld = rows.filter(({ files }) => files.length === 0)
    expect(unheld.filter(({ place }) => place !== 'different here')).toEqual([])
    const reasons = new Set(reasonsTold())
    expect(unheld.filter(({ number }) => !reasons.has(number))).toEqual([])
    const pointing = [...singly.matchAll(/^\| (\d+) +\|[^|]*: see below +\|/gm)].map(([, number]) => Number(number))
    expect(pointing.length).toBeGreaterThan(5)
    expect(pointing.filter((number) => !reasons.has(number))).toEqual([])
  })

  it('shows samples that are files here', () => {
    const blocks = [...document.matchAll(/```ts\n\/\/ file: (\S+)\n\n?([\s\S]*?)```/g)]
    expect(blocks.map(([, name]) => name)).toEqual(['my-recorders.test.ts', 'my-recorders.node.ts'])
    for (const [, name = '', code] of blocks) expect(code).toBe(readFileSync(join(samples, name), 'utf8'))
  })

  it('shows a sample that runs by the test runner of Node', async () => {
    const file = join(samples, 'my-recorders.node.ts')
    const args = ['--import', 'tsx', '--test', '--test-reporter', 'tap', file]
    // A test runner that is started by another one must not take itself for a part of it.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env
    const { stdout } = await run(process.execPath, args, { cwd: root, env })
    expect(stdout).toMatch(/^# fail 0$/m)
    for (const name of casesOf(testing.trackingRecorderContract)) expect(stdout).toContain(name.replace(/'/g, "\\'"))
  })
})
