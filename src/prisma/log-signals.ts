/** Who follows the logs of one datastore, and what tells them of new events. */
import type { FollowedLog } from '../persistence/followed-log.js'
import { LogTail } from '../persistence/log-tail.js'
import { WakeUps } from '../persistence/wake-ups.js'
import type { Listener } from './listener.js'

/** Followers are told by writers in this process, and by a listener where there is one. */
export class LogSignals {
  readonly #listener: Listener | undefined
  readonly #followers = new Map<string, WakeUps>()
  #tails = new Map<string, LogTail>()
  #isClosed = false

  constructor(listener?: Listener) {
    this.#listener = listener
  }

  /** Whether writers have to notify listeners in other processes. */
  get notifies(): boolean {
    return this.#listener !== undefined
  }

  /** Those in this process who follow a log, undefined when there are none. */
  followersOf(channel: string): WakeUps | undefined {
    return this.#followers.get(channel)
  }

  /** Calls the listener when something may have been recorded. @returns what ends that */
  follow(channel: string, listener: () => void): () => void {
    const followers = this.#followers.get(channel) ?? new WakeUps()
    this.#followers.set(channel, followers)
    const unfollow = followers.add(listener)
    const unlisten = this.#listener?.listen(channel, listener)
    return () => {
      unfollow()
      unlisten?.()
      if (followers.empty) this.#followers.delete(channel)
    }
  }

  /** The end of a log, which all share who follow it. @param table - tells the log from others of this database */
  tailOf(table: string, log: FollowedLog): LogTail {
    const tails = this.#tails
    const known = tails.get(table)
    if (known !== undefined) return known
    const tail = new LogTail(log, () => {
      if (tails.get(table) === tail) tails.delete(table)
    })
    tails.set(table, tail)
    return tail
  }

  /** Runs work whose subscriptions share nothing with those before and after it, since what it stores is undone. */
  async apart<T>(work: () => Promise<T>): Promise<T> {
    this.#tails = new Map()
    try {
      return await work()
    } finally {
      this.#tails = new Map()
    }
  }

  /** Whether the datastore is closed. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Ends all subscriptions. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const followers of this.#followers.values()) followers.wake()
    await this.#listener?.close()
  }
}
