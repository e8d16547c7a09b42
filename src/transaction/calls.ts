/** Calls that belong to a scope from when they are made, before they have sent anything: those of applications and recorders. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Call } from './operations.js'

/** A call that has failed. */
export interface FailedCall {
  readonly call: Call
  readonly error: unknown
}

interface RunningCall {
  readonly call: Call
  /** Whether somebody waits for it. */
  isNoticed: boolean
}

/** The calls of one scope. They take no place in it: what they send does. */
export class Calls {
  readonly #running = new Set<Call>()
  readonly #failed: Array<{ readonly running: RunningCall; readonly error: unknown }> = []
  #onIdle: () => void = nothing

  /** Those that have not ended. */
  get running(): Call[] {
    return [...this.#running]
  }

  /** Whether some have not ended. */
  get areRunning(): boolean {
    return this.#running.size > 0
  }

  /** The first that has failed, and whose failure nobody has seen. */
  get unnoticed(): FailedCall | undefined {
    const failed = this.#failed.find(({ running }) => !running.isNoticed)
    return failed === undefined ? undefined : { call: failed.running.call, error: failed.error }
  }

  /** Runs a call, at once. Nobody has to await it: a commit does. */
  run<T>(call: Call, work: () => Promise<T>): Promise<T> {
    // Before those that it makes itself.
    this.#running.add(call)
    const result = work()
    const running = { call, isNoticed: false }
    const end = (): void => {
      this.#running.delete(call)
      if (!this.areRunning) this.#onIdle()
    }
    result.then(end, (error: unknown) => {
      this.#failed.push({ running, error })
      end()
    })
    return noticed(result, () => {
      running.isNoticed = true
    })
  }

  /**
   * Waits until none runs, and what goes on after one has ended has made no other.
   *
   * @param signal - gives up waiting
   */
  async quiet(signal: AbortSignal): Promise<void> {
    while (this.areRunning && !signal.aborted) {
      await this.#idle(signal)
      await nextTurn()
    }
  }

  async #idle(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
  }
}

/** The same promise, which tells when somebody begins to wait for it: from then on its failure is his. */
function noticed<T>(promise: Promise<T>, onNoticed: () => void): Promise<T> {
  return new Proxy(promise, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property)
      if (typeof value !== 'function') return value
      onNoticed()
      return value.bind(target)
    },
  })
}

function nothing(): void {}
