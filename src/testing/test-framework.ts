/** What the contracts need of a test framework, by shape, so that any framework fits; how their cases are declared with it, and what they store and expect. */
import { NAMESPACE_URL, uuid5 } from '../domain/names.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'

/** What is known of a value, as `expect` gives it. */
export interface Expectation {
  /**
   * Throws unless the value equals another one: plain objects and lists by their content, everything else by its value.
   *
   * @param expected - what the value has to be equal to
   */
  readonly toEqual: (expected: unknown) => unknown
}

/** Begins an expectation of a value. */
export type Expect = (actual: unknown) => Expectation

/**
 * The functions of a test framework: `{ describe, it, expect }` of vitest and of jest as they are, those of `node:test` with an
 * `expect` over `node:assert`.
 */
export interface TestFramework {
  /** Declares a group of cases. */
  readonly describe: (name: string, declareCases: () => void) => unknown
  /** Declares a case, which fails when its promise rejects. */
  readonly it: (name: string, run: () => Promise<void>) => unknown
  /** Compares. */
  readonly expect: Expect
}

/** A recorder on an empty store, and what goes with it. */
export interface RecorderUnderTest<Recorder> {
  /** The recorder that is held to its contract. */
  readonly recorder: Recorder
  /** Gives the n-th id of the kind that the recorder is made for, always the same for the same n; default: UUIDs. */
  readonly originatorId?: (n: number) => string
  /** Called at the end of the case, also of one that failed. */
  readonly dispose?: () => Promise<void>
}

/** Makes a recorder for one case. What it gives must be empty, and nobody else may write to it. */
export type MakeRecorder<Recorder> = () => Promise<RecorderUnderTest<Recorder>>

/** What a case works with. */
export interface Subject<Recorder> {
  readonly recorder: Recorder
  readonly originatorId: (n: number) => string
  readonly expect: Expect
}

/** Cases by their names. */
export type Cases<Recorder> = Readonly<Record<string, (subject: Subject<Recorder>) => Promise<void>>>

/** Declares cases. Each makes its recorder and disposes of it, so that the framework needs no hooks. */
export function declareCases<Recorder>(
  framework: TestFramework,
  name: string,
  cases: Cases<Recorder>,
  makeRecorder: MakeRecorder<Recorder>,
): void {
  const { describe, it, expect } = framework
  describe(name, () => {
    for (const [caseName, run] of Object.entries(cases)) {
      it(caseName, async () => {
        const { recorder, originatorId = uuidOf, dispose } = await makeRecorder()
        try {
          await run({ recorder, originatorId, expect })
        } finally {
          await dispose?.()
        }
      })
    }
  })
}

function uuidOf(n: number): string {
  return uuid5(NAMESPACE_URL, `/${n}`)
}

/** A class of errors. */
type ErrorClass<E extends Error> = new (...args: never[]) => E

/**
 * Waits for a promise to reject with an error of a class.
 *
 * @returns the error
 */
export async function expectError<E extends Error>(
  { expect }: Pick<Subject<unknown>, 'expect'>,
  promise: Promise<unknown>,
  errorClass: ErrorClass<E>,
): Promise<E> {
  const error: unknown = await promise.then(
    () => 'no error',
    (reason: unknown) => reason,
  )
  if (error instanceof errorClass) return error
  expect(String(error)).toEqual(`an error of class ${errorClass.name}`)
  throw new Error(`Expected an error of class ${errorClass.name}`, { cause: error })
}

/**
 * Waits for promises of which exactly one is to succeed.
 *
 * @returns the index of the one that did
 */
export async function expectOneSuccess<E extends Error>(
  subject: Pick<Subject<unknown>, 'expect'>,
  promises: ReadonlyArray<Promise<unknown>>,
  errorClass: ErrorClass<E>,
): Promise<number> {
  const results = await Promise.allSettled(promises)
  const winners = results.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []))
  subject.expect({ successes: winners.length }).toEqual({ successes: 1 })
  for (const result of results) {
    if (result.status === 'rejected') await expectError(subject, Promise.reject(result.reason as Error), errorClass)
  }
  return winners[0] ?? 0
}

/** A stored event whose topic and state tell its version, unless they are given. */
export function storedEvent(
  originatorId: string,
  originatorVersion: number,
  given: Partial<Pick<StoredEvent, 'topic' | 'state'>> = {},
): StoredEvent {
  const { topic = `topic${originatorVersion}`, state = new TextEncoder().encode(`state${originatorVersion}`) } = given
  return { originatorId, originatorVersion, topic, state }
}

/** Events of one originator, with the versions from `first` on. */
export function storedEvents(originatorId: string, count: number, first = 1): StoredEvent[] {
  return Array.from({ length: count }, (_, index) => storedEvent(originatorId, first + index))
}

/** The versions of events, in their order. */
export function versionsOf(events: readonly StoredEvent[]): number[] {
  return events.map(({ originatorVersion }) => originatorVersion)
}

/** The ids of notifications, in their order, as numbers. */
export function idsOf(notifications: ReadonlyArray<Pick<Notification, 'id'>>): number[] {
  return notifications.map(({ id }) => Number(id))
}

/** The content of events, so that any test framework compares it: the bytes of a state as numbers. */
export function contentOf(events: readonly StoredEvent[]): unknown[] {
  return events.map(({ originatorId, originatorVersion, topic, state }) => ({
    originatorId,
    originatorVersion,
    topic,
    state: [...state],
  }))
}

const modulus = 2 ** 31 - 1

/** A seed that differs from run to run. */
export function newSeed(): number {
  return 1 + Math.floor(Math.random() * (modulus - 1))
}

/**
 * Numbers from 0 up to 1, the same for the same seed: the minimal standard generator.
 *
 * @param seed - from 1 to 2^31 - 2
 */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    // Below 2^47, so every product is exact.
    state = (state * 48_271) % modulus
    return state / modulus
  }
}
