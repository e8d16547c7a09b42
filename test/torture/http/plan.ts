/** What a torture of the request transaction is to do: the settings of the server and of its clients. */
import type { TestDatabaseKind } from '../../support/databases.js'

/** Ways to break the promise, to show that the torture finds it. */
export const mutations = ['answer before the commit', 'commit what failed', 'forget to roll back'] as const

export type Mutation = (typeof mutations)[number]

/** What the process of the server is told. */
export interface ServerPlan {
  /** The name of one of `frameworks`. */
  readonly framework: string
  /** The name of one of `databases`. */
  readonly database: string
  readonly url: string
  readonly provider: TestDatabaseKind['provider']
  readonly mutation: Mutation | undefined
}

/** How a whole run goes. */
export interface HttpTortureSettings {
  readonly framework: string
  /** How many good requests, and how many hostile ones. */
  readonly requests: number
  readonly seed: number
  readonly mutation?: Mutation
  /** After how many milliseconds the run is given up; default ten minutes. */
  readonly longestMs?: number
}

/** What the server is asked between its requests. */
export type Question = 'heap' | 'isWhole' | 'close'

/** What it says of itself. */
export interface ServerState {
  /** Bytes in use after a garbage collection. */
  readonly heapUsed: number
  /** Whether every connection of the pool could be used at the same time, or, at the end, whether every transaction had ended. */
  readonly isWhole: boolean
  /** Rejections that nobody handled, and errors that nobody caught. */
  readonly unhandled: readonly string[]
}

/** How many requests are under way at a time. */
export const inFlight = 32

/** How many connections the pool has. */
export const poolSize = 10

/** The events that a request which stores something stores beside its row. */
export const expectedTopics = ['Dog.Registered', 'Dog.TrickAdded'] as const
