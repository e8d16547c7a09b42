/** A wait for a notification asks less and less often, and not beyond its time. */
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { WaitTimeoutError } from '../../src/errors.js'
import { waitUntilProcessed } from '../../src/persistence/tracking.js'

const awaited = { applicationName: 'up', notificationId: 5n }

it('asks after 100 ms, then after twice the time before, for a second [65]', async () => {
  let reads = 0
  const waiting = waitUntilProcessed(async () => {
    reads += 1
    return 4n
  }, awaited)
  await expect(waiting).rejects.toBeInstanceOf(WaitTimeoutError)
  await expect(waiting).rejects.toThrow(/1000 ms.* 5 of up/)
  // At the beginning, after 100, 300 and 700 ms, and at the end, twice where a timer is early; fewer on a machine that is
  // busy. Who asks each 100 ms asks eleven times.
  expect(reads).toBeGreaterThan(1)
  expect(reads).toBeLessThanOrEqual(6)
})

it('asks no more once its timer has ended the wait, also where that is before its deadline', async () => {
  const now = performance.now()
  // By this clock the deadline never comes.
  const clock = vi.spyOn(performance, 'now').mockReturnValue(now)
  let reads = 0
  try {
    const read = async (): Promise<bigint> => {
      reads += 1
      return 4n
    }
    await expect(waitUntilProcessed(read, awaited, { timeoutMs: 20 })).rejects.toBeInstanceOf(WaitTimeoutError)
  } finally {
    clock.mockRestore()
  }
  expect(reads).toBeLessThanOrEqual(2)
})

it('does not wait longer for a database that gives no answer [62]', async () => {
  const noAnswer = async (): Promise<null> => await delay(60_000, null, { ref: false })
  await expect(waitUntilProcessed(noAnswer, awaited, { timeoutMs: 20 })).rejects.toBeInstanceOf(WaitTimeoutError)
})

it('rejects with what the read rejects with', async () => {
  const failure = new Error('the connection was lost')
  await expect(waitUntilProcessed(() => Promise.reject(failure), awaited)).rejects.toBe(failure)
})
