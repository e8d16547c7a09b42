/** Runs projections: in this process, beside any number of others that run the same. */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { DatastoreClosedError, NotSupportedError, ProgrammingError } from '../errors.js'
import type { Recording } from '../persistence/event-store.js'
import {
  type ProjectionRecorder,
  type ProjectionRow,
  pauseProjection,
  type RunnerWork,
  resumeProjection,
  rewindReaction,
} from '../persistence/projection-recorder.js'
import { logPosition, type WaitOptions } from '../persistence/recorder.js'
import { Alarm } from '../persistence/waiting.js'
import { outsideOfEverything } from '../transaction/context.js'
import type { BatchLimits } from './batch-work.js'
import { retryParked } from './parked-attempts.js'
import { PositionWaits } from './position-waits.js'
import type { Projection } from './projection.js'
import { ProjectionPart } from './projection-part.js'
import { type RebuildOptions, rebuild } from './rebuild.js'
import {
  checkedLimits,
  checkRunnerOptions,
  type ProjectionProgress,
  type ProjectionRunnerOptions,
  type ProjectionRunnerStats,
  progressOf,
  type RunningProjection,
  recorderOf,
  sourceOf,
  timerWorkOf,
} from './runner-options.js'
import type { RebuildResult } from './shadow-rebuild.js'
import { noTagsElsewhere, type ProjectedApplication, type ProjectionSource } from './source.js'
import type { TimerWork } from './timer-work.js'

/** How often a process looks whether it may take over what others have, or what was paused. */
const lookMs = 1_000

/**
 * Builds rows from the events of an application, each exactly once: a batch of events, its rows and its position are stored in one
 * transaction. Of several runners of one projection, in any number of processes, one works; another takes over when it ends.
 *
 * @example
 * const runner = new ProjectionRunner({ application: school, datastore, projections: [owners, counts] })
 * await runner.start()
 */
export class ProjectionRunner {
  /** Who has the leases of this runner: the host, the process, and a number. */
  readonly owner: string = `${hostname().slice(0, 100)}:${process.pid}:${randomBytes(6).toString('hex')}`
  readonly #running: ReadonlyMap<string, RunningProjection>
  readonly #recorder: ProjectionRecorder
  readonly #source: ProjectionSource
  readonly #limits: BatchLimits
  readonly #inline: readonly string[]
  readonly #waits: PositionWaits
  readonly #timers: TimerWork
  readonly #application: ProjectedApplication
  readonly #alarm = new Alarm()
  #supervision: Promise<void> | undefined
  #isStopping = false
  /** How often it was asked to stop, and the end under way. */
  #stops = 0
  #stopping: Promise<void> | undefined
  #work: RunnerWork | undefined
  #isBlocked = false

  /**
   * Nothing is read or written here.
   *
   * @throws `ProgrammingError` where two projections have one name, or a limit cannot be
   * @throws `NotSupportedError` where the datastore keeps no projections
   */
  constructor(options: ProjectionRunnerOptions) {
    checkRunnerOptions(options)
    const { application, projections } = options
    const recorder = recorderOf(options)
    this.#recorder = recorder
    this.#source = sourceOf(options)
    this.#limits = checkedLimits(options, this.#recorder)
    this.#waits = new PositionWaits(recorder, this.#source)
    this.#inline = application.inline ?? []
    this.#application = application
    this.#timers = timerWorkOf(options, { recorder, limits: this.#limits })
    const running = new Map<string, RunningProjection>()
    for (const projection of projections) {
      if (this.#inline.includes(projection.name)) throw isInline(projection.name)
      if (options.source !== undefined && projection.tags !== undefined) throw noTagsElsewhere(projection.name)
      if (running.has(projection.name)) {
        throw new ProgrammingError(
          `Could not make a projection runner: two of its projections are '${projection.name}'.`,
        )
      }
      running.set(projection.name, { projection, parts: this.#partsOf(projection) })
    }
    this.#running = running
  }

  /** The projections that it runs, reactions with them. */
  get projections(): readonly Projection[] {
    return [...this.#running.values()].map(({ projection }) => projection)
  }

  /** The name of the log that it reads: that of its application, or of its source. */
  get upstream(): string {
    return this.#source.name
  }

  /** The greatest position that is committed in its log; 0 for an empty one. A projection may still have to wait for it. */
  async end(): Promise<bigint> {
    await this.#source.ready()
    return await this.#source.greatest()
  }

  /** How far the least of these projections has come, in whatever process; 0 for one that has not begun. */
  async positionOf(names: readonly string[]): Promise<bigint> {
    const wanted = names.map((name) => this.#find(name).projection)
    const rows = await this.#recorder.rows()
    const positions = wanted.map(({ name, version, partitions }) => {
      const parts = rows.filter((row) => row.name === name && row.version === version)
      return parts.length < partitions ? 0n : leastOf(parts.map(({ position }) => position))
    })
    return leastOf(positions)
  }

  /** Makes the tables as the Prisma schema has them, for tests and scripts; harmless where they exist. */
  async createTable(): Promise<void> {
    await this.#recorder.createTable()
    await this.#application.timers?.createTable()
  }

  /** Begins to run, beside what else this process does, unless `stop` is called meanwhile; harmless when it does already. */
  async start(): Promise<void> {
    const stops = this.#stops
    await this.#stopping
    await this.#source.ready()
    if (stops !== this.#stops || this.#supervision !== undefined) return
    const work = this.#recorder.beginWork?.(() => this.stop())
    const inWork: RunnerWork['run'] = (fn) => (work === undefined ? fn() : work.run(fn))
    this.#work = work
    this.#isStopping = false
    // It outlives whatever request or transaction has called this.
    const pinned = this.#pinReactions().catch(warnOfSupervision)
    const supervise = async (): Promise<void> => {
      await pinned
      await this.#supervise()
    }
    this.#supervision = outsideOfEverything(() => inWork(supervise))
    await pinned
    if (!this.#isStopping) this.#timers.start(inWork)
  }

  /**
   * Ends the batches under way and gives the leases up, so that others take over at once; harmless when it does not run. Closing the datastore
   * does the same.
   */
  async stop(): Promise<void> {
    this.#stops += 1
    this.#stopping ??= this.#end()
    await this.#stopping
  }

  async #end(): Promise<void> {
    this.#isStopping = true
    this.#alarm.ring()
    try {
      await Promise.all([this.#timers.stop(), ...this.#parts.map(async (part) => await part.stop())])
      await this.#supervision
      // One may have begun while the others ended.
      await Promise.all(this.#parts.map(async (part) => await part.stop()))
    } finally {
      this.#supervision = this.#stopping = undefined
      this.#work?.ended()
    }
  }

  /** The same as `stop`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  /**
   * Processes the log up to its present end in this call, for tests: all projections, one after the other, then timers that are due. Those that are
   * paused are passed over; where the runner has been started, it waits for that.
   *
   * @throws what a handler throws, at once: nothing is tried again, except what may pass
   * @throws `LeaseLostError` where another runner works on one; `BeyondLogEndError` where the log does not have the position of one, as after it was
   *   restored; `ProjectionBlockedError` where one stands still at no event
   */
  async runOnce(): Promise<void> {
    await this.#source.ready()
    const end = await this.#source.end()
    for (const { projection } of this.#running.values()) {
      if (this.#supervision === undefined) {
        const limits = { ...this.#limits, attempts: 1 }
        for (const part of this.#partsOf(projection, limits)) await part.runTo(end)
      } else if (end > 0n) await this.#waits.wait(projection, end, { timeoutMs: 60_000 })
    }
    if (this.#supervision === undefined) await this.#timers.runOnce()
  }

  /**
   * Waits until a projection has processed what was recorded up to a position, in whatever process. It holds no connection meanwhile.
   *
   * @param position - in the log; or what a save has given: the last of its positions
   * @param options - `timeoutMs`, default 1,000; `signal`
   * @throws `ProgrammingError` at once for a projection that this runner does not have, and for events that are not written yet
   * @throws `ProjectionBlockedError` where it stands still before; `WaitTimeoutError`; `WaitInterruptedError`
   */
  async wait(name: string, position: bigint | null | readonly Recording[], options?: WaitOptions): Promise<void> {
    const { projection } = this.#find(name)
    const awaited = positionOf(position)
    if (awaited === null || awaited <= 0n) return
    await this.#waits.wait(projection, awaited, options)
  }

  /** Lets a projection rest, in all processes, within a second; it keeps its position. One that has never run does not begin. */
  async pause(name: string): Promise<void> {
    const { projection, parts } = this.#find(name)
    if ((await this.#rowsOf(projection)).length === 0) {
      await this.#source.ready()
      await this.#begin(parts)
    }
    await this.#source.ready()
    await pauseProjection(this.#recorder, await this.#rowsOf(projection), await this.#source.end())
    for (const part of parts) await part.leaveOffIfPaused()
  }

  /** Lets a projection go on that was paused, as what it was: one that was blocked still is. */
  async resume(name: string): Promise<void> {
    const { projection, parts } = this.#find(name)
    await resumeProjection(this.#recorder, await this.#rowsOf(projection))
    for (const part of parts) part.wake()
    this.#timers.wake()
    this.#alarm.ring()
  }

  /**
   * Lets a blocked projection try its event again. Events that were put aside are handled in this call, those of one key in order:
   * one that fails again stays where it is, with those behind it.
   *
   * @param position - of an event that was put aside, for its key alone; default all
   */
  async retry(name: string, position?: bigint): Promise<void> {
    const { projection, parts } = this.#find(name)
    const keys = parts.map(({ host }) => host.key)
    const only = logPosition(position, 'position') ?? undefined
    await retryParked({ projection, keys, recorder: this.#recorder, source: this.#source }, only)
    const isBlocked = (await this.#rowsOf(projection)).some(({ status }) => status === 'blocked')
    if (isBlocked || parts.some(({ state }) => state === 'blocked')) {
      await this.#recorder.change(name, projection.version, { status: 'live', reason: null, failedPosition: null })
    }
    await this.#timers.retry(name)
    for (const part of parts) part.tryAgain()
    this.#alarm.ring()
  }

  /**
   * Builds the rows of a projection anew, in this call; meanwhile no runner, in whatever process, works on them. Errors are never passed
   * over. A projection that is paused stays so.
   *
   * @param options - `way`: `atomic`, the default, in one transaction, so that readers see the old rows until all are there; `in-place`; or
   *   `shadow`, beside the rows in use. `onProgress`, `signal`, `resume`, `deadlineMs`
   * @throws `NotSupportedError` for a reaction: what it has done would be done again
   * @throws what a handler throws; `WaitInterruptedError` when the signal aborts. An atomic rebuild, or one in a shadow, has changed nothing
   *   then; one in place is finished by whoever runs the projection next
   * @throws `ProgrammingError` where the projection does not name its models; `NotSupportedError` for an atomic one of a long log
   *   where one transaction at a time can write, and for a shadow where the database has none; `LeaseLostError` where a greater version is
   *   there, or another rebuild works in the shadow
   */
  async rebuild(name: string, options: RebuildOptions = {}): Promise<RebuildResult> {
    const { projection, parts } = this.#find(name)
    if (projection.reaction !== undefined) throw neverAgain(name)
    await this.#source.ready()
    const keys = parts.map(({ host }) => host.key)
    const hold = async (): Promise<() => void> => {
      const releases = await Promise.all(parts.map(async (part) => await part.hold()))
      return () => {
        for (const release of releases) release()
        this.#alarm.ring()
      }
    }
    const host = { projection, keys, recorder: this.#recorder, source: this.#source, owner: this.owner, hold }
    return await rebuild({ ...host, limits: this.#limits }, options)
  }

  /**
   * Sets a reaction back, in all processes, within a second: it handles the events behind the position again. That is for those who may be
   * told something twice, such as a relay.
   *
   * @param position - where it goes on behind; 0 for the beginning of the log
   * @returns how far it had come
   * @throws `ProgrammingError` for a projection, for one that has never run, and for a position beyond where it is
   */
  async rewind(name: string, position: bigint): Promise<bigint> {
    const { projection, parts } = this.#find(name)
    const rows = await this.#rowsOf(projection)
    if (rows.length === 0 && projection.reaction !== undefined) {
      throw new ProgrammingError(`Could not rewind ${name}: nobody has run it yet.`)
    }
    const back = { position: logPosition(position, 'position'), owner: `${this.owner}:rewind` }
    const furthest = await rewindReaction(this.#recorder, rows, back)
    const now = await this.#rowsOf(projection)
    for (const part of parts) {
      part.leaveOffIfTaken(now)
      part.tryAgain()
    }
    this.#alarm.ring()
    return furthest
  }

  /** What it has done, by the names of the projections. */
  get stats(): ProjectionRunnerStats {
    return Object.fromEntries([...this.#running].map(([name, running]) => [name, this.#progressOf(running)]))
  }

  /** Whether none of its projections is blocked, or fails all the time, as far as this process knows. */
  healthy(): boolean {
    return !this.#isBlocked && this.#parts.every(({ state, error }) => state !== 'blocked' && error === undefined)
  }

  #progressOf(running: RunningProjection): ProjectionProgress {
    const { name, reaction } = running.projection
    const hasTimers = reaction !== undefined && reaction.timers.length > 0
    return { ...progressOf(running), ...(hasTimers ? { timers: { ...this.#timers.countsOf(name) } } : {}) }
  }

  get #parts(): ProjectionPart[] {
    return [...this.#running.values()].flatMap(({ parts }) => parts)
  }

  #find(name: string): RunningProjection {
    const running = this.#running.get(name)
    if (running !== undefined) return running
    if (this.#inline.includes(name)) throw isInline(name)
    throw new ProgrammingError(
      `There is no projection '${name}' in this runner: it has ${[...this.#running.keys()].join(', ') || 'none'}.`,
    )
  }

  #partsOf(projection: Projection, limits: BatchLimits = this.#limits): ProjectionPart[] {
    return Array.from({ length: projection.partitions }, (_, partition) => {
      const key = { name: projection.name, version: projection.version, upstream: this.#source.name, partition }
      return new ProjectionPart({
        projection,
        key,
        recorder: this.#recorder,
        source: this.#source,
        limits,
        owner: this.owner,
        onMoved: () => this.#waits.moved(),
        onLeft: () => this.#alarm.ring(),
      })
    })
  }

  /** Keeps the beginning of reactions that are new: what is stored after that is theirs, whatever happens to this process. */
  async #pinReactions(): Promise<void> {
    const reactions = [...this.#running.values()].filter(({ projection }) => projection.reaction !== undefined)
    if (reactions.length === 0) return
    const rows = await this.#recorder.rows()
    for (const { projection, parts } of reactions) {
      if (!rows.some(({ name }) => name === projection.name)) await this.#begin(parts)
    }
  }

  /** All parts of a projection begin at the same position. */
  async #begin(parts: readonly ProjectionPart[]): Promise<void> {
    const end = await this.#source.end()
    for (const part of parts) await part.begin(async () => end)
  }

  /** Looks after the parts: takes leases that are free, and keeps those that it has. */
  async #supervise(): Promise<void> {
    let isWarned = false
    while (!this.#isStopping) {
      try {
        if (this.#parts.some(({ state }) => state !== 'running')) await this.#considerAll()
        await this.#renew()
        isWarned = false
      } catch (error) {
        // Whoever closes the datastore wants it to end.
        if (error instanceof DatastoreClosedError) return
        if (!isWarned) warnOfSupervision(error)
        isWarned = true
      }
      const isIdle = this.#parts.every(({ state }) => state === 'running')
      if (!this.#isStopping) await this.#alarm.wait(isIdle ? this.#limits.leaseMs / 3 : lookMs)
    }
  }

  async #considerAll(): Promise<void> {
    const rows = await this.#recorder.rows()
    this.#isBlocked = rows.some((row) => row.status === 'blocked' && this.#isOurs(row))
    for (const part of this.#parts) {
      if (this.#isStopping) return
      if (part.state !== 'running') await part.consider(rows)
    }
  }

  async #rowsOf({ name, version }: Projection): Promise<ProjectionRow[]> {
    return (await this.#recorder.rows()).filter((row) => row.name === name && row.version === version)
  }

  #isOurs({ name, version }: ProjectionRow): boolean {
    return this.#running.get(name)?.projection.version === version
  }

  async #renew(): Promise<void> {
    if (!this.#parts.some(({ needsRenewal }) => needsRenewal)) return
    const parts = this.#parts.filter(({ state }) => state === 'running')
    const names = [...new Set(parts.map(({ host }) => host.key.name))]
    const renewed = await this.#recorder.renew(this.owner, names, this.#limits.leaseMs, 'running')
    for (const part of parts) {
      part.renewed()
      // Who has nothing to do has no other way to find out.
      if (renewed < parts.length) await part.leaveOffIfPaused()
    }
    if (renewed >= parts.length) return
    const rows = await this.#recorder.rows()
    for (const part of parts) part.leaveOffIfTaken(rows)
  }
}

function neverAgain(name: string): NotSupportedError {
  return new NotSupportedError(
    `Could not rebuild reaction ${name}: it acts, and what it has done would be done again. To act on the past once, define another one with a ` +
      "name of its own and from: 'start'.",
  )
}

function isInline(name: string): ProgrammingError {
  return new ProgrammingError(
    `The projection '${name}' is inline in the application: its rows are there when a save has committed, and there is nothing to run or to wait for.`,
  )
}

function positionOf(position: bigint | null | readonly Recording[]): bigint | null {
  if (!Array.isArray(position)) return logPosition(position as bigint | null, 'position') // an array is the only other thing
  let last = 0n
  for (const { notification } of position as readonly Recording[]) {
    if (notification === undefined) {
      throw new ProgrammingError(
        'Could not wait for events that are not written yet: wait after the transaction that saves them has ended.',
      )
    }
    if (notification.id > last) last = notification.id
  }
  return last
}

function leastOf(positions: readonly bigint[]): bigint {
  return positions.reduce((least, position) => (position < least ? position : least))
}

function warnOfSupervision(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  process.emitWarning(`A projection runner cannot look after its projections, and tries again. ${reason}`, {
    code: 'ES_PROJECTION_FAILED',
  })
}
