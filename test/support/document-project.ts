/** A user's project made of the code of a document: every block that names a file becomes that file. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from './bundled.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** What a user's project has, as strict as it can be. */
const compilerOptions = {
  target: 'ES2022',
  lib: ['ES2023', 'ESNext.Disposable'],
  module: 'NodeNext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: true,
}

/** A document of the repository, by its path. */
export function readDocument(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** The blocks of a document that begin with `// file: name`, in TypeScript or as a Prisma schema. */
export function blocksOf(document: string): Map<string, string> {
  const blocks = document.matchAll(/```(?:ts|prisma)\n\/\/ file: (\S+)\n([\s\S]*?)```/g)
  return new Map([...blocks].map(([, name = '', code = '']) => [name, code]))
}

/** Puts the package where npm would put it. */
export type Install = (project: string) => void

/** From what is compiled, once in a run of the tests. */
export function installCompiled(project: string): void {
  cpSync(compiledPackage(), join(project, 'node_modules/eventsourcing-prisma'), { recursive: true })
}

/** From the tarball of what is compiled. */
export function installPackedOnce(project: string): void {
  unpack(packedPackage(), project)
}

/** @returns the tarball of what is compiled, without its documents, made once in a run of the tests */
export function packedPackage(): string {
  const folder = compiledPackage()
  const tarball = `${folder}.tgz`
  // Another file may make it at the same time; each puts a whole one there.
  if (!existsSync(tarball)) renameSync(pack(folder, mkdtempSync(`${folder}-packing-`), '--ignore-scripts'), tarball)
  return tarball
}

/** @returns the tarball that npm makes of a package */
function pack(cwd: string, destination: string, ...options: readonly string[]): string {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm'
  const args = ['pack', '--json', ...options, '--pack-destination', destination]
  const { stdout, stderr } = spawnSync(npm, args, { cwd, encoding: 'utf8' })
  const tarball = /"filename": "([^"]+\.tgz)"/.exec(stdout)?.[1]
  if (tarball === undefined) throw new Error(`npm pack failed:\n${stdout}${stderr}`)
  return join(destination, tarball)
}

function unpack(tarball: string, project: string): void {
  const folder = join(project, 'node_modules/eventsourcing-prisma')
  mkdirSync(folder, { recursive: true })
  const { status, stderr } = spawnSync('tar', ['-xzf', tarball, '-C', folder, '--strip-components=1'])
  if (status !== 0) throw new Error(`tar failed: ${String(stderr)}`)
}

/** @returns the folder of the package as `tsc` makes it, without its documents */
function compiledPackage(): string {
  const run = process.env.TEST_RUN_FOLDER
  if (run === undefined) throw new Error('Only a run of the tests has a compiled package.')
  const folder = join(run, 'package')
  if (existsSync(folder)) return folder
  const made = mkdtempSync(join(run, 'making-'))
  cpSync(join(root, 'package.json'), join(made, 'package.json'))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  for (const config of ['tsconfig.build.json', 'tsconfig.javascript.json']) {
    runNode([tsc, '-p', config, '--outDir', join(made, 'dist')], { cwd: root, env: process.env })
  }
  try {
    renameSync(made, folder)
  } catch (error) {
    // Another file has compiled it meanwhile.
    if (!existsSync(folder)) throw error
  }
  return folder
}

/** How a project is made. */
export interface DocumentProjectOptions {
  readonly name: string
  readonly blocks: ReadonlyMap<string, string>
  readonly install: Install
  /** Overrides what the compiler is told. */
  readonly compilerOptions?: object
  /** Variables of its processes. */
  readonly env?: NodeJS.ProcessEnv
  /** The workspace whose packages it finds, by its path in the checkout; default: the checkout itself. */
  readonly workspace?: string
}

/** A folder inside of the checkout, so that its packages are found. */
export class DocumentProject {
  readonly folder: string
  readonly blocks: ReadonlyMap<string, string>
  readonly env: NodeJS.ProcessEnv

  constructor({ name, blocks, install, env, workspace = '', ...options }: DocumentProjectOptions) {
    mkdirSync(join(root, workspace, '.tmp'), { recursive: true })
    this.folder = mkdtempSync(join(root, workspace, `.tmp/${name}-`))
    this.blocks = blocks
    // `prisma generate` asks for an engine that it does not use: any file will do.
    this.env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: process.execPath, ...env }
    for (const [file, code] of blocks) this.write(file, code)
    this.write('package.json', JSON.stringify({ name, private: true, type: 'module' }))
    const tsconfig = { compilerOptions: { ...compilerOptions, ...options.compilerOptions }, include: ['*.ts'] }
    this.write('tsconfig.json', JSON.stringify(tsconfig))
    install(this.folder)
  }

  write(file: string, content: string): void {
    const path = join(this.folder, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  }

  /** Runs Node. @returns what it prints */
  run(args: readonly string[], env: NodeJS.ProcessEnv = {}): string {
    return runNode(args, { cwd: this.folder, env: { ...this.env, ...env } })
  }

  /** Runs a file of TypeScript. @returns what it prints */
  runFile(name: string, env?: NodeJS.ProcessEnv): string {
    return this.run([this.#compiled(name)], env)
  }

  /** Runs a block. @returns what it prints */
  runBlock(name: string, env?: NodeJS.ProcessEnv): string {
    if (!this.blocks.has(name)) throw new Error(`The document has no block for ${name}.`)
    return this.runFile(name, env)
  }

  /** Starts a block that goes on. */
  startBlock(name: string, env: NodeJS.ProcessEnv): ChildProcess {
    const options = { cwd: this.folder, env: { ...this.env, ...env }, stdio: 'inherit' } as const
    return spawn(process.execPath, [this.#compiled(name)], options)
  }

  /** Beside its source, as tsx would compile it while it runs, which takes longer. */
  #compiled(name: string): string {
    const file = join(this.folder, name.replace(/\.ts$/, '.mjs'))
    bundle(join(this.folder, name), file)
    return file
  }

  /** Makes the Prisma client. */
  generateClient(schema: string): void {
    this.run([join(root, 'node_modules/prisma/build/index.js'), 'generate', '--schema', join(this.folder, schema)])
  }

  /** Compiles all blocks. */
  checkTypes(): void {
    this.run([join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'])
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

function runNode(args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { ...options, encoding: 'utf8' })
  if (status !== 0) throw new Error(`node ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}
