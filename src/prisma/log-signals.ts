/** The logs of one datastore: who follows them, what tells of new events, and how far they are final. */

import { setTimeout as delay } from 'node:timers/promises'
import type { FollowedLog } from '../persistence/followed-log.js'
import { LogTail } from '../persistence/log-tail.js'
import { WakeUps } from '../persistence/waiting.js'

/** Followers are told by writers in this process, and by a listener where there is one. */
export class LogSignals {
  readonly #listener: Listener | undefined
  /** Those in this process who follow a log, by its channel: only where there are some. */
  readonly followers: Map<string, WakeUps> = new Map()
  #tails = new Map<string, LogTail>()
  #isClosed = false

  constructor(listener?: Listener) {
    this.#listener = listener
  }

  /** Whether writers have to notify listeners in other processes. */
  get notifies(): boolean {
    return this.#listener !== undefined
  }

  /** Calls the listener when something may have been recorded. @returns what ends that */
  follow(channel: string, listener: () => void): () => void {
    const followers = this.followers.get(channel) ?? new WakeUps()
    this.followers.set(channel, followers)
    const unfollow = followers.add(listener)
    const unlisten = this.#listener?.listen(channel, listener)
    return () => {
      unfollow()
      unlisten?.()
      if (followers.empty) this.followers.delete(channel)
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
    for (const followers of this.followers.values()) followers.wake()
    await this.#listener?.close()
  }
}

/** A connection that can listen: a `Client` of the package `pg` is one. */
export interface ListenConnection {
  /** Opens the connection. */
  connect(): Promise<unknown>
  /** Sends a statement. */
  query(sql: string): Promise<unknown>
  /** Calls back with each notification. */
  on(event: 'notification', listener: (message: { readonly channel: string }) => void): unknown
  /** Calls back when the connection is lost. */
  on(event: 'error' | 'end', listener: () => void): unknown
  /** Closes the connection. */
  end(): Promise<unknown>
}

const firstReconnectMs = 100
const longestReconnectMs = 5_000

/**
 * Connected for as long as somebody listens. A lost connection is made anew, and then all listeners are called, since
 * notifications may have been missed; meanwhile they have to look for themselves.
 */
export class Listener {
  readonly #connect: () => ListenConnection
  readonly #listenStatement: (channel: string) => string
  readonly #channels = new Map<string, WakeUps>()
  #connection: ListenConnection | undefined
  #running: Promise<void> | undefined
  #stop = new AbortController()

  constructor(connect: () => ListenConnection, listenStatement: (channel: string) => string) {
    this.#connect = connect
    this.#listenStatement = listenStatement
  }

  /** Calls the listener at each notification, and after each new connection. @returns what ends that */
  listen(channel: string, listener: () => void): () => void {
    const known = this.#channels.get(channel)
    const wakeUps = known ?? new WakeUps()
    this.#channels.set(channel, wakeUps)
    const remove = wakeUps.add(listener)
    if (known === undefined) this.#connection?.query(this.#listenStatement(channel)).catch(ignore)
    this.#running ??= this.#run()
    return () => {
      remove()
      if (wakeUps.empty) this.#channels.delete(channel)
      if (this.#channels.size === 0) this.#stop.abort()
    }
  }

  async close(): Promise<void> {
    this.#channels.clear()
    this.#stop.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    let isWarned = false
    for (let waitMs = firstReconnectMs; this.#channels.size > 0; waitMs = Math.min(longestReconnectMs, waitMs * 2)) {
      this.#stop = new AbortController()
      try {
        await this.#listenOnce(() => {
          waitMs = firstReconnectMs
          isWarned = false
        })
      } catch (error) {
        if (!isWarned) warn(error)
        isWarned = true
      }
      if (this.#channels.size > 0) await delay(waitMs, undefined, { signal: this.#stop.signal }).catch(ignore)
    }
    this.#running = undefined
  }

  /** Listens on one connection until it is lost, or nobody is left. */
  async #listenOnce(onListening: () => void): Promise<void> {
    const connection = this.#connect()
    const lost = new Promise<void>((resolve) => {
      connection.on('error', resolve)
      connection.on('end', resolve)
      this.#stop.signal.addEventListener('abort', () => resolve(), { once: true })
    })
    connection.on('notification', ({ channel }) => this.#channels.get(channel)?.wake())
    try {
      await connection.connect()
      this.#connection = connection
      for (const channel of this.#channels.keys()) await connection.query(this.#listenStatement(channel))
      onListening()
      for (const wakeUps of this.#channels.values()) wakeUps.wake()
      if (!this.#stop.signal.aborted) await lost
    } finally {
      this.#connection = undefined
      await connection.end().catch(ignore)
    }
  }
}

function warn(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  process.emitWarning(
    `The connection for LISTEN failed and is tried again; subscriptions look for themselves. ${reason}`,
    {
      code: 'ES_LISTEN_FAILED',
    },
  )
}

function ignore(): void {}

/** For so long the settled position may stand still below the last id: by then a transaction with the default deadline has ended. */
const patienceMs = 5_000

/** How often the ids of a table are compared with what they are taken from, where that takes a statement of its own. */
const betweenChecksMs = 60_000

/** What a read of a log has met. */
export interface LogLook {
  /** Up to where the log is final. */
  readonly settled: bigint
  /** The last id that was given out. */
  readonly last: bigint
}

/** Who keeps a log from being final. */
export interface LogBlocker {
  /** The server's process. */
  readonly pid: number
  /** What it does, as the server says it. */
  readonly what: string
}

/** One log. */
export class LogWatch {
  readonly #log: string
  #look: LogLook = { settled: 0n, last: 0n }
  #since: number | undefined
  #isStallTold = false
  #isFaultTold = false
  #checkedAt: number | undefined

  /** @param log - its name in messages */
  constructor(log: string) {
    this.#log = log
  }

  /** How many ids were given out that a reader must not pass yet, at the last look. */
  get unsettled(): number {
    return Number(this.#look.last - this.#look.settled)
  }

  /** For how many milliseconds the settled position has stood still below the last id. */
  get unsettledMs(): number {
    return this.#since === undefined ? 0 : Date.now() - this.#since
  }

  /** @returns whether it has stood still for long, and nobody was told yet */
  looked(look: LogLook): boolean {
    const hasMoved = look.settled !== this.#look.settled
    this.#look = look
    if (look.settled >= look.last) {
      this.#since = undefined
      this.#isStallTold = false
      return false
    }
    if (hasMoved || this.#since === undefined) {
      this.#since = Date.now()
      this.#isStallTold = false
    }
    return !this.#isStallTold && this.unsettledMs >= patienceMs
  }

  /** Warns of a log that stands still. */
  stalled(blockers: readonly LogBlocker[]): void {
    this.#isStallTold = true
    const first = blockers[0]
    const who =
      first === undefined
        ? 'a transaction that has just ended'
        : `a transaction that has written to it and has not ended: process ${first.pid} of the server (${first.what})` +
          (blockers.length > 1 ? ` and ${blockers.length - 1} more` : '')
    const cure = first === undefined ? '' : ` If it hangs, end it: SELECT pg_terminate_backend(${first.pid}).`
    process.emitWarning(
      `The log ${this.#log} is readable up to position ${this.#look.settled} only, of ${this.#look.last}, for ` +
        `${Math.round(this.unsettledMs / 1000)} seconds: all its readers and subscriptions wait for ${who}.${cure}`,
      { code: 'ES_LOG_STALLED' },
    )
  }

  /** Whether the ids are to be checked: at first, and then about once a minute. */
  get isCheckDue(): boolean {
    return this.#checkedAt === undefined || Date.now() - this.#checkedAt >= betweenChecksMs
  }

  /** Warns once of a table whose ids are wrong, and again when it was sound meanwhile. @param fault - undefined for a sound one */
  checked(fault: string | undefined): void {
    this.#checkedAt = Date.now()
    if (fault !== undefined && !this.#isFaultTold) {
      process.emitWarning(`The ids of the log ${this.#log} are wrong: ${fault}`, { code: 'ES_LOG_IDS_BEHIND' })
    }
    this.#isFaultTold = fault !== undefined
  }
}

/** The logs of one datastore. */
export class LogWatches {
  readonly #watches = new Map<string, LogWatch>()

  /** The one watch of a log, whichever recorder reads it. */
  of(log: string): LogWatch {
    const watch = this.#watches.get(log) ?? new LogWatch(log)
    this.#watches.set(log, watch)
    return watch
  }

  /** The log that is the furthest from being final. */
  get gauges(): { readonly unsettled: number; readonly unsettledMs: number } {
    let unsettled = 0
    let unsettledMs = 0
    for (const watch of this.#watches.values()) {
      unsettled = Math.max(unsettled, watch.unsettled)
      unsettledMs = Math.max(unsettledMs, watch.unsettledMs)
    }
    return { unsettled, unsettledMs }
  }
}
