/** Writers and followers at work on one database, and waits for what they come to. */
import { expect, vi } from 'vitest'
import { PrismaApplicationRecorder, type PrismaDatastore } from '../../src/index.js'
import type { TestClient } from '../prisma/open-database.js'
import { Follower } from './follower.js'
import { type Companion, Writer } from './writer.js'

const companions: readonly Companion[] = ['nothing', 'row', 'tracking', 'nothing', 'row', 'tracking', 'nothing', 'row']
const longestWaitMs = 20_000

/** What works on the database. */
export interface LoadOptions {
  /** What all writers write through. */
  readonly writing: PrismaDatastore<TestClient>
  /** What subscriptions follow, one each. */
  readonly following: ReadonlyArray<PrismaDatastore<TestClient>>
  readonly seed: number
  /** Goes with each failure. */
  readonly told: string
}

/** Eight writers, and a follower for each datastore that is to be followed, from the moment it is made. */
export class Load {
  readonly writers: readonly Writer[]
  readonly followers: readonly Follower[]
  readonly #told: string

  constructor({ writing, following, seed, told }: LoadOptions) {
    this.followers = following.map((datastore) => new Follower(new PrismaApplicationRecorder(datastore)))
    this.writers = companions.map((companion, number) => new Writer(writing, { number, companion, seed }))
    this.#told = told
  }

  /** Waits for something, as long as writers and followers go on. */
  async until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const told = this.#told
    await vi.waitFor(
      async () => {
        for (const { failure, name } of this.writers) expect(failure, `${name}, ${told}`).toBeUndefined()
        for (const { failure, hasEnded } of this.followers) {
          expect([failure, hasEnded], told).toEqual([undefined, false])
        }
        expect(await isSo(), `${what}, ${told}`).toBe(true)
      },
      { timeout: longestWaitMs, interval: 20 },
    )
  }

  /** Waits until so many more batches are acknowledged, some of each writer, and each follower was given more. */
  async goOn(batches: number): Promise<void> {
    const { writers, followers } = this
    const total = (): number => writers.reduce((sum, writer) => sum + writer.count('acknowledged'), 0)
    const before = total()
    const hasWritten = more(writers, (writer) => writer.count('acknowledged'))
    const hasFollowed = more(followers, ({ delivered }) => delivered.length)
    await this.until(() => total() - before > batches, 'batches are acknowledged')
    await this.until(hasWritten, 'every writer goes on')
    await this.until(hasFollowed, 'every follower goes on')
  }

  /** Gives the condition that from now on every writer is told of a failure. */
  writersAreTold(): () => boolean {
    return more(this.writers, ({ refusals }) => refusals)
  }

  /** Ends the writers, after what they have under way. */
  async endWriters(): Promise<void> {
    for (const writer of this.writers) await writer.stop()
  }

  /** Ends the followers once they were given so many events. */
  async endFollowers(count: number): Promise<void> {
    await this.until(() => this.followers.every(({ delivered }) => delivered.length >= count), 'all is delivered')
    for (const follower of this.followers) await follower.stop()
  }
}

/** Gives the condition that a number of each has grown since. */
function more<T>(all: readonly T[], numberOf: (each: T) => number): () => boolean {
  const before = all.map(numberOf)
  return () => all.every((each, at) => numberOf(each) > (before[at] ?? 0))
}
