/** The order of the test files: those that take long begin early, so that the workers end together, but not all at once. */
import { BaseSequencer, type TestSpecification } from 'vitest/node'
import { alone } from './recycled-forks.js'

/** Parts of paths, the longest first; most of these keep several processes busy. */
const longest = ['/first-hour/', '/runtimes/', '/torture/', '/guides/projections', '/restarts/', '/bounds/', '/readme/']

const rankOf = ({ moduleId }: TestSpecification): number => longest.findIndex((part) => moduleId.includes(part))

/** The part of the other files that is left to run when the last of the longest begins. */
const leftOver = 0.4

/** As a sequencer of Vitest. Otherwise files run by how long they took in the run before, or else by their size. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const long = sorted.filter((file) => rankOf(file) !== -1).toSorted((one, other) => rankOf(one) - rankOf(other))
    // Those with a process of their own first: where one of them comes between the others, their process ends.
    const others = sorted
      .filter((file) => rankOf(file) === -1)
      .toSorted((one, other) => Number(alone.test(other.moduleId)) - Number(alone.test(one.moduleId)))
    const between = Math.floor((others.length * (1 - leftOver)) / Math.max(1, long.length))
    return [...long.flatMap((file) => [file, ...others.splice(0, between)]), ...others]
  }
}
