/** Who decides about a response: a transaction, or several, which end in the order in which they were registered. */
import { PartialCommitError } from '../src/index.js'

/** Who decides about a response. */
export interface ResponseOwner {
  /** What it is called in messages. */
  readonly name: string
  /**
   * Is asked at the first call that would send something. The response leaves when all have resolved and is dropped when one
   * rejects.
   *
   * @returns whether something has been committed
   */
  settle(status: number, isStream: boolean): Promise<boolean>
  /** Undoes what is not committed. Never rejects. */
  rollBack(): Promise<void>
  /** Runs `fn`, and all that it calls, inside the transaction. */
  run<T>(fn: () => T): T
  /** Whether nothing can come of another attempt: the request was answered, or its client has gone away. */
  readonly isOver: boolean
  /** Whether something was done in the transaction. */
  readonly isUsed: boolean
  /** Runs the handler again, after an attempt that came to nothing; undefined where it cannot be run again. */
  readonly rerun: (() => void) | undefined
  /** Begins another attempt, where the failure may pass. @returns whether the handler is to be run again */
  again(error: unknown): Promise<boolean>
  /** Begins another attempt, since another owner does. */
  join(): void
  /** Claims the idempotency key of the request, where it has one. @returns whether the handler is to be run */
  claim(): Promise<boolean>
  /** The response was dropped: another one is to be sent. */
  dropped(error: unknown): void
}

/** Why a response is dropped, and who sees to another one. */
interface Refusal {
  readonly owner: ResponseOwner
  readonly error: unknown
}

/** The owners of one response. */
export class ResponseOwners {
  /** By the datastore, so that who takes another's place takes its turn as well; undefined for one that has left. */
  readonly #owners = new Map<object, ResponseOwner | undefined>()

  /** @param datastore - whose transaction the owner is */
  add(datastore: object, owner: ResponseOwner): void {
    this.#owners.set(datastore, owner)
  }

  /** The owner of this datastore decides no more. */
  remove(datastore: object): void {
    this.#owners.set(datastore, undefined)
  }

  /** Those that have not left, in the order in which they were registered. */
  get all(): readonly ResponseOwner[] {
    return [...this.#owners.values()].filter((owner) => owner !== undefined)
  }

  /** Runs `fn` inside the transactions of all of them. */
  run<T>(fn: () => T): T {
    return this.all.reduceRight((inner, owner) => () => owner.run(inner), fn)()
  }

  /** @returns whether the handler is to be run, as all of them say */
  async claim(): Promise<boolean> {
    for (const owner of this.all) if (!(await owner.claim())) return false
    return true
  }

  /** Whether something was done in the transaction of one of them. */
  get areUsed(): boolean {
    return this.all.some(({ isUsed }) => isUsed)
  }

  /**
   * Ends the transactions one after the other. The first that fails is the last that is tried: those after it are rolled back.
   *
   * @returns why the response is to be dropped, undefined when it is to leave
   */
  async settle(status: number, isStream: boolean): Promise<Refusal | undefined> {
    const owners = this.all
    const committed: string[] = []
    for (const [index, owner] of owners.entries()) {
      try {
        if (await owner.settle(status, isStream)) committed.push(owner.name)
      } catch (error) {
        const others = owners.slice(index + 1)
        for (const other of others) await other.rollBack()
        const rolledBack = others.map(({ name }) => name)
        return {
          owner,
          error: committed.length === 0 ? error : partial(error, { committed, failed: owner.name, rolledBack }),
        }
      }
    }
    return undefined
  }
}

function partial(
  cause: unknown,
  names: { readonly committed: string[]; readonly failed: string; readonly rolledBack: string[] },
): PartialCommitError {
  return new PartialCommitError(
    `The request is stored in part: ${names.committed.join(', ')} has committed, and ${names.failed} could not, as its cause says. ` +
      'Nothing takes back what is committed: repeat what is missing, or undo what is there.',
    { ...names, cause },
  )
}
