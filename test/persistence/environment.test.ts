/** Variables of applications: prefixes, order and words. */
import { describe, expect, it } from 'vitest'
import { EnvironmentError } from '../../src/errors.js'
import { Environment, toBoolean } from '../../src/persistence/environment.js'

describe('an environment', () => {
  it('looks up the prefixed name first [90]', () => {
    const environment = new Environment('School', { SCHOOL_A: '1', A: '2', B: '3' })
    expect(environment.get('A')).toBe('1')
    expect(environment.get('B')).toBe('3')
    expect(environment.get('C')).toBeUndefined()
    expect(environment.names('A')).toEqual(['SCHOOL_A', 'A'])
  })

  it('looks up only the name itself for an application without a name [90]', () => {
    const environment = new Environment('', { _A: '1', A: '2' })
    expect(environment.get('A')).toBe('2')
    expect(environment.names('A')).toEqual(['A'])
  })

  it('lets an empty prefixed value hide the other [90]', () => {
    expect(new Environment('School', { SCHOOL_A: '', A: '2' }).get('A')).toBe('')
  })

  it('lets later sources count before earlier ones', () => {
    const environment = new Environment(
      '',
      { A: '1', B: '1', C: '1' },
      undefined,
      { B: '2', C: '2' },
      { A: undefined, C: '' },
    )
    expect(['A', 'B', 'C'].map((key) => environment.get(key))).toEqual(['1', '2', ''])
  })

  it('has no variables that nobody has set', () => {
    expect(new Environment('').get('constructor')).toBeUndefined()
    expect(new Environment('', { ['__proto__']: 'a' }).get('toString')).toBeUndefined()
  })

  it('reads yes and no, and quotes any other value with its variable [91]', () => {
    const environment = new Environment('School', { SCHOOL_A: 'Yes', B: 'off', C: '', D: 'maybe' })
    expect(['A', 'B', 'C', 'E'].map((key) => environment.getBoolean(key))).toEqual([true, false, undefined, undefined])
    expect(() => environment.getBoolean('D')).toThrow(EnvironmentError)
    expect(() => environment.getBoolean('D')).toThrow(/SCHOOL_D, D is 'maybe'/)
  })
})

describe('toBoolean', () => {
  it('knows six words for yes and six for no [91]', () => {
    for (const word of ['y', 'yes', 't', 'true', 'on', '1', 'TRUE', 'On']) expect(toBoolean(word)).toBe(true)
    for (const word of ['n', 'no', 'f', 'false', 'off', '0', 'FALSE', 'Off']) expect(toBoolean(word)).toBe(false)
  })

  it('refuses anything else [91]', () => {
    for (const word of ['', 'a', 'b', 'c', ' yes']) expect(() => toBoolean(word)).toThrow(EnvironmentError)
    // @ts-expect-error only texts are accepted
    for (const value of [true, 1, undefined, null]) expect(() => toBoolean(value)).toThrow(TypeError)
  })
})
