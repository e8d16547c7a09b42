/** One part of a projection in this process: it takes the lease where that is free, and follows the log while it has it. */
import { BeyondLogEndError, DatastoreClosedError, LeaseLostError } from '../errors.js'
import type { LogPage } from '../persistence/followed-log.js'
import {
  beyondLogEnd,
  type ProjectionKey,
  type ProjectionLease,
  type ProjectionRecorder,
  type ProjectionRow,
} from '../persistence/projection-recorder.js'
import type { Subscription } from '../persistence/recorder.js'
import type { Notification } from '../persistence/stored-event.js'
import { type BatchCounts, type BatchLimits, BatchWork, type Outcome, publish, titleOf } from './batch-work.js'
import { ParkedAttempts } from './parked-attempts.js'
import { reasonOf } from './parked-keys.js'
import {
  assertEmptiable,
  assertOneKind,
  deletedRow,
  hindranceOf,
  isDividedAnew,
  isSame,
  type PartState,
  warnOfGreater,
} from './part-rows.js'
import { blockedError } from './position-waits.js'
import type { Projection } from './projection.js'
import { renewing } from './shadow-rebuild.js'
import { askedOf, type ProjectionSource, rangeOf } from './source.js'

/** What a part stands on. */
export interface PartHost {
  readonly projection: Projection
  readonly key: ProjectionKey
  readonly recorder: ProjectionRecorder
  readonly source: ProjectionSource
  readonly limits: BatchLimits
  readonly owner: string
  /** Called when the position has moved. */
  readonly onMoved: () => void
  /** Called when it has left off by itself. */
  readonly onLeft: () => void
}

/** So long an answer to whether it is to go on counts. */
const wantedForMs = 500

/** After a failure that has nothing to do with an event, it begins again after so long. */
const restartMs = 5_000

/** Works on one part, whenever it may. */
export class ProjectionPart {
  readonly host: PartHost
  state: PartState = 'stopped'
  /** Why it is blocked. */
  error: unknown
  #work: BatchWork | undefined
  #lastPosition: bigint | undefined
  #counts: BatchCounts = { batches: 0, events: 0, retries: 0, parked: 0 }
  #running: Promise<void> | undefined
  #subscription: Subscription<Notification> | undefined
  #askedAt = Number.NEGATIVE_INFINITY
  #isStopping = false
  /** Aborts what handlers do outside of transactions. */
  #abort = new AbortController()
  #isHeld = false
  #isTriedAgain = true
  #restsUntil = 0
  #emptiesFirst = false
  /** Its row, since it began to look: one that was there, and is not any more, was deleted by somebody. */
  #row: 'unseen' | 'seen' | 'deleted' = 'unseen'

  constructor(host: PartHost) {
    this.host = host
  }

  /** What it has done in this process. */
  get counts(): BatchCounts {
    return this.#work?.counts ?? this.#counts
  }

  /** How far it has come, where that is known here. */
  get position(): bigint | undefined {
    return this.#work?.position ?? this.#lastPosition
  }

  /** Whether its lease runs out unless somebody renews it. */
  get needsRenewal(): boolean {
    return this.#work?.needsRenewal === true
  }

  /** Tells that the lease was renewed. */
  renewed(): void {
    this.#work?.renewed()
  }

  /** Takes the lease, and begins to follow the log, where the rows say that it may. */
  async consider(rows: readonly ProjectionRow[]): Promise<void> {
    if (this.#running !== undefined || this.#isStopping || this.#isHeld) return
    if (performance.now() < this.#restsUntil) return
    const lease = await this.#leaseBy(rows)
    if (lease === undefined) return
    this.state = 'running'
    this.error = undefined
    this.#running = this.#follow(lease).finally(() => {
      this.#running = undefined
      if (!this.#isStopping) this.host.onLeft()
    })
  }

  /** Lets it look again whether it may go on, now. */
  wake(): void {
    this.#askedAt = Number.NEGATIVE_INFINITY
    this.#restsUntil = 0
    this.#work?.wake()
  }

  /** Ends its work where it is to rest, also where it has nothing to do. */
  async leaveOffIfPaused(): Promise<void> {
    this.wake()
    if (this.#subscription !== undefined && !(await this.#mayGoOn())) this.#subscription?.stop()
  }

  /** Ends its work where somebody else has taken the lease, also where it has nothing to do. */
  leaveOffIfTaken(rows: readonly ProjectionRow[]): void {
    const { key, owner } = this.host
    const row = rows.find((each) => each.name === key.name && isSame(each, key))
    if (this.#subscription === undefined || row?.owner === owner) return
    this.#rest('waiting')
    this.#subscription.stop()
  }

  /** Lets it work on although it is blocked. */
  tryAgain(): void {
    this.#isTriedAgain = true
    this.#row = 'unseen'
    this.wake()
  }

  /** Stops it, and keeps it from beginning again. @returns what lets it */
  async hold(): Promise<() => void> {
    this.#isHeld = true
    await this.stop()
    return () => {
      this.#isHeld = false
      this.wake()
    }
  }

  /** Ends the batch under way, and gives the lease up. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.#abort.abort()
    this.#subscription?.stop()
    this.#work?.wake()
    await this.#running
    this.state = 'stopped'
    this.#isStopping = false
    this.#abort = new AbortController()
    this.#isTriedAgain = true
    this.#row = 'unseen'
  }

  /**
   * Processes the log up to a position, and gives the lease up.
   *
   * @throws the error of the handler where an event fails; `LeaseLostError` where another runner has the lease; `BeyondLogEndError` where the log
   *   does not have its position
   */
  async runTo(end: bigint): Promise<void> {
    const { recorder, key, source, projection, owner, limits } = this.host
    this.#isTriedAgain = true
    const rows = await recorder.rows()
    const lease = await this.#leaseBy(rows)
    if (lease === undefined) {
      if (this.state === 'paused' || this.state === 'superseded') return
      const blocked = rows.find((row) => row.name === key.name && isSame(row, key) && this.state === 'blocked')
      if (blocked !== undefined) throw blockedError(key.name, blocked, 'run')
      throw new LeaseLostError(`Could not run projection ${key.name}: another runner works on it. Stop that one first.`)
    }
    const work = this.#begin(lease)
    // Nobody else renews it, and handlers outside of transactions take the time that they take.
    const endRenewal = renewing(recorder, owner, key.name, { leaseMs: limits.leaseMs, onRenewed: () => work.renewed() })
    try {
      await this.#assertInLog(work, end)
      await this.#emptyFirst(work)
      const asked = rangeOf(await askedOf(source, projection))
      while (work.position < end) {
        const range = { ...asked, after: work.position, limit: this.host.limits.maxEvents, stop: end }
        const page = await source.page(range)
        // Of a log elsewhere the last events may be gone, or wait for a writer: nobody knows, so nothing is passed over.
        if (page.end <= work.position) break
        const outcome = await this.#process(work, page)
        if ('error' in outcome) throw outcome.error
        if (!outcome.done) return
      }
      await this.#becomeLive(work, end)
    } finally {
      endRenewal()
      await this.#end(work)
    }
  }

  /**
   * Sees to it that a part begins somewhere, where nobody has run it: a reaction, unless it is `from: 'start'`, behind what the log has now.
   *
   * @param end - of the log
   */
  async begin(end: () => Promise<bigint>): Promise<void> {
    const { recorder, key, projection } = this.host
    const isFromNow = projection.reaction?.from === 'now'
    await recorder.add(key, projection.partitions, isFromNow ? await end() : undefined)
  }

  /** @returns undefined where it may not run, which `state` tells of */
  async #leaseBy(rows: readonly ProjectionRow[]): Promise<ProjectionLease | undefined> {
    const { key, recorder, owner, limits, source, projection } = this.host
    const versions = rows.filter(({ name }) => name === key.name)
    assertOneKind(versions, key)
    const greater = versions.find(({ version }) => version > key.version)
    if (greater !== undefined) return this.#giveWayTo(greater)
    const row = versions.find((each) => isSame(each, key))
    if (await isDividedAnew(this.host, versions)) return this.#rest('paused')
    const former = versions.filter(({ version }) => version < key.version)
    assertEmptiable(this.host, former, row)
    if (row === undefined) await this.begin(async () => await source.end())
    if (this.#isDeleted(row)) return await this.#stopAt(deletedRow(projection, this.position))
    if (former.some(({ status }) => status !== 'superseded')) await recorder.supersede(key.name, key.version)
    const emptiesFirst = former.length > 0 && (row?.position ?? 0n) === 0n
    this.#emptiesFirst = emptiesFirst
    const hindrance = hindranceOf({ key, row, versions, emptiesFirst, isTriedAgain: this.#isTriedAgain })
    if (hindrance !== undefined) return this.#restFor(hindrance, row)
    const lease = await recorder.claim(key, owner, limits.leaseMs)
    if (lease === undefined) return this.#rest('waiting')
    this.#isTriedAgain = false
    publish('lease', { ...traceOf(key), event: 'taken', epoch: lease.epoch })
    return lease
  }

  #rest(state: PartState): undefined {
    this.state = state
  }

  #restFor(hindrance: PartState, row: ProjectionRow | undefined): undefined {
    this.#rest(hindrance)
    // Somebody else works on it: what has held this process up does not any more.
    if (hindrance === 'waiting' && row?.owner !== this.host.owner) this.error = undefined
  }

  /** Whether somebody has deleted its row; until it is known in the tables that it stands still, that is so. */
  #isDeleted(row: ProjectionRow | undefined): boolean {
    if (row === undefined && this.#row === 'seen') this.#row = 'deleted'
    if (this.#row === 'unseen' || row?.status === 'blocked') this.#row = 'seen'
    return this.#row === 'deleted'
  }

  #giveWayTo({ version }: ProjectionRow): undefined {
    const { key } = this.host
    if (this.state === 'superseded') return
    this.#rest('superseded')
    if (key.partition === 0) warnOfGreater(key, version)
  }

  /**
   * @param end - of what is final in the log: only what is beyond that is compared with what the log has given out
   * @throws `BeyondLogEndError` where the log does not have the position
   */
  async #assertInLog({ position }: BatchWork, end: bigint): Promise<void> {
    if (position <= end) return
    const { source, key } = this.host
    const last = await source.endBefore(position)
    if (last !== undefined) throw beyondLogEnd({ ...key, position }, last)
  }

  #begin(lease: ProjectionLease): BatchWork {
    const { projection, key, recorder, source, limits } = this.host
    const work = new BatchWork(
      {
        projection,
        key,
        recorder,
        source,
        limits,
        mayGoOn: async () => await this.#mayGoOn(),
        signal: this.#abort.signal,
      },
      lease,
    )
    this.#work = work
    return work
  }

  /** A greater version begins without the rows of those before. */
  async #emptyFirst(work: BatchWork): Promise<void> {
    const { projection, key } = this.host
    if (!this.#emptiesFirst || key.partition > 0 || work.position > 0n) return
    if (projection.empty !== undefined) await work.runAt(0n, projection.empty)
  }

  async #follow(lease: ProjectionLease): Promise<void> {
    const work = this.#begin(lease)
    const attempts = this.#parkedAttempts()
    try {
      const { source, projection } = this.host
      const target = await source.end()
      await this.#assertInLog(work, target)
      await this.#emptyFirst(work)
      attempts?.look()
      if (work.position >= target) await this.#becomeLive(work, target)
      const { topics = [], tags } = await askedOf(source, projection)
      const subscription = source.follow({ gt: work.position, topics, tags, onBeyondEnd: 'throw' })
      this.#subscription = subscription
      if (this.#isStopping) subscription.stop()
      for await (const page of subscription.pages()) {
        const { parked } = work.counts
        const outcome = await this.#process(work, page)
        if (work.counts.parked > parked) attempts?.look()
        if ('error' in outcome) return await this.#block(outcome)
        if (!outcome.done) return
        await this.#becomeLive(work, target)
      }
    } catch (error) {
      if (error instanceof BeyondLogEndError) await this.#stopBeyondEnd(error)
      else this.#failed(error)
    } finally {
      this.#subscription?.stop()
      this.#subscription = undefined
      await attempts?.end()
      await this.#end(work)
    }
  }

  /** What tries again what this projection puts aside. */
  #parkedAttempts(): ParkedAttempts | undefined {
    const { key, projection } = this.host
    if (projection.onError !== 'park') return undefined
    const keys = Array.from({ length: projection.partitions }, (_, partition) => ({ ...key, partition }))
    return new ParkedAttempts({ ...this.host, keys, signal: this.#abort.signal })
  }

  async #process(work: BatchWork, page: LogPage): Promise<Outcome> {
    const before = work.position
    const outcome = await work.process(page)
    if (work.position > before) this.host.onMoved()
    return outcome
  }

  async #mayGoOn(): Promise<boolean> {
    if (this.#isStopping) return false
    const now = performance.now()
    if (now - this.#askedAt < wantedForMs) return true
    const { recorder, key } = this.host
    const wanted = await recorder.wanted(key.name, key.version)
    if (wanted === 'paused') {
      this.#rest('paused')
      return false
    }
    this.#askedAt = now
    return true
  }

  /** From the first time that it has come to what was the end of the log. */
  async #becomeLive(work: BatchWork, target: bigint): Promise<void> {
    if (work.isLive || work.position < target) return
    const { recorder, key } = this.host
    work.isLive = true
    await recorder.change(key.name, key.version, { status: 'live', reason: null, failedPosition: null, target: null })
  }

  async #block({ failedAt, error }: { readonly failedAt: bigint; readonly error: unknown }): Promise<void> {
    const { projection, key } = this.host
    const message =
      `The ${titleOf(projection)} stands still at event ${failedAt} of ${key.upstream}: ${reasonOf(error)}. The others go on. ` +
      "Mend its handler and begin again, or call retry(). With onError: 'park' such an event is put aside."
    await this.#standStill(error, message, failedAt)
  }

  /** Stands still at no event: whoever starts a runner does not try that again. */
  async #stopAt(error: Error): Promise<undefined> {
    await this.#standStill(
      error,
      `The ${titleOf(this.host.projection)} stands still. ${error.message} The others go on.`,
    )
  }

  /** Its position is one that its log does not have. */
  async #stopBeyondEnd({ position, end }: BeyondLogEndError): Promise<void> {
    const error = beyondLogEnd({ ...this.host.key, position }, end)
    await this.#stopAt(error).catch((failure: unknown) => this.#failed(failure))
  }

  async #standStill(error: unknown, message: string, failedAt?: bigint): Promise<void> {
    const { recorder, key } = this.host
    this.#rest('blocked')
    this.error = error
    const [reason, failedPosition] = [reasonOf(error), failedAt ?? null]
    await recorder.change(key.name, key.version, { status: 'blocked', reason, failedPosition })
    publish('blocked', { ...traceOf(key), position: failedAt, error })
    process.emitWarning(message, { code: 'ES_PROJECTION_BLOCKED' })
  }

  #failed(error: unknown): void {
    const { key } = this.host
    if (error instanceof LeaseLostError) {
      this.#rest('waiting')
      publish('lease', { ...traceOf(key), event: 'lost' })
      return
    }
    if (this.#isStopping || error instanceof DatastoreClosedError) return
    this.#rest('waiting')
    // Undefined would say that nothing has failed.
    this.error = error ?? reasonOf(error)
    this.#restsUntil = performance.now() + restartMs
    process.emitWarning(`The ${titleOf(this.host.projection)} has failed, and begins again. ${reasonOf(error)}`, {
      code: 'ES_PROJECTION_FAILED',
    })
  }

  async #end(work: BatchWork): Promise<void> {
    const { recorder, key } = this.host
    this.#lastPosition = work.position
    this.#counts = work.counts
    this.#work = undefined
    // Where it cannot be given up it runs out.
    await recorder.release(key, work.epoch).catch(() => undefined)
    publish('lease', { ...traceOf(key), event: 'released', epoch: work.epoch })
  }
}

function traceOf({ name, version, partition }: ProjectionKey): {
  readonly projection: string
  readonly version: number
  readonly partition: number
} {
  return { projection: name, version, partition }
}
