/** A subscription whose consumer keeps what it is given. */
import type { Notification, PrismaApplicationRecorder, Subscription } from '../../src/index.js'

/** Follows a log from its beginning. */
export class Follower {
  readonly delivered: Notification[] = []
  /** What ended the subscription. */
  failure: unknown
  /** Whether the subscription has ended, for whatever reason. */
  hasEnded = false
  readonly #subscription: Subscription<Notification>
  readonly #following: Promise<void>

  constructor(recorder: PrismaApplicationRecorder) {
    this.#subscription = recorder.subscribe()
    this.#following = this.#follow()
  }

  async stop(): Promise<void> {
    this.#subscription.stop()
    await this.#following
  }

  async #follow(): Promise<void> {
    try {
      for await (const notification of this.#subscription) this.delivered.push(notification)
    } catch (error) {
      this.failure = error
    } finally {
      this.hasEnded = true
    }
  }
}
