/** For tests of applications: in memory, or on a real database of which nothing is left behind, with a clock and ids that are the same in each run. */

import type { Application } from '../application/application.js'
import type { ApplicationOptions } from '../application/application-options.js'
import { setIdSource } from '../domain/names.js'
import { createTimestamp, setClock, Timestamp } from '../domain/timestamp.js'
import type { EnvironmentVariables } from '../persistence/environment.js'
import { engineOf } from '../prisma/engine.js'
import type { ScenarioEvent } from './scenario-outcome.js'

/**
 * Makes an application that keeps its events in memory, whatever `process.env` says: about persistence, ciphers, compressors,
 * snapshots and caches. What the class says in its `static env`, and the option `env`, count.
 *
 * There are no transactions in memory: what a `save` stores is stored together, and `recorder.transaction` is refused.
 *
 * @param applicationClass - its constructor has to give its options on to `Application`
 * @param options - as the application takes them, but for `datastore`, `factory` and `store`
 *
 * @example
 * const school = inMemory(TrainingSchool)
 * await school.register('Fido')
 * deepStrictEqual(await storedEvents(school), [{ id, version: 1, type: 'Dog.Registered', data: { name: 'Fido' } }])
 */
export function inMemory<Client, A extends Application<Client>>(
  applicationClass: new (options: ApplicationOptions<Client>) => A,
  options: Omit<ApplicationOptions<Client>, 'datastore' | 'factory' | 'store'> = {},
): A {
  const env = { ...withoutProcess(applicationClass), ...options.env }
  return new applicationClass({ ...options, env, store: 'memory' })
}

/** The variables that would change what an application with a factory does. */
const variables = [
  'CIPHER_TOPIC',
  'CIPHER_KEY',
  'CIPHER_KEYS',
  'COMPRESSOR_TOPIC',
  'IS_SNAPSHOTTING_ENABLED',
  'AGGREGATE_CACHE_MAXSIZE',
  'AGGREGATE_CACHE_FASTFORWARD',
  'AGGREGATE_CACHE_FASTFORWARD_SKIPPING',
  'DEEPCOPY_FROM_AGGREGATE_CACHE',
]

/** Hides what the process has of them, with any prefix, behind what the class has. */
function withoutProcess(applicationClass: object): EnvironmentVariables {
  const own = (applicationClass as typeof Application).env // a class of applications has it, or not
  const hidden: Record<string, string> = {}
  for (const key of Object.keys(process.env)) {
    const variable = variables.find((name) => key === name || key.endsWith(`_${name}`))
    if (variable !== undefined) hidden[key] = own?.[key] ?? own?.[variable] ?? ''
  }
  return hidden
}

/** An event as it was stored, as tests compare it. */
export interface RecordedEvent extends ScenarioEvent {
  /** The originator's id. */
  readonly id: string
  /** The event's version. */
  readonly version: number
  /** The topic: the name of the class or decider, a dot, the name of the event. */
  readonly type: string
  /** Its data. */
  readonly data: object
}

/** All events that an application has stored, in the order of its log; for tests, since they are all in memory. */
export async function storedEvents<Client>(application: Application<Client>): Promise<RecordedEvent[]> {
  const store = await application.eventStore()
  const recorded: RecordedEvent[] = []
  const pageSize = 500
  for (let start: bigint | null = null; ; ) {
    const page = await application.recorder.selectNotifications(start, pageSize, { inclusiveOfStart: false })
    for (const { originatorId, originatorVersion, topic, data } of await store.toDomainEvents(page)) {
      recorded.push({ id: originatorId, version: originatorVersion, type: topic, data: { ...data } })
    }
    const last = page.at(-1)
    if (last === undefined || page.length < pageSize) return recorded
    start = last.id
  }
}

/** When a test ends that does not come to an end. */
export interface RollbackOptions {
  /** Rolls back at once, for what the test framework has given up: Vitest and `node:test` pass such a signal to every test. */
  readonly signal?: AbortSignal
  /** Milliseconds until the test is rolled back; default 60,000. */
  readonly deadlineMs?: number
}

/**
 * Runs a test in a transaction of the datastore that is always rolled back.
 *
 * The code under test does not notice: its own transactions begin, commit, roll back, run their hooks and are repeated as
 * they are otherwise, as savepoints of the test's transaction; what it does outside of any is kept until the end of the test.
 * That holds for everything on the datastore, also for requests that reach a server in this process over a socket. Other
 * connections, such as those of another datastore, see nothing of it.
 *
 * What is different: transactions take turns, so that one must not wait for another; one with the propagation `requiresNew`
 * is undone with the one that it was begun in, and on PostgreSQL it cannot begin once a statement has failed in that;
 * `isolationLevel` and `readOnly` have no effect; constraints that a database checks at COMMIT are not checked; numbers from
 * sequences are used up; and on MariaDB and MySQL, statements such as CREATE TABLE end the test's transaction and store what
 * it has done, as a deadlock undoes it: either way everything that comes after is refused.
 *
 * What the test leaves running is refused after its end. Only a request that has not opened its transaction by then, or has
 * none, cannot be told from any other: await every request. Subscriptions read what the test stores. Begin them in the test,
 * since on SQLite and MariaDB the same ids are given again afterwards; begin servers outside, since what belongs to a test is
 * refused after it.
 *
 * @param datastore - a `PrismaDatastore` that runs no other test at the same time
 * @returns what `test` gives
 * @throws what `test` throws; `ProgrammingError` when another test runs on the datastore, or inside of a transaction;
 *   `TransactionTimeoutError` at the deadline; the reason of the signal; `InterfaceError` where somebody else manages the
 *   transactions
 *
 * @example
 * it('registers a dog', ({ signal }) =>
 *   withRollback(datastore, async () => {
 *     await school.register('Fido')
 *     expect(await db.owner.count()).toBe(1)
 *   }, { signal }))
 */
export async function withRollback<T>(
  datastore: object,
  test: () => Promise<T>,
  { signal, deadlineMs = 60_000 }: RollbackOptions = {},
): Promise<T> {
  return await engineOf(datastore).rehearse(test, { signal, deadlineMs })
}

/** Something that was put in the place of what is used otherwise. */
export interface Replacement extends Disposable {
  /** Puts back what was there before; harmless when that was done. The end of a `using` block does it, too. */
  restore(): void
}

/** A clock that a test sets. */
export interface FixedClock extends Replacement {
  /** The time that the next event gets. */
  readonly now: Timestamp
  /** Moves it on. */
  advance(milliseconds: number): void
}

/** How a fixed clock goes. */
export interface FixedClockOptions {
  /** Milliseconds that it moves on by with each event; default 1. With 0, events have equal times. */
  readonly stepMs?: number
}

const microsecondsPerMillisecond = 1000

let current: FixedClock | undefined

/**
 * Replaces the clock of this library in this process: events get times from `start` on. `Date.now()` stays what it is.
 *
 * @param start - default 2026-01-01 00:00 UTC
 * @throws `ProgrammingError` when it is replaced already
 * @throws `RangeError` for a time that is none
 *
 * @example
 * using clock = fixedClock('2026-05-01T10:00:00Z')
 */
export function fixedClock(
  start: Date | string = '2026-01-01T00:00:00Z',
  { stepMs = 1 }: FixedClockOptions = {},
): FixedClock {
  let next = microsecondsOf(typeof start === 'string' ? Timestamp.fromISO(start) : Timestamp.from(start))
  const step = inMicroseconds(stepMs)
  const putBack = setClock(() => {
    const now = next
    next += step
    return now
  })
  const restore = (): void => {
    putBack()
    if (current === clock) current = undefined
  }
  const clock: FixedClock = {
    get now() {
      return Timestamp.fromMicroseconds(next)
    },
    advance(milliseconds) {
      next += inMicroseconds(milliseconds)
    },
    restore,
    [Symbol.dispose]: restore,
  }
  current = clock
  return clock
}

/** A time that is not after the one that the next event gets; a fixed clock is not moved on by it. */
export function nextTime(): Timestamp {
  return current?.now ?? createTimestamp()
}

/** Microseconds since 1970 in UTC. */
export function microsecondsOf(time: Timestamp): number {
  return Math.round(time.valueOf() * microsecondsPerMillisecond)
}

function inMicroseconds(milliseconds: number): number {
  if (Number.isFinite(milliseconds)) return Math.round(milliseconds * microsecondsPerMillisecond)
  throw new RangeError(`Cannot move a clock by ${milliseconds} milliseconds`)
}

/**
 * Replaces the random ids of new aggregates in this process: they are 00000000-0000-4000-8000-000000000001, …2, and so on.
 *
 * @throws `ProgrammingError` when they are replaced already
 */
export function fixedIds(): Replacement {
  let count = 0
  const restore = setIdSource(() => {
    count += 1
    return `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`
  })
  return { restore, [Symbol.dispose]: restore }
}
