/** The doctor's findings in the tables of projections: their status, and the owners of their leases. */
import {
  beyondEndCure,
  beyondEndText,
  isBeyondEnd,
  type ProjectionRow,
  reactionVersion,
} from '../persistence/projection-recorder.js'
import type { StatementRunner } from '../prisma/connections.js'
import type { Finding, ProjectionTables, TimersTable } from '../prisma/dialect.js'
import { counted } from './project.js'

/** Where a log ends. */
export interface LogEnd {
  /** The last position that is final; 0 for an empty log. */
  readonly final: bigint
  /** The last one that was given out; 0 for none. */
  readonly given: bigint
}

/** Where to look. */
export interface ProjectionPlace {
  /** The name of the table of their positions, for the findings. */
  readonly table: string
  readonly tables: ProjectionTables
  /** The ends of the logs that were looked at, by the names of their applications in lower case. */
  readonly logs: ReadonlyMap<string, LogEnd>
}

/** By then a runner has met it. */
const lateAfterMs = 60_000
const listedTimers = 100

const command = 'npx eventsourcing-prisma projections'

/** Looks at each version of each projection; the tables have to be in order. */
export async function projectionFindings(place: ProjectionPlace, runner: StatementRunner): Promise<Finding[]> {
  const versions = new Map<string, ProjectionRow[]>()
  for (const row of await place.tables.rows(runner)) {
    const title = row.version === reactionVersion ? `reaction ${row.name}` : `${row.name}, version ${row.version}`
    const subject = `${place.table}, ${title}, log of ${row.upstream || 'the application'}`
    versions.set(subject, [...(versions.get(subject) ?? []), row])
  }
  const findings: Finding[] = []
  for (const [subject, parts] of versions) {
    findings.push(conditionOf(subject, parts, place.logs.get(parts[0]?.upstream.toLowerCase() ?? '')))
    const aside = await parkedFinding(place, subject, parts, runner)
    if (aside !== undefined) findings.push(aside)
  }
  return findings
}

/** Looks at the timers that are late, and those that were put aside; the table has to be in order. */
export async function timerFindings(table: string, timers: TimersTable, runner: StatementRunner): Promise<Finding[]> {
  const parked = await timers.select(runner, { parked: true, limit: listedTimers })
  const late = await timers.late(runner, lateAfterMs)
  return [
    ...(parked.length === 0
      ? []
      : [
          {
            check: 'parked timers',
            subject: table,
            status: 'warning' as const,
            message: `${parked.length === listedTimers ? 'at least ' : ''}${counted(parked.length, 'timer')} put aside, such as ${parked[0]?.id} ('${parked[0]?.topic}'): ${parked[0]?.error ?? ''}`,
            cure: "Mend the handler, then: await application.timers.retry(), or runner.retry(name) of the reaction's runner",
          },
        ]),
    ...late.map(({ topic, count }) => ({
      check: 'late timers',
      subject: `${table}, '${topic}'`,
      status: 'warning' as const,
      message: `${counted(count, 'timer')} due for more than ${lateAfterMs / 1000} seconds, and not handled`,
      cure: `Start a runner with a reaction that has onTimer('${topic}', …), or clear them. Is that reaction paused?`,
    })),
  ]
}

/** @param log - undefined for one that was not looked at */
function conditionOf(subject: string, parts: readonly ProjectionRow[], log: LogEnd | undefined): Finding {
  const check = 'projection'
  const message = parts.map(partText).join('; ')
  const beyond = log === undefined ? undefined : parts.find((part) => isBeyondEnd(part, log.given))
  if (beyond !== undefined && log !== undefined) {
    return {
      check,
      subject,
      status: 'error',
      message: beyondEndText(beyond, log.given),
      cure: beyondEndCure(beyond, log.given),
    }
  }
  const blocked = parts.find(({ status }) => status === 'blocked')
  if (blocked !== undefined) return blockedFinding(subject, blocked, message)
  const end = log?.final ?? 0n
  const isIdle = parts.some(
    (part) => part.position < end && !part.isLeased && (part.status === 'live' || part.status === 'building'),
  )
  if (!isIdle) return { check, subject, status: 'ok', message }
  const cure = 'Start its runner. One that was killed is replaced when its lease has ended.'
  return {
    check,
    subject,
    status: 'warning',
    message: `nobody works on it, and the log goes on to ${end}; ${message}`,
    cure,
  }
}

function blockedFinding(subject: string, { name, failedPosition, reason }: ProjectionRow, parts: string): Finding {
  const event = failedPosition === undefined ? '' : ` at event ${failedPosition}`
  const cure =
    failedPosition === undefined
      ? `Do what it says; then, unless that was a rebuild or a rewind: ${command} retry ${name}`
      : `Mend its handler, then: ${command} retry ${name}; or pass over the event: ${command} skip ${name}`
  return {
    check: 'projection',
    subject,
    status: 'error',
    message: `it stands still${event}: ${reason ?? 'no reason is stored'}; ${parts}`,
    cure,
  }
}

function partText({ partition, partitions, status, position, owner, isLeased, leasedUntil }: ProjectionRow): string {
  const part = partitions === 1 ? '' : `part ${partition + 1} of ${partitions}, `
  const until = leasedUntil?.toISOString()
  if (owner === undefined || until === undefined) return `${part}${status}, at ${position}, nobody has the lease`
  return `${part}${status}, at ${position}, the lease of ${owner} ${isLeased ? 'lasts until' : 'ended at'} ${until}`
}

async function parkedFinding(
  { tables }: ProjectionPlace,
  subject: string,
  [first]: readonly ProjectionRow[],
  runner: StatementRunner,
): Promise<Finding | undefined> {
  if (first === undefined || first.status === 'superseded') return undefined
  const { length } = await tables.parked(runner, first.name, first.version)
  if (length === 0) return undefined
  return {
    check: 'parked events',
    subject,
    status: 'warning',
    message: `${counted(length, 'event')} put aside, of which its rows know nothing`,
    cure: `${command} parked ${first.name} lists them; ${command} retry ${first.name} --module … tries them again`,
  }
}
