/** Which line of a stack is told to the user. */
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { foreignSite } from '../../src/transaction/escapes.js'

const ours = fileURLToPath(new URL('../../src/prisma/adapter.ts', import.meta.url))
const inside = [
  'Error: here',
  `    at Adapter.write (${ours}:1:2)`,
  '    at run (/app/node_modules/@prisma/client/runtime.js:1:2)',
]

describe('the place of a call', () => {
  it.each([
    ['a named function', '    at async register (/app/dogs.ts:1:2)'],
    ['a function without a name', '    at async /app/dogs.js:1:2'],
    ['a function without a name, with source maps', '    at async <anonymous> (/app/dogs.ts:1:2)'],
  ])('is %s of the user', (_name, frame) => {
    expect(foreignSite([...inside, frame, '    at async other (/app/other.ts:3:4)'].join('\n'))).toBe(frame.trim())
  })

  it('is no built-in function, which has no place', () => {
    const builtIn = [
      '    at async Promise.all (index 0)',
      '    at Array.map (<anonymous>)',
      '    at new Promise (<anonymous>)',
    ]
    const user = '    at async adopt (/app/dogs.ts:1:2)'
    expect(foreignSite([...inside, ...builtIn, user].join('\n'))).toBe(user.trim())
    expect(foreignSite([...inside, ...builtIn].join('\n'))).toBeUndefined()
  })
})
