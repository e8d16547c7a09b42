/** The factory of applications that nobody has configured, and its recorders beside those of events: tracking positions and subject keys in memory. */
import type { InfrastructureFactory } from './environment.js'
import { InMemoryTimerRecorder } from './in-memory-projections.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder, noTransactions } from './in-memory-recorders.js'
import {
  logPosition,
  type ManagedProcessRecorder,
  type ManagedSubjectKeyRecorder,
  type ManagedTrackingRecorder,
  type ProcessEventsOptions,
  type SubjectKey,
  type WaitOptions,
} from './recorder.js'
import type { StoredEvent, Tracking } from './stored-event.js'
import {
  alreadyProcessed,
  checkTracking,
  isProcessed,
  noticeSharing,
  type TrackingOrigin,
  waitUntilProcessed,
} from './tracking.js'

/** Keeps tracking positions in memory. */
export class InMemoryTrackingRecorder implements ManagedTrackingRecorder {
  readonly #positions = new Map<string, bigint>()
  readonly #origins = new Map<string, TrackingOrigin>()

  async insertTracking(tracking: Tracking): Promise<void> {
    this.assertAhead(tracking)
    this.#positions.set(tracking.applicationName, tracking.notificationId)
    noticeSharing(this.#origins, tracking.applicationName, tracking)
  }

  async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return this.#positions.get(applicationName) ?? null
  }

  async hasTrackingId(applicationName: string, notificationId: bigint | null): Promise<boolean> {
    return isProcessed(logPosition(notificationId, 'notificationId'), await this.maxTrackingId(applicationName))
  }

  async wait(applicationName: string, awaited: bigint | null, options?: WaitOptions): Promise<void> {
    const notificationId = logPosition(awaited, 'notificationId')
    if (notificationId === null) return
    const readLast = (): Promise<bigint | null> => this.maxTrackingId(applicationName)
    await waitUntilProcessed(readLast, { applicationName, notificationId }, options)
  }

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  /** @throws `NotSupportedError`, always */
  async transaction(): Promise<never> {
    throw noTransactions()
  }

  /** @throws `IntegrityError` when the notification, or a later one, was processed before */
  assertAhead(tracking: Tracking): void {
    checkTracking(tracking)
    const last = this.#positions.get(tracking.applicationName) ?? null
    if (isProcessed(tracking.notificationId, last)) throw alreadyProcessed(tracking, last)
  }
}

/** Keeps an application's events in memory, with their log and the tracking positions of the logs that they were made from. */
export class InMemoryProcessRecorder extends InMemoryApplicationRecorder implements ManagedProcessRecorder {
  readonly #tracking = new InMemoryTrackingRecorder()

  override async insertEvents(
    events: readonly StoredEvent[],
    { tracking }: ProcessEventsOptions = {},
  ): Promise<bigint[]> {
    if (tracking !== undefined) this.#tracking.assertAhead(tracking)
    // Nothing is awaited between the check and the end, so nobody else comes between.
    const ids = this.store(events)
    if (tracking !== undefined) await this.#tracking.insertTracking(tracking)
    return ids
  }

  async insertTracking(tracking: Tracking): Promise<void> {
    await this.#tracking.insertTracking(tracking)
  }

  async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return await this.#tracking.maxTrackingId(applicationName)
  }

  async hasTrackingId(applicationName: string, notificationId: bigint | null): Promise<boolean> {
    return await this.#tracking.hasTrackingId(applicationName, notificationId)
  }

  async wait(applicationName: string, notificationId: bigint | null, options?: WaitOptions): Promise<void> {
    await this.#tracking.wait(applicationName, notificationId, options)
  }
}

/** Keeps the keys of personal data in memory. */
export class InMemorySubjectKeyRecorder implements ManagedSubjectKeyRecorder {
  readonly #keys = new Map<string, Uint8Array>()

  async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return [...new Set(subjects)].flatMap((subject) => {
      const key = this.#keys.get(subject)
      return key === undefined ? [] : [{ subject, key: key.slice() }]
    })
  }

  async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    for (const { subject, key } of keys) if (!this.#keys.has(subject)) this.#keys.set(subject, key.slice())
    return await this.selectKeys(keys.map(({ subject }) => subject))
  }

  async deleteKey(subject: string): Promise<boolean> {
    return this.#keys.delete(subject)
  }

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  /** @throws `NotSupportedError`, always */
  async transaction(): Promise<never> {
    throw noTransactions()
  }
}

/** Makes recorders that keep everything in memory, each on its own. */
export class InMemoryFactory implements InfrastructureFactory {
  aggregateRecorder(): InMemoryAggregateRecorder {
    return new InMemoryAggregateRecorder()
  }

  applicationRecorder(): InMemoryApplicationRecorder {
    return new InMemoryApplicationRecorder()
  }

  trackingRecorder(): InMemoryTrackingRecorder {
    return new InMemoryTrackingRecorder()
  }

  processRecorder(): InMemoryProcessRecorder {
    return new InMemoryProcessRecorder()
  }

  subjectKeyRecorder(): InMemorySubjectKeyRecorder {
    return new InMemorySubjectKeyRecorder()
  }

  timerRecorder(): InMemoryTimerRecorder {
    return new InMemoryTimerRecorder()
  }

  async close(): Promise<void> {}
}
