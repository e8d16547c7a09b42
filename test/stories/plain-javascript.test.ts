/** The story in plain JavaScript runs as it is: its file is given to Node, beside the installed package, without a build step. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

const program = `
import { Application } from 'eventsourcing-prisma'
import { ShoppingCart } from './plain.js'

const application = new Application()
const cart = new ShoppingCart()
cart.addItem('bone', 2)
await application.save(cart)
const read = await application.repository.get(ShoppingCart, cart.id)
let refusal
try {
  read.removeItem('ball')
} catch (error) {
  refusal = error.message
}
console.log(JSON.stringify({ refusal, version: read.version, items: [...read.items], pending: read.pendingEvents.length }))
`

let project: string

/** A project of plain JavaScript with this package in it. */
beforeAll(async () => {
  mkdirSync(join(root, '.tmp'), { recursive: true })
  project = mkdtempSync(join(root, '.tmp/plain-'))
  const installed = join(project, 'node_modules/eventsourcing-prisma')
  await build({
    entryPoints: [join(root, 'src/index.ts')],
    outfile: join(installed, 'index.js'),
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'es2022',
  })
  const packageOf = (more: object): string => JSON.stringify({ type: 'module', ...more })
  writeFileSync(join(installed, 'package.json'), packageOf({ name: 'eventsourcing-prisma', exports: './index.js' }))
  writeFileSync(join(project, 'package.json'), packageOf({ private: true }))
  writeFileSync(join(project, 'program.js'), program)
  copyFileSync(join(root, 'examples/stories/shopping-cart/plain.js'), join(project, 'plain.js'))
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

it('is run by Node', async () => {
  const { NODE_OPTIONS: _, ...env } = process.env
  const { stdout } = await run(process.execPath, ['program.js'], { cwd: project, env })
  expect(JSON.parse(stdout)).toEqual({
    refusal: 'There is no ball in the cart',
    version: 2,
    items: [['bone', 2]],
    pending: 0,
  })
})
