/** The operations of guests that run in a scope, such as the calls on a PrismaClient. */
import { type EventSourcingError, isEventSourcingError } from '../errors.js'
import { AsyncContext } from './context.js'

interface Operation {
  readonly all: Operations
  /** An error of ours, which the guest may hide in one of its own. */
  failure?: EventSourcingError
}

/** The operation that the code runs in. */
const currentOperation = new AsyncContext<Operation>()

/**
 * Whether the code runs in an operation of some scope, or seems to: Prisma sends what is asked for in one tick in the
 * context of the first that asked.
 */
export function seemsInsideOperation(): boolean {
  return currentOperation.get() !== undefined
}

/** Those of one scope. */
export class Operations {
  readonly #running = new Set<Operation>()

  /** Whether the code runs in one of them. */
  get isInside(): boolean {
    return currentOperation.get()?.all === this
  }

  /** Runs one. When it fails after an error of ours, it rejects with that. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const operation: Operation = { all: this }
    this.#running.add(operation)
    try {
      return await currentOperation.run(operation, work)
    } catch (error) {
      throw operation.failure ?? error
    } finally {
      this.#running.delete(operation)
    }
  }

  /** @param isOfGuest - whether what failed was sent by one of them, in whatever context */
  recordFailure(error: unknown, isOfGuest: boolean): void {
    if (!isEventSourcingError(error)) return
    const operation = currentOperation.get()
    if (operation?.all === this) operation.failure = error
    else if (isOfGuest) for (const running of this.#running) running.failure ??= error
  }
}
