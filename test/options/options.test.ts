/** Options are checked where they are given; an application in memory has to say so. */
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { checkOptions, count, type OptionTypesOf, optionsOf, text } from '../../src/checked-options.js'
import { Application, type EnvironmentVariables } from '../../src/index.js'
import { bundled } from '../support/bundled.js'

interface Options {
  readonly name?: string
  readonly retries?: number
  readonly inner?: { readonly depth?: number }
}

const types: OptionTypesOf<Options> = {
  name: text,
  retries: count,
  inner: optionsOf<NonNullable<Options['inner']>>({ depth: count }),
}

describe('checkOptions', () => {
  const check = (options: unknown) => (): void => checkOptions('try', options, types)

  it('takes what there is, and undefined for what was not given', () => {
    class Given {
      readonly name = 'a'
      readonly retries = undefined
    }
    for (const options of [{}, { retries: Number.POSITIVE_INFINITY }, { inner: { depth: 1 } }, new Given()])
      expect(check(options)).not.toThrow()
  })

  it('names the nearest option, or all', () => {
    expect(check({ retrys: 1 })).toThrow('Could not try: there is no option `retrys`; did you mean `retries`?')
    expect(check({ Name: '' })).toThrow('did you mean `name`?')
    expect(check({ inner: { dept: 1 } })).toThrow('there is no option `inner.dept`; did you mean `inner.depth`?')
    expect(check({ colour: 1 })).toThrow('there is no option `colour`; it has name, retries and inner.')
    expect(check({ toString: 1 })).toThrow('there is no option `toString`')
  })

  it('refuses what is of another type, and shows no long text', () => {
    expect(check({ retries: -1 })).toThrow('the option `retries` is the number -1; give a whole number from 0.')
    expect(check({ retries: 'postgresql://dogs:secret@localhost' })).toThrow('`retries` is a text; give')
    expect(check({ inner: null })).toThrow('the option `inner` is null; give an object of depth.')
    expect(check('name')).toThrow("Could not try: the text 'name' was given as its options; give an object.")
  })
})

describe('an application without a store', () => {
  const index = pathToFileURL(bundled(new URL('../../src/index.ts', import.meta.url)))

  /** Standard error of a process that no test runner has started. */
  function warningsOf(options: string, variables: EnvironmentVariables = {}): string {
    const { VITEST: _vitest, NODE_ENV: _environment, ...env } = process.env
    const code = `import { Application } from ${JSON.stringify(index)}; new Application(${options})`
    const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
      env: { ...env, ...variables },
      encoding: 'utf8',
    })
    return stderr
  }

  it('warns that events are in memory, unless it says so', () => {
    const warning = warningsOf("{ name: 'Dogs' }")
    expect(warning).toContain('[ES_IN_MEMORY] Warning: The application Dogs keeps its events in memory')
    expect(warning).toContain("`store: 'memory'`")
    expect(warningsOf("{ store: 'memory' }")).toBe('')
    expect(warningsOf('{}', { PERSISTENCE_MODULE: 'eventsourcing-prisma' })).toBe('')
  }, 120_000)

  it('keeps its events in memory whatever variables say, when it says so', async () => {
    const env = { PERSISTENCE_MODULE: './there-is-no-such-module.js' }
    const application = new Application({ store: 'memory', env })
    await expect(application.recorder.maxNotificationId()).resolves.toBeNull()
  })
})
