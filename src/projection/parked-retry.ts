/** Tries events again that a projection has put aside: those of one key in order, until one of them fails. */
import type { ParkedEvent, ProjectionKey, ProjectionRecorder } from '../persistence/projection-recorder.js'
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
}

/** @param position - of one event, with those of its key; default all */
export async function retryParked(host: ParkedRetryHost, position?: bigint): Promise<void> {
  const { recorder, projection } = host
  const all = await recorder.parked(projection.name, projection.version)
  const wanted = position === undefined ? undefined : all.find(({ notificationId }) => notificationId === position)?.key
  const failed = new Set<string>()
  for (const event of all) {
    if (failed.has(event.key) || (position !== undefined && event.key !== wanted)) continue
    if (!(await succeeds(host, event))) failed.add(event.key)
  }
}

async function succeeds(host: ParkedRetryHost, parked: ParkedEvent): Promise<boolean> {
  const { recorder, keys } = host
  try {
    await recorder.beside(keys, async () => {
      if (await isTakenBack(host, parked)) await apply(host, parked.notificationId)
    })
    return true
  } catch (error) {
    if (recorder.mayPass(error)) throw error
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

async function apply({ source, projection }: ParkedRetryHost, notificationId: bigint): Promise<void> {
  const { items } = await source.page({ after: notificationId - 1n, limit: 1, topics: undefined })
  const [notification] = items
  if (notification?.id !== notificationId) throw new Error(`The log has no event ${notificationId} any more`)
  const [event] = await source.read([notification])
  if (event !== undefined) await projection.apply([{ event, position: notificationId }])
}
