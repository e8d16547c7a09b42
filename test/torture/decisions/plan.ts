/** What a torture of decisions is to do. */
import type { TestDatabaseKind } from '../../support/databases.js'

/** What is left out, to show that the judge finds what comes of it. */
export const variants = ['guarded', 'no-locks', 'one-statement', 'one-after', 'plain-read'] as const

export type Variant = (typeof variants)[number]

/** How hard to torture. */
export interface DecisionSettings {
  readonly seconds: number
  readonly writers: number
  readonly processes: number
  readonly seed: number
  readonly variant: Variant
}

/** The task of one process. */
export interface DecisionPlan extends DecisionSettings {
  readonly database: TestDatabaseKind['name']
  readonly provider: TestDatabaseKind['provider']
  readonly url: string
  readonly number: number
}

/** What one process has met. */
export interface Counts {
  committed: number
  refused: number
  rolledBack: number
  conflicts: number
  deadlocks: number
  readonly others: Record<string, number>
}

/** So long courses and students are used, then others: nobody has a seat left. */
export const generationMs = 2_000
export const coursesAtOnce = 14
export const studentsAtOnce = 12
export const seats = 10
export const mostCourses = 10
