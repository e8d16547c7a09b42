/** What the tests use of `embedded-postgres.mjs`. */
import type { ChildProcess } from 'node:child_process'

/** A server that is not made yet. */
export interface NewPostgres {
  readonly server: {
    readonly process?: ChildProcess
    initialise(): Promise<void>
    start(): Promise<void>
    stop(): Promise<void>
  }
  readonly folder: string
  readonly url: string
  remove(): Promise<void>
}

/** Makes one for a free port and a folder of its own, with nothing in it yet. */
export declare function newPostgres(): Promise<NewPostgres>

/** @returns a port of this machine that nobody listens on */
export declare function freePort(): Promise<number>
