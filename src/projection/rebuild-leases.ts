/** The leases of all parts of a projection, in the hands of who builds its rows anew. */
import { LeaseLostError } from '../errors.js'
import type {
  ProjectionKey,
  ProjectionLease,
  ProjectionRecorder,
  ProjectionStatus,
} from '../persistence/projection-recorder.js'
import type { BatchLimits } from './batch-work.js'
import type { Projection } from './projection.js'

/** Whose leases they are to be. */
export interface LeasesHost {
  readonly projection: Projection
  readonly keys: readonly ProjectionKey[]
  readonly recorder: ProjectionRecorder
  readonly limits: BatchLimits
  readonly owner: string
  /** Lets the parts of this process rest. @returns what lets them go on */
  hold(): Promise<() => void>
}

/** The leases, by the parts. */
export type Leases = ReadonlyMap<ProjectionKey, ProjectionLease>

/**
 * Takes the leases from whoever has them, for the time of some work: a batch that is under way elsewhere is finished first, and the next one
 * finds that out.
 *
 * @throws `LeaseLostError` where a greater version is there
 */
export async function withLeases<T>(host: LeasesHost, work: (leases: Leases) => Promise<T>): Promise<T> {
  const release = await host.hold()
  const leases = new Map<ProjectionKey, ProjectionLease>()
  const { recorder, keys, owner, limits, projection } = host
  const endRenewal = renewing(recorder, owner, projection.name, limits)
  try {
    for (const key of keys) {
      await recorder.add(key, projection.partitions)
      const lease = await recorder.seize(key, owner, limits.leaseMs)
      if (lease === undefined) {
        throw new LeaseLostError(`Could not rebuild projection ${key.name}: a greater version of it is there.`)
      }
      leases.set(key, lease)
    }
    return await work(leases)
  } finally {
    endRenewal()
    for (const [key, { epoch }] of leases) await recorder.release(key, epoch).catch(() => undefined)
    release()
  }
}

/** Keeps a lease in force. @returns what ends that */
export function renewing(
  recorder: ProjectionRecorder,
  owner: string,
  name: string,
  { leaseMs, onRenewed }: { readonly leaseMs: number; readonly onRenewed?: () => void },
): () => void {
  const timer = setInterval(() => {
    recorder
      .renew(owner, [name], leaseMs)
      .then(onRenewed)
      .catch(() => undefined)
  }, leaseMs / 3)
  return () => clearInterval(timer)
}

/**
 * Sets the positions, as the last that a transaction does: others can see until then that the leases are in force, and who has lost one stores
 * nothing.
 *
 * @throws `LeaseLostError`
 */
export async function reposition(recorder: ProjectionRecorder, leases: Leases, position: bigint): Promise<void> {
  for (const [key, { epoch }] of leases) {
    if (await recorder.reposition(key, epoch, position)) continue
    throw new LeaseLostError(
      `Could not rebuild projection ${key.name}: another runner has taken it meanwhile. Its rows are as they were.`,
    )
  }
}

/** What a projection does after its rebuild: one that was paused stays so. */
export async function statusAfter(
  recorder: ProjectionRecorder,
  { name, version }: Projection,
): Promise<ProjectionStatus> {
  return (await recorder.wanted(name, version)) === 'paused' ? 'paused' : 'live'
}
