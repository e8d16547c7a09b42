/** What a torture run is to do: the settings that the parent gives to its writers and readers. */
import type { LogOrder } from '../../src/index.js'
import type { TestDatabaseKind } from '../support/databases.js'

/** Who follows the log, and how. */
export const readerRoles = ['polling', 'subscribing', 'listening', 'crowd', 'restarting', 'plain'] as const

export type ReaderRole = (typeof readerRoles)[number]

/** How a whole run goes. */
export interface TorturePlan {
  /** The name of one of `databases`. */
  readonly database: string
  readonly url: string
  readonly provider: TestDatabaseKind['provider']
  /** How many writer processes. */
  readonly writers: number
  /** How many processes write as the Python library does, by plain SQL under its table lock; PostgreSQL alone. */
  readonly pythonWriters: number
  /** What keeps the log in order on PostgreSQL. */
  readonly order: LogOrder
  /** How many events, at least, by the count of the database. */
  readonly events: number
  readonly seed: number
  /** Whether the order of the log is protected, as the library does it, or not. */
  readonly isProtected: boolean
  /** How many milliseconds a transaction stays open after its save, at most. */
  readonly longestOpenMs: number
  /** How many times a writer is killed and replaced, and, at most, the reader that restarts. */
  readonly kills: number
  /** Those that follow the log; only PostgreSQL knows `listening` and `plain`. */
  readonly readers: readonly ReaderRole[]
}

/** What one process is told. */
export interface WorkerPlan extends TorturePlan {
  readonly role: 'writer' | 'python' | ReaderRole
  /** Which of its role it is. */
  readonly number: number
  /** How often the process was replaced before. */
  readonly incarnation: number
  /** Where it writes what it has done, one line each. */
  readonly report: string
}

/** The table in which the reader that restarts keeps what it has seen. */
export const seenTable = 'torture_seen'

/** Numbers from 0 up to 1 that a seed determines: a linear congruential generator modulo 2^32, well shuffled at its start. */
export function randomNumbers(...seeds: readonly number[]): () => number {
  let state = seeds.reduce((mixed, seed) => Math.imul(mixed ^ seed, 2_654_435_761) >>> 0, 0x9e37_79b9)
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  for (let n = 0; n < 8; n += 1) next()
  return next
}

/** The time that all processes of this machine share, in milliseconds with fractions. */
export function now(): number {
  return performance.timeOrigin + performance.now()
}
