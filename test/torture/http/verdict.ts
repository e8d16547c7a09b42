/** Compares what the clients of a torture were answered with what is stored. */

import { Dog } from '../../application/dogs.js'
import type { TestDatabase } from '../../support/databases.js'
import type { Outcome } from './client.js'
import { expectedTopics } from './plan.js'
import { takenName } from './routes.js'

/** What is stored, by the observer. */
export interface Stored {
  /** No two are alike: the column is unique. */
  readonly rows: ReadonlySet<string>
  /** By originator id, the topics in the order of their versions. */
  readonly events: ReadonlyMap<string, readonly string[]>
}

/** The faults, each as what was seen, and what is no fault but worth knowing. */
export interface HttpVerdict {
  /** Answered with success, and not stored. */
  readonly missing: readonly string[]
  /** Stored in part: the row without exactly its events, or the events without their row. */
  readonly torn: readonly string[]
  /** Stored, although the client was answered with a failure, or nothing was to be stored. */
  readonly invented: readonly string[]
  /** Answered with a status that nobody expects, or not at all. */
  readonly misanswered: readonly string[]
  /** Stored, and the client went away before it was answered: no fault. */
  readonly unknownToClient: number
  /** Answered with success and stored. */
  readonly acknowledged: number
}

/** Reads what is stored. */
export async function readStored(database: TestDatabase): Promise<Stored> {
  const rows = await database.query('SELECT dog FROM owners')
  const events = await database.query(
    'SELECT originator_id, topic FROM trainingschool_events ORDER BY originator_id, originator_version',
  )
  const byId = new Map<string, string[]>()
  for (const { originator_id: id, topic } of events) {
    const topics = byId.get(String(id)) ?? []
    byId.set(String(id), topics)
    topics.push(String(topic))
  }
  return { rows: new Set(rows.map(({ dog }) => String(dog))), events: byId }
}

/** Judges a run. */
export function judgeRequests(outcomes: readonly Outcome[], stored: Stored): HttpVerdict {
  const judged = outcomes.map((outcome) => judge(outcome, stored))
  const told = (fault: keyof Judgement): string[] =>
    judged.flatMap((judgement, index) => (judgement[fault] ? [tell(outcomes[index])] : []))
  const count = (what: keyof Judgement): number => judged.filter((judgement) => judgement[what]).length
  return {
    missing: told('isMissing'),
    torn: told('isTorn'),
    invented: [...told('isInvented'), ...unplanned(outcomes, stored)],
    misanswered: told('isMisanswered'),
    unknownToClient: count('isUnknown'),
    acknowledged: count('isAcknowledged'),
  }
}

/** What is true of one request. */
interface Judgement {
  readonly isMissing: boolean
  readonly isTorn: boolean
  readonly isInvented: boolean
  readonly isMisanswered: boolean
  readonly isUnknown: boolean
  readonly isAcknowledged: boolean
}

function judge({ request, status, isHung }: Outcome, { rows, events }: Stored): Judgement {
  const { name, kind } = request
  const topics = events.get(Dog.createId(name)) ?? []
  const isStored = rows.has(name)
  const isAnswered = status !== undefined
  const isSuccess = isAnswered && status < 400
  return {
    isMissing: kind.stores && isSuccess && !isStored,
    isTorn: topics.join() !== (isStored ? expectedTopics.join() : ''),
    isInvented: isStored && (!kind.stores || (isAnswered && !isSuccess)),
    isMisanswered: isHung || !kind.statuses.includes(status),
    isUnknown: isStored && kind.stores && !isAnswered,
    isAcknowledged: isStored && isSuccess,
  }
}

/** What is stored, and nobody has sent. */
function unplanned(outcomes: readonly Outcome[], { rows, events }: Stored): string[] {
  const names = new Set(outcomes.map(({ request }) => request.name))
  const ids = new Set([...names, takenName].map((name) => Dog.createId(name)))
  return [
    ...[...rows].filter((name) => name !== takenName && !names.has(name)),
    ...[...events.keys()].filter((id) => !ids.has(id)).map((id) => `the events of ${id}`),
  ]
}

function tell(outcome: Outcome | undefined): string {
  if (outcome === undefined) return ''
  const { request, status, isHung } = outcome
  return `${request.name}: ${request.kind.sending} ${request.kind.path}, answered ${isHung ? 'never' : status}`
}
