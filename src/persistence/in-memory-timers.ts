/** Timers in memory: for tests, and for applications in memory. */
import type {
  DueTimer,
  PendingTimer,
  SelectTimersOptions,
  StoredTimer,
  TimerFailure,
  TimerRecorder,
} from './timer-recorder.js'
import { WakeUps } from './wake-ups.js'

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
