/** A test framework that collects cases instead of running them, to look at the contracts themselves. */
import { deepStrictEqual } from 'node:assert'
import type { Expectation, TestFramework } from '../../src/testing/index.js'

/** One case. */
export interface CollectedCase {
  readonly name: string
  readonly run: () => Promise<void>
}

/** The cases that a contract declares. */
export function collectCases(declare: (framework: TestFramework) => void): CollectedCase[] {
  const cases: CollectedCase[] = []
  const framework: TestFramework & { readonly expect: (...values: unknown[]) => Expectation } = {
    describe: (_name, declareCases) => declareCases(),
    it: (name, run) => cases.push({ name, run }),
    expect(actual, ...others) {
      // Some frameworks refuse a message beside the value.
      deepStrictEqual(others, [])
      return { toEqual: (expected) => deepStrictEqual(actual, expected) }
    },
  }
  declare(framework)
  return cases
}

/** Runs cases one after the other. @returns the names of those that fail */
export async function failing(cases: readonly CollectedCase[]): Promise<string[]> {
  const names: string[] = []
  for (const { name, run } of cases) {
    try {
      await run()
    } catch {
      names.push(name)
    }
  }
  return names
}

/** The numbers of the behaviours that a case stands for. */
export function numbersOf(name: string): number[] {
  const list = /\[([\d, ]+)\]/.exec(name)?.[1]
  return list === undefined ? [] : list.split(',').map(Number)
}
