/** Tables of properties are a matter of speed: nobody can tell an object that has one. */
import { describe, expect, it } from 'vitest'
import { keepInTable } from '../../adapters/express-exchange.js'

describe('keepInTable', () => {
  it('leaves keys, their order, values and attributes as they are', () => {
    const symbol = Symbol('own')
    const prototype = { inherited: 1 }
    const object = Object.assign(Object.create(prototype) as object, { b: 1, a: undefined, [symbol]: 3, 7: 'seven' })
    Object.defineProperty(object, 'hidden', { value: 4, writable: false, enumerable: false, configurable: false })
    const keys = Reflect.ownKeys(object)
    const descriptors = Object.getOwnPropertyDescriptors(object)
    keepInTable(object)
    expect(Reflect.ownKeys(object)).toEqual(keys)
    expect(Object.getOwnPropertyDescriptors(object)).toEqual(descriptors)
    expect(Object.getPrototypeOf(object)).toBe(prototype)
  })

  it('leaves an object alone that cannot be changed', () => {
    const frozen = Object.freeze({ a: 1 })
    keepInTable(frozen)
    expect(Reflect.ownKeys(frozen)).toEqual(['a'])
  })
})
