/** The description of the architecture names files: they are there. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const text = readFileSync(join(root, 'docs/architecture.md'), 'utf8')

it('names files that exist', () => {
  const named = [...text.matchAll(/`([\w./-]+\/[\w.-]+\.(?:ts|md|mjs))`/g)].map(([, path = '']) => path)
  expect(named.length).toBeGreaterThan(40)
  const places = ['', 'src', 'src/prisma']
  const missing = named.filter((path) => !places.some((place) => existsSync(join(root, place, path))))
  expect(missing).toEqual([])
})
