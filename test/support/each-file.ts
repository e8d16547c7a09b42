/** Runs before each test file: it gets modules of its own, though the packages that it imports are shared in a process. */
import { vi } from 'vitest'

vi.resetModules()

// The library's warnings are what many tests bring about on purpose; those that are about one listen to it.
process.removeAllListeners('warning')
process.on('warning', (warning) => {
  if (!('code' in warning && String(warning.code).startsWith('ES_'))) console.warn(warning.stack)
})
