/** What runs have left that must not be, in words. */
import { AssertionError } from 'node:assert/strict'
import type { FaultKind } from './fault.js'
import type { Trial } from './fault-trials.js'
import { changesText, isSameChange, isUnchanged, type TableChange } from './table-contents.js'

/** One fault at one statement. */
export interface FaultPlace {
  readonly kind: FaultKind
  /** From 1. */
  readonly statementNumber: number
  readonly statement: string
}

/** Something that must not be. */
export interface Finding {
  readonly place: FaultPlace
  /** Whether it is about the run after the one with the fault. */
  readonly isAfterwards: boolean
  readonly trial: Trial
  /** What would have been right. */
  readonly rule: string
  /** Whether later runs would only meet what this one has left behind. */
  readonly isFinal: boolean
}

type Broken = Pick<Finding, 'rule' | 'isFinal'>

const longestStatement = 120

const happened: Readonly<Record<FaultKind, string>> = {
  failed: 'the driver failed before it was sent',
  disconnected: 'the connection was lost before it was sent',
  unanswered: 'it was carried out, and the connection was lost before the answer',
  conflict: 'the database refused it for another transaction',
  delayed: 'it was late',
}

/**
 * Looks at a run with a fault.
 *
 * @param all - what a run without a fault changes
 * @returns undefined when all is well
 */
export function findingIn(place: FaultPlace, trial: Trial, all: readonly TableChange[]): Finding | undefined {
  const broken = unfinished(trial) ?? (trial.isStruck ? mistold(trial, all) : unstruck)
  return broken === undefined ? undefined : { ...broken, place, trial, isAfterwards: false }
}

/**
 * Looks at the run after one with a fault.
 *
 * @returns undefined when all is well
 */
export function findingAfter(place: FaultPlace, trial: Trial, all: readonly TableChange[]): Finding | undefined {
  const broken = unfinished(trial) ?? (trial.told?.verdict === 'success' ? mistold(trial, all) : unserved)
  return broken === undefined ? undefined : { ...broken, place, trial, isAfterwards: true }
}

const unstruck: Broken = {
  rule: 'This time fewer statements were sent. The work has to send the same ones each time: use `n`, or `reset`.',
  isFinal: false,
}

const unserved: Broken = { rule: 'The next run, without a fault, has to succeed.', isFinal: true }

function unfinished({ told, leftOpen }: Trial): Broken | undefined {
  if (told === undefined) return { rule: 'A run has to come to an end.', isFinal: true }
  return leftOpen > 0
    ? { rule: 'Every transaction has to end, and every statement, when the caller has been told.', isFinal: true }
    : undefined
}

function mistold({ told, changes }: Trial, all: readonly TableChange[]): Broken | undefined {
  const isAll = isSameChange(changes, all)
  if (told?.verdict === 'success') {
    return isAll ? undefined : { rule: 'After a success everything has to be stored, and once.', isFinal: false }
  }
  if (isUnchanged(changes)) return undefined
  if (told?.verdict === 'failure') return { rule: 'After a failure nothing may be stored.', isFinal: false }
  return isAll ? undefined : { rule: 'Where nobody knows, it has to be all or nothing.', isFinal: false }
}

/**
 * Makes the error that tells of them all.
 *
 * @param count - how many faults there were
 * @param stackStartFn - what the test has called
 */
export function findingsError(
  findings: readonly Finding[],
  {
    count,
    all,
    stackStartFn,
  }: { count: number; all: readonly TableChange[]; stackStartFn: (...args: never[]) => unknown },
): AssertionError {
  const wrong = new Set(findings.map(({ place }) => place)).size
  const head = `Something is wrong after ${wrong} of ${count} faults. Without a fault a run stores: ${changesText(all)}`
  const message = [head, ...findings.map((finding, index) => `${index + 1}. ${textOf(finding)}`)].join('\n\n')
  const error = new AssertionError({ message, stackStartFn })
  const cause = findings.map(({ trial }) => trial.told?.error).find((found) => found !== undefined)
  return cause === undefined ? error : Object.assign(error, { cause })
}

/** When the work does not even do without a fault. */
export function brokenWithoutFault(
  { told, leftOpen }: Trial,
  stackStartFn: (...args: never[]) => unknown,
): AssertionError {
  const end = leftOpen > 0 ? `left ${leftOpen} transactions open` : `came to: ${told?.text ?? 'no end'}`
  const message = `A run without a fault ${end}. It has to succeed before faults can say anything.`
  const error = new AssertionError({ message, stackStartFn })
  return told?.error === undefined ? error : Object.assign(error, { cause: told.error })
}

function textOf({ place, trial, rule, isAfterwards }: Finding): string {
  const { told, changes, leftOpen } = trial
  return [
    `Statement ${place.statementNumber}, ${place.kind} (${happened[place.kind]}): ${shortened(place.statement)}`,
    ...(isAfterwards ? ['   and then a run without a fault'] : []),
    `   told:   ${told?.text ?? 'nothing, until the time was over'}`,
    `   stored: ${leftOpen > 0 ? 'unknown, while something is under way' : changesText(changes) || 'not looked at'}`,
    `   ${rule}`,
  ].join('\n')
}

function shortened(sql: string): string {
  const line = sql.replace(/\s+/g, ' ').trim()
  return line.length > longestStatement ? `${line.slice(0, longestStatement)}…` : line
}
