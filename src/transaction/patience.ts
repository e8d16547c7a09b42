/** Waiting that has a limit: nothing that hangs may keep others waiting. */

// Node's timers fire at once beyond.
const longestMs = 2_147_483_647

/**
 * Whether a promise settles within so many milliseconds, however it does. Never rejects.
 *
 * @param ms - `Infinity` for no limit
 */
export function settlesWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    // When something has kept the process busy, the timer comes before the answer that is there already.
    const limit = (): void => void setImmediate(() => resolve(false))
    const timer = ms > longestMs ? undefined : setTimeout(limit, ms)
    const settled = (): void => {
      clearTimeout(timer)
      resolve(true)
    }
    promise.then(settled, settled)
  })
}
