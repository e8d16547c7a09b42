/** What can be seen and changed of projections in the tables alone, while runners in other processes work on them. */
import { hostname } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { EnvironmentError, WaitTimeoutError } from '../errors.js'
import { endBefore } from './followed-log.js'
import {
  beyondEndCure,
  beyondEndText,
  isBeyondEnd,
  type ParkedEvent,
  type ProjectionRecorder,
  type ProjectionRow,
  pauseProjection,
  reactionVersion,
  resumeProjection,
  rewindReaction,
} from './projection-recorder.js'
import type { ApplicationRecorder } from './recorder.js'

/** How one version of a projection is doing. */
export interface ProjectionReport {
  readonly name: string
  readonly kind: 'projection' | 'reaction'
  /** 0 for a reaction, which has none. */
  readonly version: number
  /** The application whose log it is built from. */
  readonly upstream: string
  readonly status: ProjectionRow['status']
  readonly wanted: ProjectionRow['wanted']
  /** The position that all its parts have come to. */
  readonly position: bigint
  /** The end of the log; undefined for a log that is elsewhere. */
  readonly end: bigint | undefined
  /** The position that a rebuild has to reach. */
  readonly target: bigint | undefined
  /** By how many positions it is behind, which is at least the number of events. */
  readonly lagEvents: number | undefined
  /** For how long the first event behind its position has been stored, by the clock of this machine; 0 where there is none. */
  readonly lagMs: number | undefined
  /** Positions per second that it moves on, measured for a second where it is behind. */
  readonly rate: number
  readonly partitions: number
  /** The runners that work on it: host, process and a number. */
  readonly owners: readonly string[]
  /** Why it is in this status. */
  readonly reason: string | undefined
  /** The event that blocks it. */
  readonly failedPosition: bigint | undefined
  /** How many events were put aside. */
  readonly parked: number
}

/** What is waited for. */
export interface ProjectionWait {
  /** Default the end of the log when the wait begins. */
  readonly position?: bigint | undefined
  readonly timeoutMs: number
  /** The least version that counts; default any. */
  readonly version?: number
}

const pollMs = 50
const measuredMs = 1_000
const claimMs = 15_000

/** Where they are. */
export interface ProjectionTablesOptions {
  readonly recorder: ProjectionRecorder
  /** The log that projections are built from. */
  readonly log: Pick<ApplicationRecorder, 'maxNotificationId' | 'selectNotifications' | 'lastGivenNotificationId'>
  /** The name of the application whose log it is; empty where its tables have no prefix. */
  readonly application: string
}

/** The tables of one application's projections. */
export class ProjectionTables {
  readonly #recorder: ProjectionRecorder
  readonly #log: ProjectionTablesOptions['log']
  readonly #application: string

  constructor({ recorder, log, application }: ProjectionTablesOptions) {
    this.#recorder = recorder
    this.#log = log
    this.#application = application
  }

  /**
   * How all projections are doing, or those of some names.
   *
   * @param options - `measures`: whether the rate of those that are behind is measured, which takes a second; default true
   * @throws `EnvironmentError` for a name that has no row
   */
  async status(
    names: readonly string[] = [],
    { measures = true }: { readonly measures?: boolean } = {},
  ): Promise<ProjectionReport[]> {
    const rows = await this.#recorder.rows()
    for (const name of names) newestOf(rows, name)
    const chosen = rows.filter(({ name }) => names.length === 0 || names.includes(name))
    const end = (await this.#log.maxNotificationId()) ?? 0n
    const isBehind = measures && chosen.some((row) => row.isLeased && this.#isOurs(row) && row.position < end)
    const rates = isBehind ? await this.#rates(chosen) : new Map<string, number>()
    const reports: ProjectionReport[] = []
    for (const parts of grouped(chosen)) reports.push(await this.#report(parts, end, rates))
    return reports
  }

  /**
   * Waits until a projection has come to a position; one that no runner has begun yet is waited for as well.
   *
   * @throws `WaitTimeoutError`; `EnvironmentError` for a projection that has no row when the time is over
   */
  async wait(name: string, { position, timeoutMs, version = 0 }: ProjectionWait): Promise<'reached' | 'blocked'> {
    const awaited = position ?? (await this.#log.maxNotificationId()) ?? 0n
    const until = performance.now() + timeoutMs
    for (;;) {
      const rows = await this.#recorder.rows()
      const isOver = performance.now() >= until
      if (isOver || rows.some((row) => row.name === name && row.version >= version)) {
        const parts = newestOf(rows, name)
        const state = parts[0].version >= version ? await this.#stateAt(awaited, parts) : undefined
        if (state !== undefined) return state
        if (isOver) {
          throw new WaitTimeoutError(
            `Waited ${timeoutMs} ms for projection ${name}${version > 0 ? `, version ${version},` : ''} to come to position ${awaited}: version ${parts[0].version} is at ${leastOf(parts)}.`,
          )
        }
      }
      await delay(pollMs)
    }
  }

  /** @returns undefined where it is still to come there */
  async #stateAt(position: bigint, parts: Parts): Promise<'reached' | 'blocked' | undefined> {
    const blocked = parts.find(({ status }) => status === 'blocked')
    const isReached = parts.every((part) => part.position >= position)
    if (!isReached || (blocked !== undefined && blocked.failedPosition === undefined))
      return blocked === undefined ? undefined : 'blocked'
    return (await this.#beyondEnd(parts)) === undefined ? 'reached' : 'blocked'
  }

  /** Lets a projection rest. */
  async pause(name: string): Promise<void> {
    const parts = newestOf(await this.#recorder.rows(), name)
    await pauseProjection(this.#recorder, parts, (await this.#log.maxNotificationId()) ?? 0n)
  }

  /** Lets it go on. */
  async resume(name: string): Promise<void> {
    await resumeProjection(this.#recorder, newestOf(await this.#recorder.rows(), name))
  }

  /**
   * Sets a relay or a reaction back. @returns how far it had come
   *
   * @throws `ProgrammingError` for a projection, and for a position beyond where it is
   */
  async rewind(name: string, position: bigint): Promise<bigint> {
    const owner = `${hostname().slice(0, 100)}:${process.pid}:rewind`
    return await rewindReaction(this.#recorder, newestOf(await this.#recorder.rows(), name), { position, owner })
  }

  /** Lets a blocked projection try its event again. @returns false where it is not blocked */
  async retry(name: string): Promise<boolean> {
    const [{ version, status }] = newestOf(await this.#recorder.rows(), name)
    if (status !== 'blocked') return false
    await this.#recorder.change(name, version, { status: 'live', reason: null, failedPosition: null })
    return true
  }

  /**
   * Lets a blocked projection go on behind the event that it fails on: that one is never handled.
   *
   * @param position - of the event; default the one that blocks it
   * @returns the position that was passed over
   * @throws `EnvironmentError` where it is not blocked, or by another event
   */
  async skip(name: string, position: bigint | undefined): Promise<bigint> {
    const parts = newestOf(await this.#recorder.rows(), name)
    const [{ status, reason, failedPosition, version }] = parts
    const why = `Could not pass over an event of projection ${name}`
    if (status === 'blocked' && failedPosition === undefined) {
      throw new EnvironmentError(`${why}: none blocks it. ${reason ?? ''}`.trimEnd())
    }
    if (status !== 'blocked' || failedPosition === undefined) {
      throw new EnvironmentError(`${why}: it is not blocked; its status is '${status}'.`)
    }
    if (position !== undefined && position !== failedPosition) {
      throw new EnvironmentError(`${why}: it is blocked by event ${failedPosition}, not by ${position}.`)
    }
    // Between the position of the part that has failed and the event there is nothing that the projection takes: any part that
    // has come as far can be set behind the event without missing one.
    const before = parts.filter((part) => part.position < failedPosition)
    const furthest = before.reduce((greatest, part) => (part.position > greatest ? part.position : greatest), -1n)
    for (const part of before) if (part.position === furthest) await this.#setBehind(part, failedPosition)
    await this.#recorder.change(name, version, { status: 'live', reason: null, failedPosition: null })
    return failedPosition
  }

  /** The events that a projection has put aside, in the order of the log. */
  async parked(name: string): Promise<ParkedEvent[]> {
    const [{ version }] = newestOf(await this.#recorder.rows(), name)
    return await this.#recorder.parked(name, version)
  }

  async #setBehind(part: ProjectionRow, position: bigint): Promise<void> {
    const lease = await this.#recorder.claim(part, `${hostname().slice(0, 100)}:${process.pid}:skip`, claimMs)
    if (lease === undefined || lease.position !== part.position) {
      if (lease !== undefined) await this.#recorder.release(part, lease.epoch)
      throw new EnvironmentError(
        `Could not pass over event ${position} of projection ${part.name}: a runner works on it. Look at its status again.`,
      )
    }
    await this.#recorder.reposition(part, lease.epoch, position)
    await this.#recorder.release(part, lease.epoch)
  }

  async #rates(before: readonly ProjectionRow[]): Promise<Map<string, number>> {
    const start = performance.now()
    await delay(measuredMs)
    const after = grouped(await this.#recorder.rows())
    const seconds = (performance.now() - start) / 1000
    const rates = new Map<string, number>()
    for (const parts of grouped(before)) {
      const key = keyOf(parts[0])
      const later = after.find(([first]) => keyOf(first) === key)
      if (later !== undefined) rates.set(key, Math.round(Number(leastOf(later) - leastOf(parts)) / seconds))
    }
    return rates
  }

  async #report(parts: Parts, end: bigint, rates: ReadonlyMap<string, number>): Promise<ProjectionReport> {
    const [first] = parts
    const { name, version, upstream, wanted, partitions, target, failedPosition } = first
    const beyond = await this.#beyondEnd(parts)
    const { status, reason } = beyond === undefined ? first : { status: 'blocked' as const, reason: beyond }
    const position = leastOf(parts)
    const isOurs = this.#isOurs(first)
    const owners = parts.flatMap(({ owner, isLeased }) => (isLeased && owner !== undefined ? [owner] : []))
    return {
      name,
      kind: version === reactionVersion ? 'reaction' : 'projection',
      version,
      upstream,
      status,
      wanted,
      position,
      end: isOurs ? end : undefined,
      target,
      lagEvents: isOurs ? Math.max(0, Number(end - position)) : undefined,
      lagMs: isOurs ? await this.#lagMs(position) : undefined,
      rate: rates.get(keyOf(first)) ?? 0,
      partitions,
      owners: [...new Set(owners)],
      reason,
      failedPosition,
      parked: (await this.#recorder.parked(name, version)).length,
    }
  }

  /** What is wrong where its log does not have the position of a part, whether a runner has found that out or not. */
  async #beyondEnd(parts: Parts): Promise<string | undefined> {
    // Where the application is not known, the log may be that of another one.
    if (parts[0].upstream.toLowerCase() !== this.#application.toLowerCase()) return undefined
    const furthest = parts.reduce((most, part) => (part.position > most.position ? part : most))
    const end = await endBefore(this.#log, furthest.position)
    if (end === undefined || !isBeyondEnd(furthest, end)) return undefined
    return `${beyondEndText(furthest, end)}. ${beyondEndCure(furthest, end)}`
  }

  async #lagMs(position: bigint): Promise<number> {
    const [next] = await this.#log.selectNotifications(position, 1, { inclusiveOfStart: false })
    return next === undefined ? 0 : Math.max(0, Date.now() - next.recordedAt.getTime())
  }

  #isOurs({ upstream }: ProjectionRow): boolean {
    return this.#application === '' || upstream.toLowerCase() === this.#application.toLowerCase()
  }
}

/** The rows of one version. */
type Parts = readonly [ProjectionRow, ...ProjectionRow[]]

function keyOf({ name, version, upstream }: ProjectionRow): string {
  return `${name} ${version} ${upstream}`
}

function grouped(rows: readonly ProjectionRow[]): Parts[] {
  const groups = new Map<string, [ProjectionRow, ...ProjectionRow[]]>()
  for (const row of rows) {
    const group = groups.get(keyOf(row))
    if (group === undefined) groups.set(keyOf(row), [row])
    else group.push(row)
  }
  return [...groups.values()]
}

/** The parts of the greatest version of a projection. */
function newestOf(rows: readonly ProjectionRow[], name: string): Parts {
  const versions = rows.filter((row) => row.name === name)
  const greatest = Math.max(...versions.map(({ version }) => version))
  const [first, ...others] = versions.filter(({ version }) => version === greatest)
  if (first !== undefined) return [first, ...others]
  const known = [...new Set(rows.map((row) => row.name))].join(', ') || 'none'
  throw new EnvironmentError(`There is no projection '${name}' in the tables: they have ${known}. Has a runner run it?`)
}

function leastOf(parts: Parts): bigint {
  return parts.reduce((least, { position }) => (position < least ? position : least), parts[0].position)
}
