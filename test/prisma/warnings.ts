/** The process warnings that come while something runs. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Runs work, and gives the messages of the warnings with a code that came meanwhile. */
export async function warningsOf(code: string, work: () => Promise<unknown>): Promise<string[]> {
  const messages: string[] = []
  const onWarning = (warning: Error & { readonly code?: string }): void => {
    if (warning.code === code) messages.push(warning.message)
  }
  process.on('warning', onWarning)
  try {
    await work()
    // Node emits a warning in a later tick.
    await nextTurn()
  } finally {
    process.off('warning', onWarning)
  }
  return messages
}

/** Collects the messages of the warnings with a code, until it is stopped. */
export function warnings(code: string): { readonly seen: string[]; readonly stop: () => void } {
  const seen: string[] = []
  const onWarning = (warning: Error & { readonly code?: string }): void => {
    if (warning.code === code) seen.push(warning.message)
  }
  process.on('warning', onWarning)
  return { seen, stop: () => process.off('warning', onWarning) }
}
