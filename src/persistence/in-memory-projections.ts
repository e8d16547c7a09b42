/** Projections and timers in memory: for tests, and for applications in memory. */
import { LeaseLostError } from '../errors.js'
import type {
  ParkedEvent,
  ProjectionBatch,
  ProjectionKey,
  ProjectionLease,
  ProjectionMove,
  ProjectionRecorder,
  ProjectionRow,
  ProjectionStateChange,
  ProjectionWanted,
} from './projection-recorder.js'
import type {
  DueTimer,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
  TimerRecorder,
} from './side-recorders.js'
import { WakeUps } from './waiting.js'

interface Part {
  readonly key: ProjectionKey
  readonly partitions: number
  position: bigint
  epoch: bigint
  owner: string | undefined
  leasedUntil: number
}

type State = Pick<ProjectionRow, 'wanted' | 'status' | 'target' | 'reason' | 'failedPosition'>

/**
 * Keeps them while the process lives. There are no transactions: a position moves when the work of its batch has succeeded, and what
 * a handler has done before it fails stays done.
 */
export class InMemoryProjectionRecorder implements ProjectionRecorder {
  readonly #parts = new Map<string, Part>()
  readonly #states = new Map<string, State>()
  readonly #parked = new Map<string, Map<bigint, ParkedEvent>>()

  /** False: nobody waits for anybody. */
  get singleWriter(): boolean {
    return false
  }

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  async rows(): Promise<ProjectionRow[]> {
    const now = Date.now()
    return [...this.#parts.values()].map(({ key, partitions, position, owner, leasedUntil }) => ({
      ...key,
      partitions,
      position,
      owner,
      isLeased: owner !== undefined && leasedUntil > now,
      leasedUntil: owner === undefined ? undefined : new Date(leasedUntil),
      ...this.#stateOf(key.name, key.version),
    }))
  }

  async wanted(name: string, version: number): Promise<ProjectionWanted | undefined> {
    return this.#states.get(versionKey(name, version))?.wanted
  }

  async add(key: ProjectionKey, partitions: number, position: bigint = 0n): Promise<void> {
    const name = partKey(key)
    if (this.#parts.has(name)) return
    const { version } = key
    this.#parts.set(name, { key, partitions, position, epoch: 0n, owner: undefined, leasedUntil: 0 })
    this.#states.set(versionKey(key.name, version), this.#stateOf(key.name, version))
  }

  async repartition(projection: Omit<ProjectionKey, 'partition'>, partitions: number): Promise<boolean> {
    const { name, version, upstream } = projection
    const isIts = ({ key }: Part): boolean => key.name === name && key.version === version && key.upstream === upstream
    const parts = [...this.#parts.values()].filter(isIts)
    const position = parts[0]?.position ?? 0n
    const isPaused = this.#stateOf(name, version).wanted === 'paused'
    if (!isPaused || parts.some((part) => part.position !== position)) return false
    const epoch = parts.reduce((greatest, part) => (part.epoch > greatest ? part.epoch : greatest), 0n) + 1n
    for (const { key } of parts) this.#parts.delete(partKey(key))
    for (let partition = 0; partition < partitions; partition += 1) {
      const key = { ...projection, partition }
      this.#parts.set(partKey(key), { key, partitions, position, epoch, owner: undefined, leasedUntil: 0 })
    }
    return true
  }

  async claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    const part = this.#parts.get(partKey(key))
    if (part?.owner !== undefined && part.leasedUntil > Date.now()) return undefined
    return await this.seize(key, owner, leaseMs)
  }

  async seize(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    const part = this.#parts.get(partKey(key))
    const isGreater = (other: Part): boolean => other.key.name === key.name && other.key.version > key.version
    if (part === undefined || [...this.#parts.values()].some(isGreater)) return undefined
    part.epoch += 1n
    part.owner = owner
    part.leasedUntil = Date.now() + leaseMs
    return { position: part.position, epoch: part.epoch }
  }

  async renew(owner: string, names: readonly string[], leaseMs: number, wanted?: ProjectionWanted): Promise<number> {
    const isIts = ({ key, ...part }: Part): boolean =>
      part.owner === owner &&
      names.includes(key.name) &&
      (wanted === undefined || this.#stateOf(key.name, key.version).wanted === wanted)
    const parts = [...this.#parts.values()].filter(isIts)
    for (const part of parts) part.leasedUntil = Date.now() + leaseMs
    return parts.length
  }

  async release(key: ProjectionKey, epoch: bigint): Promise<void> {
    const part = this.#parts.get(partKey(key))
    if (part?.epoch === epoch) part.owner = undefined
  }

  async supersede(name: string, version: number): Promise<void> {
    for (const part of this.#parts.values()) {
      if (part.key.name !== name || part.key.version >= version) continue
      part.epoch += 1n
      part.owner = undefined
      await this.change(name, part.key.version, { status: 'superseded' })
    }
  }

  async batch(
    key: ProjectionKey,
    { epoch, from, to, leaseMs }: ProjectionMove,
    work: (batch: ProjectionBatch) => Promise<void>,
  ): Promise<void> {
    this.#partAt(key, epoch, from)
    let reached = to
    await work({
      client: undefined,
      stopAt: async (position) => {
        reached = position
      },
    })
    const part = this.#partAt(key, epoch, from)
    part.position = reached
    part.leasedUntil = Date.now() + leaseMs
  }

  async together(_deadlineMs: number, work: (client: unknown) => Promise<void>): Promise<void> {
    await work(undefined)
  }

  async beside(_keys: readonly ProjectionKey[], work: () => Promise<void>): Promise<void> {
    await work()
  }

  async change(name: string, version: number, change: ProjectionStateChange): Promise<void> {
    const { target, reason, failedPosition, ...words } = change
    const state = this.#stateOf(name, version)
    const isDoing = words.wanted === undefined && (words.status === 'live' || words.status === 'building')
    this.#states.set(versionKey(name, version), {
      ...state,
      ...words,
      ...(isDoing && state.wanted === 'paused' ? { status: 'paused' } : {}),
      target: changed(target, state.target),
      reason: changed(reason, state.reason),
      failedPosition: changed(failedPosition, state.failedPosition),
    })
  }

  async reposition(key: ProjectionKey, epoch: bigint, position: bigint): Promise<boolean> {
    const part = this.#parts.get(partKey(key))
    if (part?.epoch !== epoch) return false
    part.position = position
    return true
  }

  async park(name: string, version: number, event: Omit<ParkedEvent, 'parkedAt'>): Promise<void> {
    const key = versionKey(name, version)
    const parked = this.#parked.get(key) ?? new Map<bigint, ParkedEvent>()
    this.#parked.set(key, parked.set(event.notificationId, { ...event, parkedAt: new Date() }))
  }

  async parked(name: string, version: number): Promise<ParkedEvent[]> {
    const parked = [...(this.#parked.get(versionKey(name, version))?.values() ?? [])]
    return parked.sort((a, b) => (a.notificationId < b.notificationId ? -1 : 1))
  }

  async unpark(name: string, version: number, notificationId?: bigint): Promise<number> {
    const parked = this.#parked.get(versionKey(name, version))
    if (notificationId !== undefined) return parked?.delete(notificationId) === true ? 1 : 0
    const count = parked?.size ?? 0
    parked?.clear()
    return count
  }

  /** False: nothing fails here that passes by itself. */
  mayPass(): boolean {
    return false
  }

  #partAt(key: ProjectionKey, epoch: bigint, position: bigint): Part {
    const part = this.#parts.get(partKey(key))
    if (part !== undefined && part.epoch === epoch && part.position === position) return part
    throw new LeaseLostError(`Could not move projection ${key.name} on from ${position}: another runner has taken it.`)
  }

  #stateOf(name: string, version: number): State {
    return (
      this.#states.get(versionKey(name, version)) ?? {
        wanted: 'running',
        status: 'building',
        target: undefined,
        reason: undefined,
        failedPosition: undefined,
      }
    )
  }
}

function partKey({ name, version, upstream, partition }: ProjectionKey): string {
  return JSON.stringify([name, version, upstream, partition])
}

function versionKey(name: string, version: number): string {
  return JSON.stringify([name, version])
}

function changed<T>(change: T | null | undefined, before: T | undefined): T | undefined {
  return change === undefined ? before : (change ?? undefined)
}

interface KeptTimer extends StoredTimer {
  /** In milliseconds since 1970; undefined for one that was put aside. */
  nextAt: number | undefined
  attempts: number
  epoch: bigint
  error: string | undefined
}

/** Keeps them while the process lives. There are no transactions: what a handler has done before it fails stays done. */
export class InMemoryTimerRecorder implements TimerRecorder {
  /** True: there is nobody else. */
  readonly isTold = true
  readonly #timers = new Map<string, KeptTimer>()
  readonly #wakeUps = new WakeUps()
  #epoch = 0n

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  async setTimer({ id, topic, dueAt, state }: StoredTimer): Promise<void> {
    this.#epoch += 1n
    const nextAt = dueAt.getTime()
    this.#timers.set(id, { id, topic, dueAt, state, nextAt, attempts: 0, epoch: this.#epoch, error: undefined })
    this.#wakeUps.wake()
  }

  async clearTimer(id: string): Promise<boolean> {
    return this.#timers.delete(id)
  }

  async fireTimers(
    topics: readonly string[],
    limit: number,
    work: (timers: readonly DueTimer[]) => Promise<void>,
  ): Promise<number> {
    const due = this.#due(topics).slice(0, limit)
    if (due.length === 0) return 0
    for (const { id } of due) this.#timers.delete(id)
    try {
      await work(due.map((timer) => ({ ...timer })))
    } catch (error) {
      // A handler may have set one of them anew.
      for (const timer of due) if (!this.#timers.has(timer.id)) this.#timers.set(timer.id, timer)
      throw error
    }
    return due.length
  }

  async reserveTimer(topics: readonly string[], forMs: number): Promise<DueTimer | undefined> {
    const [timer] = this.#due(topics)
    if (timer === undefined) return undefined
    this.#epoch += 1n
    timer.epoch = this.#epoch
    timer.nextAt = Date.now() + forMs
    return { ...timer }
  }

  async extendTimer(of: Pick<DueTimer, 'id' | 'epoch'>, forMs: number): Promise<boolean> {
    const timer = this.#of(of)
    if (timer === undefined) return false
    timer.nextAt = Date.now() + forMs
    return true
  }

  async finishTimer(of: Pick<DueTimer, 'id' | 'epoch'>): Promise<void> {
    if (this.#of(of) !== undefined) this.#timers.delete(of.id)
  }

  async failTimer(of: Pick<DueTimer, 'id' | 'epoch'>, { attempts, delayMs, error }: TimerFailure): Promise<void> {
    const timer = this.#of(of)
    if (timer === undefined) return
    timer.attempts = attempts
    timer.error = error
    timer.nextAt = delayMs === undefined ? undefined : Date.now() + delayMs
  }

  async nextTimerInMs(topics: readonly string[]): Promise<number | undefined> {
    const times = [...this.#timers.values()].flatMap(({ topic, nextAt }) =>
      topics.includes(topic) && nextAt !== undefined ? [nextAt] : [],
    )
    return times.length === 0 ? undefined : times.reduce((least, each) => Math.min(least, each)) - Date.now()
  }

  async selectTimers({ topics, limit = 100, parked = false }: SelectTimersOptions = {}): Promise<PendingTimer[]> {
    return [...this.#timers.values()]
      .filter(({ topic, nextAt }) => (topics?.includes(topic) ?? true) && (!parked || nextAt === undefined))
      .toSorted((a, b) => a.dueAt.getTime() - b.dueAt.getTime())
      .slice(0, limit)
      .map(({ id, topic, dueAt, nextAt, attempts, error }) => ({
        id,
        topic,
        dueAt,
        nextAt: nextAt === undefined ? undefined : new Date(nextAt),
        attempts,
        error,
      }))
  }

  async retryTimers({ id, topics }: { readonly id?: string; readonly topics?: readonly string[] }): Promise<number> {
    const aside = [...this.#timers.values()].filter(
      (timer) =>
        timer.nextAt === undefined &&
        (id === undefined || timer.id === id) &&
        (topics === undefined || topics.includes(timer.topic)),
    )
    for (const timer of aside) {
      timer.nextAt = Date.now()
      timer.attempts = 0
    }
    this.#wakeUps.wake()
    return aside.length
  }

  onSet(listener: () => void): () => void {
    return this.#wakeUps.add(listener)
  }

  /** False: nothing fails here that passes by itself. */
  mayPass(): boolean {
    return false
  }

  #of({ id, epoch }: Pick<DueTimer, 'id' | 'epoch'>): KeptTimer | undefined {
    const timer = this.#timers.get(id)
    return timer?.epoch === epoch ? timer : undefined
  }

  #due(topics: readonly string[]): KeptTimer[] {
    const now = Date.now()
    return [...this.#timers.values()]
      .filter(({ topic, nextAt }) => topics.includes(topic) && nextAt !== undefined && nextAt <= now)
      .toSorted((a, b) => (a.nextAt ?? 0) - (b.nextAt ?? 0))
  }
}
