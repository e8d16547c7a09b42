/** Who follows the logs of one datastore, and what tells them of new events. */
import { WakeUps } from '../persistence/wake-ups.js'
import type { Listener } from './listener.js'

/** Followers are told by writers in this process, and by a listener where there is one. */
export class LogSignals {
  readonly #listener: Listener | undefined
  readonly #followers = new Map<string, WakeUps>()
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
