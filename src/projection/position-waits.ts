/** Waits for positions of projections: one look at the rows for all who wait in this process. */
import { ProjectionBlockedError, WaitInterruptedError, WaitTimeoutError } from '../errors.js'
import {
  beyondLogEnd,
  isBeyondEnd,
  type ProjectionRecorder,
  type ProjectionRow,
} from '../persistence/projection-recorder.js'
import type { WaitOptions } from '../persistence/recorder.js'
import { Alarm } from '../persistence/waiting.js'
import { outsideOfEverything } from '../transaction/context.js'
import type { Projection } from './projection.js'
import type { ProjectionSource } from './source.js'

interface Wait {
  readonly projection: Projection
  readonly position: bigint
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

const defaultTimeoutMs = 1_000
const firstPollMs = 5
const longestPollMs = 100

/** How often, at most, one looks whether the log still has the positions. */
const betweenComparisonsMs = 5_000

/** Who waits, and what looks for them. */
export class PositionWaits {
  readonly #recorder: ProjectionRecorder
  readonly #source: Pick<ProjectionSource, 'name' | 'endBefore'>
  readonly #waits = new Set<Wait>()
  readonly #alarm = new Alarm()
  #isLooking = false
  #comparedAt = Number.NEGATIVE_INFINITY

  constructor(recorder: ProjectionRecorder, source: Pick<ProjectionSource, 'name' | 'endBefore'>) {
    this.#recorder = recorder
    this.#source = source
  }

  /** Tells that a position has moved in this process. */
  moved(): void {
    if (this.#waits.size > 0) this.#alarm.ring()
  }

  /** Waits until all parts of a projection have come to a position; see `ProjectionRunner.wait`. */
  async wait(projection: Projection, position: bigint, options: WaitOptions = {}): Promise<void> {
    const { timeoutMs = defaultTimeoutMs, signal } = options
    const awaited = `projection ${projection.name} to come to position ${position} of ${this.#source.name}`
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
      // It goes on for others when the request of this one, and its transaction, has ended.
      if (!this.#isLooking) outsideOfEverything(() => void this.#look())
    })
  }

  async #look(): Promise<void> {
    this.#isLooking = true
    let pollMs = firstPollMs
    while (this.#waits.size > 0) {
      const before = this.#waits.size
      try {
        const rows = await this.#recorder.rows()
        await this.#compare(rows)
        this.#settle(rows)
      } catch (error) {
        if (!this.#recorder.mayPass(error)) for (const wait of this.#waits) wait.reject(error as Error) // what a recorder throws
      }
      if (this.#waits.size === 0) break
      pollMs = this.#waits.size > before ? firstPollMs : Math.min(longestPollMs, pollMs * 2)
      await this.#alarm.wait(pollMs)
    }
    this.#isLooking = false
  }

  /** Refuses those whose projection is further than its log, which may be so before any runner has found it out. */
  async #compare(rows: readonly ProjectionRow[]): Promise<void> {
    const ahead = [...this.#waits].flatMap((wait) =>
      this.#partsOf(wait, rows).flatMap((part) => (part.position > wait.position ? [{ wait, part }] : [])),
    )
    if (ahead.length === 0 || performance.now() - this.#comparedAt < betweenComparisonsMs) return
    const furthest = ahead.reduce((most, { part }) => (part.position > most ? part.position : most), 0n)
    const end = await this.#source.endBefore(furthest)
    if (end === undefined) this.#comparedAt = performance.now()
    for (const { wait, part } of ahead) {
      if (end === undefined || !isBeyondEnd(part, end)) continue
      wait.reject(blockedError(part.name, { reason: beyondLogEnd(part, end).message }))
    }
  }

  #settle(rows: readonly ProjectionRow[]): void {
    for (const wait of this.#waits) {
      const { name, partitions } = wait.projection
      const parts = this.#partsOf(wait, rows)
      const blocked = parts.find(({ status }) => status === 'blocked')
      const failedAt = blocked?.failedPosition
      // One that stands still at no event has a position of which nobody knows what it is worth.
      const isWorthless = blocked !== undefined && failedAt === undefined
      const isThere = parts.length >= partitions && parts.every(({ position }) => position >= wait.position)
      if (isThere && !isWorthless) wait.resolve()
      else if (blocked !== undefined && (failedAt ?? 0n) <= wait.position) wait.reject(blockedError(name, blocked))
    }
  }

  #partsOf({ projection: { name, version } }: Wait, rows: readonly ProjectionRow[]): ProjectionRow[] {
    return rows.filter((row) => row.name === name && row.version === version && row.upstream === this.#source.name)
  }
}

function interrupted(awaited: string, signal: AbortSignal | undefined): WaitInterruptedError {
  return new WaitInterruptedError(`Waiting for ${awaited} was interrupted.`, { cause: signal?.reason })
}

/** The error of who needs a projection that stands still. @param attempted - what could not be done with it */
export function blockedError(
  name: string,
  { failedPosition, reason = '' }: Partial<Pick<ProjectionRow, 'failedPosition' | 'reason'>>,
  attempted: string = 'wait for',
): ProjectionBlockedError {
  const where = failedPosition === undefined ? '' : ` at event ${failedPosition}`
  return new ProjectionBlockedError(
    `Could not ${attempted} projection ${name}: it stands still${where}. ${reason}`.trimEnd(),
  )
}
