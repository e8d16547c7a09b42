/** How escapes are told: in tests, in production, and not at all. */
import { afterEach, describe, expect, it, vi } from 'vitest'
import { EscapeError } from '../../src/errors.js'
import { defaultOnEscape, Escapes } from '../../src/transaction/escapes.js'
import { warningsOf } from '../prisma/warnings.js'

describe('escapes', () => {
  it('are refused, or passed over', () => {
    expect(() => new Escapes('throw').report('a call')).toThrow(EscapeError)
    expect(() => new Escapes('off').report('a call')).not.toThrow()
  })

  it('are warned about once a minute each, and then with how many were not shown', async () => {
    let now = 0
    const escapes = new Escapes('warn', () => now)
    const warnings = await warningsOf('ES_ESCAPE', async () => {
      for (const message of ['a', 'b', 'a', 'a', 'b']) escapes.report(message)
      now = 59_999
      escapes.report('b')
      now = 60_000
      escapes.report('b')
      escapes.report('b')
    })
    expect(warnings).toEqual(['a', 'b', 'b (4 more warnings of this kind were not shown.)'])
  })

  it('do not flood the logs with messages that are all different', async () => {
    const escapes = new Escapes('warn')
    const warnings = await warningsOf('ES_ESCAPE', async () => {
      for (let n = 0; n < 1_000; n += 1) escapes.report(`message ${n}`)
    })
    expect(warnings).toHaveLength(20)
  })
})

describe('without an option they are', () => {
  afterEach(() => vi.unstubAllEnvs())

  const none = { VITEST: undefined, JEST_WORKER_ID: undefined, NODE_TEST_CONTEXT: undefined, NODE_ENV: 'production' }

  it.each([{ VITEST: 'true' }, { JEST_WORKER_ID: '1' }, { NODE_TEST_CONTEXT: 'child-v8' }, { NODE_ENV: 'test' }])(
    'refused under %o',
    (variables) => {
      for (const [name, value] of Object.entries({ ...none, ...variables })) vi.stubEnv(name, value)
      expect(defaultOnEscape()).toBe('throw')
    },
  )

  it('warned about elsewhere', () => {
    for (const [name, value] of Object.entries(none)) vi.stubEnv(name, value)
    expect(defaultOnEscape()).toBe('warn')
  })
})
