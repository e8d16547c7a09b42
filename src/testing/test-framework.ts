/** What the contracts need of a test framework, by shape, so that any framework fits; and how their cases are declared with it. */
import { NAMESPACE_URL, uuid5 } from '../domain/uuid.js'

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
