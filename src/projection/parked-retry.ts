/** Tries events again that a projection has put aside: those of one key in order, until one of them fails. */
import type { ParkedEvent, ProjectionKey, ProjectionRecorder } from '../persistence/projection-recorder.js'
import type { PositionedEvent } from './handlers.js'
import { reasonOf } from './parked-keys.js'
import type { Projection } from './projection.js'
import type { ProjectionSource } from './source.js'

/** What the attempts stand on. */
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
      await outside.handle(await eventOf(host, parked), host.source.name, host.signal ?? new AbortController().signal)
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
