/** Programs of tests that run in processes of their own: bundled, they start in a fraction of the time that compiling each module takes. */
import { mkdirSync, renameSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
// Inside of the checkout, where it finds the packages.
const folder = join(root, '.tmp/bundled')
const made = new Map<string, string>()
const options = {
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'es2022',
  // Names of classes are stored.
  keepNames: true,
} as const

/** @returns a file that Node runs, with everything but packages in it; made once in a process */
export function bundled(program: URL): string {
  const source = fileURLToPath(program)
  const known = made.get(source)
  if (known !== undefined) return known
  const file = join(folder, relative(root, source).replaceAll(/[\\/]/g, '-').replace(/\.ts$/, '.mjs'))
  mkdirSync(folder, { recursive: true })
  bundle(source, file)
  made.set(source, file)
  return file
}

/** Compiles several programs into a folder of the checkout, so that they have the modules in common which more than one of them imports. */
export function bundleTogether(outdir: string, ...programs: readonly URL[]): void {
  buildSync({ ...options, entryPoints: programs.map((program) => fileURLToPath(program)), outdir, splitting: true })
}

/** Compiles a program, and what it imports by a path, into one file. */
export function bundle(source: string, file: string): void {
  const making = `${file}-${process.pid}`
  buildSync({ ...options, entryPoints: [source], outfile: making })
  // Another process may make it at the same time, or start it; each puts a whole one there.
  renameSync(making, file)
}
