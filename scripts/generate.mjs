/** Generates the Prisma clients of tests, benches and examples, or of `examples` alone, where they are missing or older than their schema. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** The folder of each schema, and a file that generating it makes. */
const schemas = [
  ...['postgresql', 'sqlite', 'mysql', 'previews'].map((provider) => ({
    schema: `test/support/prisma/${provider}`,
    generated: `test/support/generated/${provider}/client.ts`,
  })),
  { schema: 'bench/prisma', generated: 'bench/generated/client.ts' },
  { schema: 'examples/prisma/schema', generated: 'examples/generated/client.ts' },
  ...['sqlite', 'postgresql'].map((provider) => ({
    schema: `examples/realworld/prisma/${provider}`,
    generated: `examples/realworld/generated/${provider}/client.ts`,
  })),
]

function lastChange(folder) {
  return Math.max(...readdirSync(folder).map((file) => statSync(join(folder, file)).mtimeMs))
}

const [only = ''] = process.argv.slice(2)
for (const { schema, generated } of schemas) {
  if (!schema.startsWith(only)) continue
  const target = join(root, generated)
  if (existsSync(target) && statSync(target).mtimeMs > lastChange(join(root, schema))) continue
  const prisma = join(root, 'node_modules/prisma/build/index.js')
  // Generating needs no schema engine, which Prisma would download first: it only looks whether this file is there.
  const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, PRISMA_HIDE_UPDATE_MESSAGE: '1' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [prisma, 'generate', '--schema', join(root, schema)], {
    cwd: root,
    env,
    encoding: 'utf8',
  })
  if (status !== 0) {
    console.error(`${stdout}${stderr}`)
    throw new Error(`prisma generate failed for ${schema}`)
  }
  console.log(`generated ${dirname(generated)}`)
}
