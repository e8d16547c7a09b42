/** Lets a projection rest, and go on as what it was. */
import type { ProjectionRecorder, ProjectionRow } from './projection-recorder.js'

/**
 * @param parts - the rows of one version
 * @param end - the end of the log: what it has to reach where it was being built
 */
export async function pauseProjection(
  recorder: ProjectionRecorder,
  [first]: readonly ProjectionRow[],
  end: bigint,
): Promise<void> {
  if (first === undefined) return
  const { name, version, status, target } = first
  const unfinished = status === 'building' && target === undefined ? { target: end } : {}
  await recorder.change(name, version, { wanted: 'paused', status: 'paused', ...unfinished })
}

/** @param parts - the rows of one version */
export async function resumeProjection(recorder: ProjectionRecorder, [first]: readonly ProjectionRow[]): Promise<void> {
  if (first === undefined || first.wanted === 'running') return
  const { name, version, failedPosition, target } = first
  const status = failedPosition !== undefined ? 'blocked' : target === undefined ? 'live' : 'building'
  await recorder.change(name, version, { wanted: 'running', status })
}
