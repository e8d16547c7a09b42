/**
 * Tries events again that a projection has put aside: those of one key in order, until one of them fails; by hand, or beside the
 * batches as often as an event that fails is tried.
 */
import type { ParkedEvent, ProjectionKey, ProjectionRecorder } from '../persistence/projection-recorder.js'
import { type BatchLimits, handleOutside, pauseBefore } from './batch-work.js'
import type { PositionedEvent } from './handlers.js'
import { partitionOf, reasonOf } from './parked-keys.js'
import type { Projection } from './projection.js'
import type { ProjectionSource } from './source.js'

/** What attempts stand on. */
export interface ParkedRetryHost {
  readonly projection: Projection
  /** The parts of the projection. */
  readonly keys: readonly ProjectionKey[]
  readonly recorder: ProjectionRecorder
  readonly source: ProjectionSource
  /** Aborts when the runner stops. */
  readonly signal?: AbortSignal
}

/** The attempts of each projection in this process: one after the other, since what is done outside of transactions is not undone. */
const turns = new WeakMap<Projection, Promise<void>>()

/** @param position - of one event, with those of its key; default all */
export async function retryParked(host: ParkedRetryHost, position?: bigint): Promise<void> {
  const turn = (turns.get(host.projection) ?? Promise.resolve()).then(async () => await retryInTurn(host, position))
  turns.set(
    host.projection,
    turn.catch(() => undefined),
  )
  await turn
}

async function retryInTurn(host: ParkedRetryHost, position: bigint | undefined): Promise<void> {
  const { recorder, projection } = host
  const all = async (): Promise<readonly ParkedEvent[]> => await recorder.parked(projection.name, projection.version)
  let parked = await all()
  const wanted =
    position === undefined ? undefined : parked.find(({ notificationId }) => notificationId === position)?.key
  const failed = new Set<string>()
  const isLeft = ({ key }: ParkedEvent): boolean => !failed.has(key) && (position === undefined || key === wanted)
  // Outside of transactions others of the key may be put aside meanwhile, behind the one that is tried.
  for (; parked.some(isLeft); parked = await all()) {
    for (const event of parked) {
      if (isLeft(event) && !(await succeeds(host, event))) failed.add(event.key)
    }
  }
}

async function succeeds(host: ParkedRetryHost, parked: ParkedEvent): Promise<boolean> {
  const { recorder, keys } = host
  const outside = host.projection.reaction?.outside
  try {
    if (outside === undefined) {
      await recorder.beside(keys, async () => {
        if (await isTakenBack(host, parked)) {
          await host.projection.apply(await eventOf(host, parked), { log: host.source.name })
        }
      })
    } else {
      await handleOutside(host, outside, await eventOf(host, parked))
      await recorder.beside(keys, async () => void (await isTakenBack(host, parked)))
    }
    return true
  } catch (error) {
    if (recorder.mayPass(error) || outside?.mayPass?.(error) === true) throw error
    const { name, version } = host.projection
    const failed = { ...parked, attempts: parked.attempts + 1, error: reasonOf(error) }
    await recorder.beside(keys, async () => {
      if (await isTakenBack(host, parked)) await recorder.park(name, version, failed)
    })
    return false
  }
}

/** Whether nobody else has handled it meanwhile: others may try it, too. */
async function isTakenBack({ recorder, projection }: ParkedRetryHost, parked: ParkedEvent): Promise<boolean> {
  return (await recorder.unpark(projection.name, projection.version, parked.notificationId)) > 0
}

async function eventOf({ source }: ParkedRetryHost, { notificationId }: ParkedEvent): Promise<PositionedEvent[]> {
  const { items } = await source.page({ after: notificationId - 1n, limit: 1, topics: undefined })
  const [notification] = items
  if (notification?.id !== notificationId) throw new Error(`The log has no event ${notificationId} any more`)
  const [event] = await source.read([notification])
  return event === undefined ? [] : [{ event, position: notificationId }]
}

/** What the attempts of one part stand on. */
export interface ParkedAttemptsHost extends ParkedRetryHost {
  /** The part whose events they are. */
  readonly key: ProjectionKey
  readonly limits: BatchLimits
}

/** Those of one part, while this process has its lease. */
export class ParkedAttempts {
  readonly #host: ParkedAttemptsHost
  readonly #planned = new Map<bigint, NodeJS.Timeout>()
  #isOver = false
  #last: Promise<void> = Promise.resolve()

  constructor(host: ParkedAttemptsHost) {
    this.#host = host
  }

  /** Looks what is put aside and to be tried again, also by runners before this one. */
  look(): void {
    this.#inTurn(async () => await this.#look())
  }

  /** Waits for the attempt under way; those that were planned are left to whoever has the lease next. */
  async end(): Promise<void> {
    this.#isOver = true
    for (const timer of this.#planned.values()) clearTimeout(timer)
    await this.#last
  }

  async #look(): Promise<void> {
    const { recorder, projection } = this.#host
    for (const event of await recorder.parked(projection.name, projection.version)) {
      if (this.#isDue(event)) this.#plan(event)
    }
  }

  /** Those that wait behind another one are tried with that. */
  #isDue({ notificationId, attempts, key }: ParkedEvent): boolean {
    const { limits, projection, key: part } = this.#host
    if (attempts < 1 || attempts >= limits.attempts || this.#planned.has(notificationId)) return false
    return projection.partitions === 1 || partitionOf(key, projection.partitions) === part.partition
  }

  #plan({ notificationId, attempts }: ParkedEvent): void {
    if (this.#isOver) return
    const attempt = (): void => {
      this.#planned.delete(notificationId)
      this.#inTurn(async () => {
        await retryParked(this.#host, notificationId)
        await this.#look()
      })
    }
    this.#planned.set(notificationId, setTimeout(attempt, pauseBefore(attempts, this.#host.limits)))
  }

  #inTurn(work: () => Promise<void>): void {
    const { projection } = this.#host
    const before = this.#last
    this.#last = (async () => {
      await before
      try {
        if (!this.#isOver) await work()
      } catch (error) {
        process.emitWarning(
          `Events that the projection ${projection.name} has put aside could not be tried again: retry() does that, and a runner that begins. ${reasonOf(error)}`,
          { code: 'ES_PROJECTION_FAILED' },
        )
      }
    })()
  }
}
