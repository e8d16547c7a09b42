/** A Prisma interactive transaction that lives inside one of ours, for the user's models and raw queries. */
import type { Guest } from '../transaction/session.js'
import type { PrismaClientLike } from './prisma-client.js'

/** The largest delay of a Node timer: Prisma's own limits must never be the ones that end a transaction. */
const longestDelayMs = 2_147_483_647

/** Ends Prisma's transaction; nobody sees it. */
const rolledBack = new Error('rolled back')

/** Opened at the first use of the client inside a transaction; ended by it, just before its own end. */
export class PrismaGuest implements Guest {
  /** The client that Prisma passes to the callback of `$transaction`. */
  readonly client: Promise<object>
  readonly #done: Promise<unknown>
  #finish: (commit: boolean) => void = ignore

  /** @param base - a PrismaClient on the datastore's adapter; call this in the context that makes the adapter see a guest */
  constructor(base: PrismaClientLike) {
    const finished = new Promise<void>((resolve, reject) => {
      this.#finish = (commit) => (commit ? resolve() : reject(rolledBack))
    })
    // It may be rejected before Prisma gets to awaiting it.
    finished.catch(ignore)
    let done: Promise<unknown> | undefined
    this.client = new Promise((resolve, reject) => {
      // Prisma writes into the options, so each call gets its own.
      const options = { maxWait: longestDelayMs, timeout: longestDelayMs }
      done = base.$transaction(async (client) => {
        resolve(client)
        await finished
      }, options)
      done.catch(reject)
    })
    this.client.catch(ignore)
    this.#done = done ?? Promise.resolve()
    this.#done.catch(ignore)
  }

  async end(commit: boolean): Promise<void> {
    this.#finish(commit)
    try {
      await this.#done
    } catch (error) {
      if (error !== rolledBack && commit) throw error
    }
  }
}

function ignore(): void {}
