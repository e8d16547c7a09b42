/** Tries events again that were put aside, beside the batches, as often as an event that fails is tried. */
import type { ParkedEvent, ProjectionKey } from '../persistence/projection-recorder.js'
import { type BatchLimits, pauseBefore } from './batch-work.js'
import { reasonOf } from './parked-keys.js'
import { type ParkedRetryHost, retryParked } from './parked-retry.js'
import { partitionOf } from './partition-of.js'

/** What the attempts stand on. */
export interface ParkedAttemptsHost extends ParkedRetryHost {
  /** The part whose events they are. */
  readonly key: ProjectionKey
  readonly limits: BatchLimits
}

/** Those of one part, while this process has its lease. */
export class ParkedAttempts {
  readonly #host: ParkedAttemptsHost
  readonly #planned = new Map<bigint, NodeJS.Timeout>()
  #isOver = false
  #last: Promise<void> = Promise.resolve()

  constructor(host: ParkedAttemptsHost) {
    this.#host = host
  }

  /** Looks what is put aside and to be tried again, also by runners before this one. */
  look(): void {
    this.#inTurn(async () => await this.#look())
  }

  /** Waits for the attempt under way; those that were planned are left to whoever has the lease next. */
  async end(): Promise<void> {
    this.#isOver = true
    for (const timer of this.#planned.values()) clearTimeout(timer)
    await this.#last
  }

  async #look(): Promise<void> {
    const { recorder, projection } = this.#host
    for (const event of await recorder.parked(projection.name, projection.version)) {
      if (this.#isDue(event)) this.#plan(event)
    }
  }

  /** Those that wait behind another one are tried with that. */
  #isDue({ notificationId, attempts, key }: ParkedEvent): boolean {
    const { limits, projection, key: part } = this.#host
    if (attempts < 1 || attempts >= limits.attempts || this.#planned.has(notificationId)) return false
    return projection.partitions === 1 || partitionOf(key, projection.partitions) === part.partition
  }

  #plan({ notificationId, attempts }: ParkedEvent): void {
    if (this.#isOver) return
    const attempt = (): void => {
      this.#planned.delete(notificationId)
      this.#inTurn(async () => {
        await retryParked(this.#host, notificationId)
        await this.#look()
      })
    }
    this.#planned.set(notificationId, setTimeout(attempt, pauseBefore(attempts, this.#host.limits)))
  }

  #inTurn(work: () => Promise<void>): void {
    const { projection } = this.#host
    const before = this.#last
    this.#last = (async () => {
      await before
      try {
        if (!this.#isOver) await work()
      } catch (error) {
        process.emitWarning(
          `Events that the projection ${projection.name} has put aside could not be tried again: retry() does that, and a runner that begins. ${reasonOf(error)}`,
          { code: 'ES_PROJECTION_FAILED' },
        )
      }
    })()
  }
}
