/** Hooks and listeners for the end of a unit of work. */
import { outsideOfTransactions } from './context.js'

/** Those of one scope. */
export class EndListeners {
  readonly #onExpired: Array<(error: Error) => void> = []
  readonly #onEnded: Array<() => void> = []

  /** Calls back once the deadline has passed and the rollback is done. */
  onExpired(listener: (error: Error) => void): void {
    this.#onExpired.push(listener)
  }

  /** Calls back once the scope has ended, however it did. */
  onEnded(listener: () => void): void {
    this.#onEnded.push(listener)
  }

  /** Tells that it was ended from outside. */
  expired(error: Error): void {
    for (const listener of this.#onExpired) listener(error)
  }

  /** Tells that it has ended. */
  ended(): void {
    for (const listener of this.#onEnded) listener()
  }
}

/** A function to run after the end; a promise is awaited before the next one runs. */
export type Hook = () => unknown

/** Collects hooks while a transaction is open. */
export class Hooks {
  readonly #afterCommit: Hook[] = []
  readonly #afterRollback: Hook[] = []
  #settled: () => void = nothing

  /** Adds a function for the case that the transaction commits. */
  afterCommit(hook: Hook): void {
    this.#afterCommit.push(hook)
  }

  /** Adds a function for the case that the transaction rolls back. */
  afterRollback(hook: Hook): void {
    this.#afterRollback.push(hook)
  }

  /** Calls back once the transaction has ended and the hooks for that have run. */
  onSettled(listener: () => void): void {
    this.#settled = listener
  }

  /** Takes over the hooks of a nested scope that has ended well: the outer transaction decides now. */
  adopt(nested: Hooks): void {
    this.#afterCommit.push(...nested.#afterCommit)
    this.#afterRollback.push(...nested.#afterRollback)
  }

  /** Runs the commit hooks in order. None can fail the caller: the data is stored, whatever a hook does. */
  async committed(): Promise<void> {
    if (this.#afterCommit.length > 0) await runAll(this.#afterCommit, 'afterCommit')
    this.#settled()
  }

  /** Runs the rollback hooks in order. */
  async rolledBack(): Promise<void> {
    if (this.#afterRollback.length > 0) await runAll(this.#afterRollback, 'afterRollback')
    this.#settled()
  }

  /** Runs none: nobody knows how the transaction has ended. */
  skipped(): void {
    this.#settled()
  }
}

function nothing(): void {}

async function runAll(hooks: readonly Hook[], name: string): Promise<void> {
  for (const hook of hooks) {
    try {
      await outsideOfTransactions(hook)
    } catch (error) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      process.emitWarning(`A function given to ${name} failed, which changes nothing that is stored. ${reason}`, {
        code: 'ES_HOOK_FAILED',
      })
    }
  }
}
