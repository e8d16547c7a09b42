/** Waits for positions of projections: one look at the rows for all who wait in this process. */
import { ProjectionBlockedError, WaitInterruptedError, WaitTimeoutError } from '../errors.js'
import type { ProjectionRecorder, ProjectionRow } from '../persistence/projection-recorder.js'
import type { WaitOptions } from '../persistence/recorder.js'
import { Alarm } from '../persistence/waiting.js'
import type { Projection } from './projection.js'

interface Wait {
  readonly projection: Projection
  readonly position: bigint
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const defaultTimeoutMs = 1_000
const firstPollMs = 5
const longestPollMs = 100

/** Who waits, and what looks for them. */
export class PositionWaits {
  readonly #recorder: ProjectionRecorder
  readonly #upstream: string
  readonly #waits = new Set<Wait>()
  readonly #alarm = new Alarm()
  #isLooking = false

  constructor(recorder: ProjectionRecorder, upstream: string) {
    this.#recorder = recorder
    this.#upstream = upstream
  }

  /** Tells that a position has moved in this process. */
  moved(): void {
    if (this.#waits.size > 0) this.#alarm.ring()
  }

  /** Waits until all parts of a projection have come to a position; see `ProjectionRunner.wait`. */
  async wait(projection: Projection, position: bigint, options: WaitOptions = {}): Promise<void> {
    const { timeoutMs = defaultTimeoutMs, signal } = options
    const awaited = `projection ${projection.name} to come to position ${position} of ${this.#upstream}`
    if (signal?.aborted === true) throw interrupted(awaited, signal)
    await new Promise<void>((resolve, reject) => {
      const settle = (): void => {
        this.#waits.delete(wait)
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const wait: Wait = {
        projection,
        position,
        resolve() {
          settle()
          resolve()
        },
        reject(error) {
          settle()
          reject(error)
        },
      }
      const onAbort = (): void => wait.reject(interrupted(awaited, signal))
      const timer = setTimeout(
        () => wait.reject(new WaitTimeoutError(`Waited ${timeoutMs} ms for ${awaited}, and it did not.`)),
        timeoutMs,
      )
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waits.add(wait)
      this.#alarm.ring()
      if (!this.#isLooking) void this.#look()
    })
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    let pollMs = firstPollMs
    while (this.#waits.size > 0) {
      const before = this.#waits.size
      try {
        this.#settle(await this.#recorder.rows())
      } catch (error) {
        if (!this.#recorder.mayPass(error)) for (const wait of this.#waits) wait.reject(error as Error) // what a recorder throws
      }
      if (this.#waits.size === 0) break
      pollMs = this.#waits.size > before ? firstPollMs : Math.min(longestPollMs, pollMs * 2)
      await this.#alarm.wait(pollMs)
    }
    this.#isLooking = false
  }

  #settle(rows: readonly ProjectionRow[]): void {
    for (const wait of this.#waits) {
      const { name, version, partitions } = wait.projection
      const parts = rows.filter(
        (row) => row.name === name && row.version === version && row.upstream === this.#upstream,
      )
      if (parts.length >= partitions && parts.every(({ position }) => position >= wait.position)) wait.resolve()
      else {
        const blocked = parts.find(({ status, failedPosition }) => status === 'blocked' && failedPosition !== undefined)
        if ((blocked?.failedPosition ?? wait.position + 1n) <= wait.position) wait.reject(blockedError(name, blocked))
      }
    }
  }
}

function interrupted(awaited: string, signal: AbortSignal | undefined): WaitInterruptedError {
  return new WaitInterruptedError(`Waiting for ${awaited} was interrupted.`, { cause: signal?.reason })
}

function blockedError(name: string, row: ProjectionRow | undefined): ProjectionBlockedError {
  return new ProjectionBlockedError(
    `Could not wait for projection ${name}: it stands still at event ${row?.failedPosition}. ${row?.reason ?? ''}`.trimEnd(),
  )
}
