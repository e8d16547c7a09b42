/** Tracking and process recorders that break one promise each. */
import {
  InMemoryApplicationRecorder,
  InMemoryTrackingRecorder,
  IntegrityError,
  type ProcessRecorder,
  type StoredEvent,
  type Tracking,
  type TrackingRecorder,
  WaitTimeoutError,
} from '../../src/index.js'
import type { ProcessEventsOptions, WaitOptions } from '../../src/recorders.js'

class GoesBack extends InMemoryTrackingRecorder {
  override assertAhead(): void {}
}

/** Looks first, then stores: two at once see the same position. */
class LooksFirst extends InMemoryTrackingRecorder {
  readonly #stored = new Map<string, bigint>()
  override async insertTracking({ applicationName, notificationId }: Tracking): Promise<void> {
    const last = await this.maxTrackingId(applicationName)
    await new Promise((resolve) => setImmediate(resolve))
    if (last !== null && last >= notificationId) throw new IntegrityError('processed already')
    this.#stored.set(applicationName, notificationId)
  }
  override async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return this.#stored.get(applicationName) ?? null
  }
}

/** Changes names or ids before it stores and reads. */
class Rewrites extends InMemoryTrackingRecorder {
  nameOf = (name: string): string => name
  idOf = (id: bigint): bigint => id
  override async insertTracking({ applicationName, notificationId }: Tracking): Promise<void> {
    await super.insertTracking({
      applicationName: this.nameOf(applicationName),
      notificationId: this.idOf(notificationId),
    })
  }
  override async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return await super.maxTrackingId(this.nameOf(applicationName))
  }
}

class Tells extends InMemoryTrackingRecorder {
  last = (id: bigint | null): bigint | null => id
  has = (id: bigint | null, last: bigint | null): boolean => id === null || (last !== null && id <= last)
  override async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return this.last(await super.maxTrackingId(applicationName))
  }
  override async hasTrackingId(applicationName: string, id: bigint | null): Promise<boolean> {
    return this.has(id, await super.maxTrackingId(applicationName))
  }
}

class Waits extends InMemoryTrackingRecorder {
  waiting = async (_id: bigint | null, _options: WaitOptions, _wait: () => Promise<void>): Promise<void> => {}
  override async wait(applicationName: string, id: bigint | null, options: WaitOptions = {}): Promise<void> {
    await this.waiting(id, options, () => super.wait(applicationName, id, options))
  }
}

const waiting = (wait: Waits['waiting']) => (): Waits => Object.assign(new Waits(), { waiting: wait })
const tooLate = async (): Promise<never> => {
  throw new WaitTimeoutError('too late')
}

/** Break the promises of tracking. */
export const brokenTrackings: Record<string, () => TrackingRecorder> = {
  'lets positions go back': () => new GoesBack(),
  'looks first, then stores': () => new LooksFirst(),
  'takes names of either case for one': () =>
    Object.assign(new Rewrites(), { nameOf: (name: string) => name.toLowerCase() }),
  'cuts names at 32 characters': () => Object.assign(new Rewrites(), { nameOf: (name: string) => name.slice(0, 32) }),
  'has one position for all': () => Object.assign(new Rewrites(), { nameOf: () => '' }),
  'keeps ids as numbers': () => Object.assign(new Rewrites(), { idOf: (id: bigint) => BigInt(Number(id)) }),
  'begins at 0': () => Object.assign(new Tells(), { last: (id: bigint | null) => id ?? 0n }),
  'has everything': () => Object.assign(new Tells(), { has: () => true }),
  'has only the last': () =>
    Object.assign(new Tells(), { has: (id: bigint | null, last: bigint | null) => id === last }),
  'waits for nothing': waiting(async () => {}),
  'waits for nothing that is to come': waiting(tooLate),
  'does not look at the signal': waiting(async (id, _options, wait) => {
    await (id === null ? wait() : tooLate())
  }),
}

/** Stores events and tracking one after the other, in either order. */
class TwoSteps extends InMemoryApplicationRecorder implements ProcessRecorder {
  readonly tracking: TrackingRecorder = new InMemoryTrackingRecorder()
  steps: ReadonlyArray<'events' | 'tracking'> = []
  override async insertEvents(
    events: readonly StoredEvent[],
    { tracking }: ProcessEventsOptions = {},
  ): Promise<bigint[]> {
    let ids: bigint[] = []
    for (const step of this.steps) {
      if (step === 'events') ids = await super.insertEvents(events)
      else if (tracking !== undefined) await this.tracking.insertTracking(tracking)
    }
    return ids
  }
  async insertTracking(tracking: Tracking): Promise<void> {
    await this.tracking.insertTracking(tracking)
  }
  async maxTrackingId(applicationName: string): Promise<bigint | null> {
    return await this.tracking.maxTrackingId(applicationName)
  }
  async hasTrackingId(applicationName: string, id: bigint | null): Promise<boolean> {
    return await this.tracking.hasTrackingId(applicationName, id)
  }
  async wait(applicationName: string, id: bigint | null, options?: WaitOptions): Promise<void> {
    await this.tracking.wait(applicationName, id, options)
  }
}

const inSteps =
  (steps: TwoSteps['steps'], tracking: () => TrackingRecorder = () => new InMemoryTrackingRecorder()) =>
  (): ProcessRecorder =>
    Object.assign(new TwoSteps(), { steps, tracking: tracking() })

/** Break the promises of processing. */
export const brokenProcesses: Record<string, () => ProcessRecorder> = {
  'stores the tracking of events that are refused': inSteps(['tracking', 'events']),
  'stores the events of a tracking that is refused': inSteps(['events', 'tracking']),
  'stores no tracking': inSteps(['events']),
  'stores no events': inSteps(['tracking']),
  'lets positions go back': inSteps(['events', 'tracking'], () => new GoesBack()),
  'begins at 0': inSteps(['events', 'tracking'], () =>
    Object.assign(new Tells(), { last: (id: bigint | null) => id ?? 0n }),
  ),
  'has one position for all': inSteps(['events', 'tracking'], () =>
    Object.assign(new Rewrites(), { nameOf: () => '' }),
  ),
}
