/** `@event` as a legacy decorator, as projects with `experimentalDecorators` compile it. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as LegacyDog from './fixtures/legacy-dog.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
// Inside the project, where the compiled modules find its dependencies.
const outDir = `${root}node_modules/.cache/legacy-decorators-${process.pid}`

function compile(): readonly string[] {
  const { config } = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path)) as {
    config: { compilerOptions: object }
  }
  const { options } = ts.convertCompilerOptionsFromJson(
    {
      ...config.compilerOptions,
      noEmit: false,
      incremental: false,
      tsBuildInfoFile: null,
      experimentalDecorators: true,
      outDir,
      rootDir: root,
    },
    root,
  )
  const program = ts.createProgram([`${root}test/domain/fixtures/legacy-dog.ts`], options)
  const { diagnostics } = program.emit()
  mkdirSync(outDir, { recursive: true })
  writeFileSync(`${outDir}/package.json`, '{ "type": "module" }')
  const all = [...ts.getPreEmitDiagnostics(program), ...diagnostics]
  return all.map(({ file, start, messageText }) => {
    const line =
      file === undefined ? '' : `${file.fileName}:${file.getLineAndCharacterOfPosition(start ?? 0).line + 1} `
    return `${line}${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
}

describe('@event under experimentalDecorators', () => {
  let problems: readonly string[]
  let legacy: typeof LegacyDog

  beforeAll(async () => {
    problems = compile()
    const url = pathToFileURL(`${outDir}/test/domain/fixtures/legacy-dog.js`).href
    legacy = (await import(/* @vite-ignore */ url)) as typeof LegacyDog
  })

  afterAll(() => rmSync(outDir, { recursive: true, force: true }))

  it('has the types that it has as a standard decorator', () => {
    expect(problems).toEqual([])
  })

  it('triggers and rebuilds', () => {
    const { Dog, rebuild } = legacy
    const dog = new Dog('Fido')
    expect(dog.addTrick('sit')).toBe('sit')
    dog.rename({ name: 'Rex' })
    expect(dog).toBeInstanceOf(Dog)
    expect(Dog.name).toBe('Dog')
    const events = dog.collectEvents()
    expect(events.map(({ topic, data }) => [topic, data])).toEqual([
      ['LegacyDog.Registered', { name: 'Fido' }],
      ['LegacyDog.TrickAdded', { trick: 'sit' }],
      ['LegacyDog.Renamed', { name: 'Rex' }],
    ])
    const copy = rebuild(Dog, events)
    expect([copy?.name, copy?.tricks, copy?.taught, copy?.version]).toEqual(['Fido', ['sit'], 1, 3])
  })

  it('[157] [159] refuses misuse when the class is defined', () => {
    expect(() => legacy.defineStatic()).toThrow('static member')
    expect(() => legacy.defineGetter()).toThrow('a field or a getter')
    expect(() => legacy.defineTwice()).toThrow("The event 'Made' of Odd is already defined")
  })
})
