/** Verifies the snapshots of an application that a module exports. */
import { type VerifiedApplication, verifySnapshots } from '../application/snapshot-verification.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { EnvironmentError } from '../errors.js'
import { resolveTopic } from '../persistence/module-topic.js'

/** What to verify, by topics such as `./dist/app.js#school`. */
export interface VerificationOptions {
  readonly application: string
  /** Classes of aggregates, and deciders. */
  readonly kinds: readonly string[]
}

/**
 * Compares all snapshots with what the events say.
 *
 * @param print - called with a line for each difference, and one for each class or decider
 * @returns how many snapshots differ
 * @throws `EnvironmentError` for a topic of something else; `TopicError` for one that cannot be loaded
 */
export async function verifyAll(
  { application: topic, kinds }: VerificationOptions,
  print: (line: string) => void,
): Promise<number> {
  const application = await resolveTopic(topic)
  if (!isApplication(application)) throw unusable(topic, 'an application')
  let count = 0
  for (const kindTopic of kinds) {
    const kind = await resolveTopic(kindTopic)
    if (!isKind(kind)) throw unusable(kindTopic, 'a class of aggregates or a decider')
    const { checked, passedOver, differences } = await verifySnapshots(application, kind)
    for (const { id, version, expected, actual } of differences) {
      print(`${kind.name} ${id}, version ${version}: events give ${textOf(expected)}, the snapshot ${textOf(actual)}`)
    }
    print(`${kind.name}: ${checked} snapshots checked, ${passedOver} passed over, ${differences.length} differ`)
    count += differences.length
  }
  return count
}

function textOf(state: unknown): string {
  return JSON.stringify(state) ?? String(state)
}

// By shape, since a project may load the package a second time.
function isApplication(value: unknown): value is VerifiedApplication & Partial<AsyncDisposable> {
  return typeof value === 'object' && value !== null && 'snapshotStore' in value && 'aggregates' in value
}

function isKind(value: unknown): value is SnapshotKind {
  if (typeof value === 'function') return true
  return typeof value === 'object' && value !== null && 'evolve' in value && 'initialState' in value
}

function unusable(topic: string, expected: string): EnvironmentError {
  return new EnvironmentError(`Could not verify snapshots: ${topic} is not ${expected}.`)
}
