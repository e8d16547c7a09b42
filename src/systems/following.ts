/** One follower of one leader while a system runs: gives it what the leader has recorded, and keeps trying what may pass. */
import type { Application } from '../application/application.js'
import {
  BeyondLogEndError,
  ConcurrencyError,
  DatastoreClosedError,
  EventProcessingError,
  type FollowerError,
  NotificationConvertingError,
  NotificationPullingError,
  OperationalError,
  WaitTimeoutError,
} from '../errors.js'
import type { SubscriptionPage, WaitOptions } from '../persistence/recorder.js'
import type { Notification } from '../persistence/stored-event.js'
import { backOffMs } from '../transaction/options.js'
import type { Follower, ProcessingJob } from './follower.js'

/** So often an event is tried that is in conflict with what others store. */
const conflictAttempts = 10

/** A database that is away is asked again, for ever; it is told after so many times. */
const failuresToTell = 5
const longestRestMs = 10_000

/** A wait looks so often whether what it waits for can still come. */
const turnMs = 500

/** Who follows whom. */
export interface FollowingHost {
  readonly leaderName: string
  readonly leader: Application
  readonly followerName: string
  readonly follower: Follower
}

/** Works for one follower of one leader. */
export class Following {
  readonly host: FollowingHost
  /** Why it stands still. */
  error: FollowerError | undefined

  constructor(host: FollowingHost) {
    this.host = host
  }

  /** How far the follower has come; 0 where it has not begun. */
  async position(): Promise<bigint> {
    const { follower, leaderName } = this.host
    return (await follower.recorder.maxTrackingId(leaderName)) ?? 0n
  }

  /**
   * Looks whether the leader's log has the follower's position: where it was restored, or emptied, new events would be passed over.
   *
   * @param stopping - ends it while the database is away
   * @returns the error by which the follower stands still then
   */
  async compare(stopping: AbortSignal): Promise<FollowerError | undefined> {
    const { follower, leaderName, followerName, leader } = this.host
    try {
      await this.#patiently(stopping, async () => await follower.assertInLog(leaderName, leader.recorder))
    } catch (error) {
      if (!(error instanceof BeyondLogEndError)) throw error
      const details = { cause: error, leader: leaderName, follower: followerName, notificationId: error.position }
      this.error = new NotificationPullingError(`${followerName} stands still: ${reasonOf(error)}.`, details)
    }
    return this.error
  }

  /**
   * Lets the follower process a part of the leader's log; what it has processed is passed over.
   *
   * @param stopping - ends it between two events
   * @returns the error by which it stands still, where it does
   */
  async give(
    { items, end }: SubscriptionPage<Notification>,
    stopping: AbortSignal,
  ): Promise<FollowerError | undefined> {
    const { follower, leaderName } = this.host
    try {
      const position = await this.#patiently(stopping, async () => await this.position())
      if (position === undefined || end <= position) return undefined
      const left = items.filter(({ id }) => id > position)
      for await (const job of this.#jobs(left, stopping)) {
        if (stopping.aborted) return undefined
        await this.#process(job, stopping)
      }
      if (stopping.aborted) return undefined
      await this.#patiently(stopping, async () => await follower.passOver(leaderName, end))
    } catch (error) {
      if (stopping.aborted || error instanceof DatastoreClosedError) return undefined
      const isTold = error instanceof EventProcessingError || error instanceof NotificationConvertingError
      this.error = isTold ? error : this.#failure(EventProcessingError, error, end)
    }
    return this.error
  }

  /**
   * Waits until the follower has processed a position.
   *
   * @throws the error by which it stands still before; `WaitTimeoutError`; `WaitInterruptedError`
   */
  async wait(position: bigint | null, { timeoutMs = 1_000, signal }: WaitOptions = {}): Promise<void> {
    if (position === null) return
    const { follower, followerName, leaderName } = this.host
    const until = performance.now() + timeoutMs
    for (;;) {
      const isBeyondEnd = this.error?.cause instanceof BeyondLogEndError
      if (this.error !== undefined && (isBeyondEnd || (await this.position()) < position)) throw this.error
      const limits = { timeoutMs: Math.max(0, Math.min(turnMs, until - performance.now())) }
      try {
        return await follower.recorder.wait(leaderName, position, signal === undefined ? limits : { ...limits, signal })
      } catch (error) {
        if (!(error instanceof WaitTimeoutError)) throw error
        if (performance.now() < until) continue
        throw new WaitTimeoutError(
          `Waited ${timeoutMs} ms for ${followerName} to process position ${position} of ${leaderName}, and it has not.`,
        )
      }
    }
  }

  /** What is before an event that cannot be read is processed first. */
  async *#jobs(notifications: readonly Notification[], stopping: AbortSignal): AsyncGenerator<ProcessingJob> {
    const { follower, leaderName } = this.host
    const convert = async (some: readonly Notification[]): Promise<readonly ProcessingJob[]> =>
      (await this.#patiently(stopping, async () => await follower.convertNotifications(leaderName, some))) ?? []
    let all: readonly ProcessingJob[] | undefined
    try {
      all = await convert(notifications)
    } catch {
      for (const notification of notifications) {
        try {
          yield* await convert([notification])
        } catch (error) {
          throw this.#failure(NotificationConvertingError, error, notification.id)
        }
      }
      return
    }
    yield* all
  }

  async #process({ event, tracking }: ProcessingJob, stopping: AbortSignal): Promise<void> {
    const { follower } = this.host
    const processOnce = async (): Promise<void> => {
      try {
        await follower.processEvent(event, tracking)
      } catch (error) {
        // Another process that runs this system may have been first: then its position, its events, or its rows were in the way.
        const position = await this.position().catch(() => 0n)
        if (position < tracking.notificationId) throw error
      }
    }
    try {
      await this.#patiently(stopping, processOnce)
    } catch (error) {
      throw this.#failure(EventProcessingError, error, tracking.notificationId)
    }
  }

  /**
   * Does work again after a conflict, a few times, and for ever while the database is away.
   *
   * @returns undefined where the runner stops meanwhile
   */
  async #patiently<T>(stopping: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 1, conflicts = 0; ; attempt += 1) {
      try {
        return await work()
      } catch (error) {
        const isConflict = error instanceof ConcurrencyError
        if (isConflict) conflicts += 1
        const isAway = error instanceof OperationalError && error.retryable
        if (!(isConflict ? conflicts < conflictAttempts : isAway)) throw error
        if (stopping.aborted) return undefined
        if (!isConflict && attempt === failuresToTell) this.#warnOfOutage(error)
        await untilAborted(stopping, isConflict ? backOffMs(attempt) : Math.min(longestRestMs, 50 * 2 ** attempt))
      }
    }
  }

  #failure(ErrorClass: typeof EventProcessingError, error: unknown, notificationId: bigint): FollowerError {
    const { leaderName: leader, followerName: follower } = this.host
    const what = ErrorClass === NotificationConvertingError ? 'cannot read' : 'has failed on'
    return new ErrorClass(
      `${follower} stands still: it ${what} event ${notificationId} of ${leader}: ${reasonOf(error)}.`,
      { cause: error, leader, follower, notificationId },
    )
  }

  #warnOfOutage(error: unknown): void {
    const { followerName, leaderName } = this.host
    process.emitWarning(
      `${followerName} cannot process the log of ${leaderName}, and goes on trying. ${reasonOf(error)}.`,
      { code: 'ES_SYSTEM_WAITS' },
    )
  }
}

/** Waits until a signal aborts, or the time is over. */
export async function untilAborted(signal: AbortSignal, ms: number = Number.POSITIVE_INFINITY): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(end, ms)
    signal.addEventListener('abort', end)
  })
}

/** What an error says, as a part of a sentence. */
export function reasonOf(error: unknown): string {
  const reason = error instanceof Error ? error.message : String(error)
  return reason.replace(/\.$/, '')
}
