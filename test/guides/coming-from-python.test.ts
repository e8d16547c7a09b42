/** What the page for users of the Python library names is there, and it names all variables. */
import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { knownVariables } from '../../src/persistence/environment.js'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'

const document = readDocument('docs/coming-from-python.md')
const root = new URL('../../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** The second cells of all rows. */
const cells = [...document.matchAll(/^\|(?! Python)[^|]*\|([^|]*)\|$/gm)].map(([, cell = '']) => cell)
/** What is between backticks there, as single words. */
const words = new Set(
  cells.flatMap((cell) =>
    [...cell.matchAll(/`([^`]+)`/g)].flatMap(([, code = '']) => code.match(/[A-Za-z_]\w+/g) ?? []),
  ),
)
const entries = [
  'src/index.ts',
  'src/recorders.ts',
  'src/testing/index.ts',
  'adapters/fastify.ts',
  'adapters/express.ts',
]
  .map(read)
  .join('\n')
const sources = ['src', 'adapters']
  .flatMap((folder) =>
    readdirSync(new URL(folder, root), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(`${folder}/${name}`)),
  )
  .join('\n')
const isIn = (text: string, word: string): boolean => new RegExp(`\\b${word}\\b`).test(text)

describe('the page for users of Python', () => {
  let project: DocumentProject
  beforeAll(() => {
    project = new DocumentProject({ name: 'python', blocks: blocksOf(document), install: installCompiled })
  }, 240_000)
  afterAll(() => project.remove())

  it('names what is exported, and members that there are', () => {
    const variables = [...words].filter((word) => /^[A-Z][A-Z\d]*(_[A-Z\d]+)+$/.test(word))
    const classes = [...words].filter((word) => /^[A-Z]\w*[a-z]/.test(word) && word !== 'Dog' && word !== 'TrickAdded')
    expect(classes.length).toBeGreaterThan(60)
    expect(classes.filter((word) => !isIn(entries, word))).toEqual([])
    const prefixed = /^[A-Z]+_(?=CIPHER_KEY$)/
    const known = [...knownVariables, 'TAG_KEY']
    expect(variables.filter((name) => !known.includes(name.replace(prefixed, '')))).toEqual([])
    const others = [...words].filter((word) => /^[a-z]/.test(word) && !classes.includes(word))
    const spoken = [
      'dog',
      'db',
      'js',
      'npx',
      'zlib',
      'table',
      'lock',
      'tx',
      'run',
      'await',
      'using',
      'static',
      'module',
      'testing',
    ]
    expect(others.filter((word) => !spoken.includes(word) && !isIn(sources, word))).toEqual([])
  })

  it('names every variable', () => {
    const [, variables = ''] = document.split('## Variables')
    expect(knownVariables.filter((name) => !isIn(variables, name))).toEqual([])
  })

  it('runs what it shows', () => {
    project.runBlock('dogs.ts')
  }, 60_000)
})
