/** Verifies the snapshots of an application that a module exports. */
import { inspect, isDeepStrictEqual } from 'node:util'
import type { Command } from 'commander'
import { backfillTags, type TaggedApplication } from '../application/decisions.js'
import { type VerifiedApplication, verifyEach } from '../application/snapshot-verification.js'
import { type EventDeclaration, isEventDefinition } from '../domain/event-definition.js'
import { isPlainObject } from '../domain/kept-values.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { EnvironmentError } from '../errors.js'
import { counted, type Output } from './project.js'
import { loadTopic } from './run-projections.js'

/** What to verify, by topics such as `./dist/app.js#school`. */
interface VerificationOptions {
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
  { application: topic, kinds: kindTopics }: VerificationOptions,
  print: (line: string) => void,
): Promise<number> {
  const application = await loadTopic(topic)
  if (!isApplication(application)) throw unusable(topic, 'an application')
  const kinds: SnapshotKind[] = []
  for (const kindTopic of kindTopics) {
    const kind = await loadTopic(kindTopic)
    if (!isKind(kind)) throw unusable(kindTopic, 'a class of aggregates or a decider')
    kinds.push(kind)
  }
  let count = 0
  for (const kind of kinds) count += await verify(application, kind, print)
  return count
}

async function verify(
  application: VerifiedApplication,
  kind: SnapshotKind,
  print: (line: string) => void,
): Promise<number> {
  let count = 0
  const { checked, passedOver } = await verifyEach(application, kind, {
    onDifference({ id, version, expected, actual, isPersonal }) {
      count += 1
      const [said, found] = different(expected, actual).map(isPersonal ? namesOf : textOf)
      print(`${kind.name} ${id}, version ${version}: events give ${said}, the snapshot ${found}`)
    },
  })
  print(`${kind.name}: ${checked} snapshots checked, ${passedOver} passed over, ${count} differ`)
  return count
}

/** Of two states, the members that differ. */
function different(expected: unknown, actual: unknown): [expected: unknown, actual: unknown] {
  if (!isPlainObject(expected) || !isPlainObject(actual)) return [expected, actual]
  const isSame = (name: string): boolean => isDeepStrictEqual(expected[name], actual[name])
  const rest = (state: Record<string, unknown>): unknown =>
    Object.fromEntries(Object.entries(state).filter(([name]) => !isSame(name)))
  return [rest(expected), rest(actual)]
}

/** What can be said of a state with personal data. */
function namesOf(found: unknown): string {
  if (found === undefined) return textOf(found)
  const names = isPlainObject(found) ? Object.keys(found).join(', ') : 'another state'
  return `${names} (not shown: it has personal data)`
}

/** On one line. */
function textOf(found: unknown): string {
  if (found === undefined) return 'nothing: they end before it'
  const text = found instanceof Error ? `an error, ${String(found)}` : inspect(found, options)
  return text.replace(/\s+/g, ' ')
}

const options = { breakLength: Infinity, depth: Infinity, maxArrayLength: null, maxStringLength: null }

// By shape, since a project may load the package a second time.
function isApplication(value: unknown): value is VerifiedApplication {
  return typeof value === 'object' && value !== null && 'snapshotStore' in value && 'aggregates' in value
}

/** Whether a value is a class of aggregates, or a decider. */
export function isKind(value: unknown): value is SnapshotKind {
  if (typeof value === 'function') {
    const prototype: unknown = value.prototype
    return typeof prototype === 'object' && prototype !== null && 'pendingEvents' in prototype
  }
  return typeof value === 'object' && value !== null && 'evolve' in value && 'initialState' in value
}

function unusable(topic: string, expected: string): EnvironmentError {
  return new EnvironmentError(`Could not verify snapshots: ${topic} is not ${expected}.`)
}

interface BackfillFlags {
  readonly application: string
  readonly kind: string[]
}

/** Adds `tags backfill`. */
export function addTags(command: Command, output: Output): void {
  command
    .command('tags')
    .description('tags of events, for decisions by them')
    .command('backfill')
    .description(
      'give their tags to events that were stored before their definitions had any; may run while others write, and again',
    )
    .requiredOption('--application <topic>', 'an application, such as ./dist/app.js#school')
    .requiredOption(
      '--kind <topic...>',
      'classes of aggregates, deciders, or definitions of events, such as ./dist/dogs.js#Dog',
    )
    .action(async ({ application, kind }: BackfillFlags) => await backfill(application, kind, output))
}

async function backfill(topic: string, kindTopics: readonly string[], output: Output): Promise<void> {
  const application = await loadTopic(topic)
  if (!isTaggedApplication(application)) throw notTaggable(topic, 'an application')
  const kinds: Array<SnapshotKind | EventDeclaration> = []
  for (const kindTopic of kindTopics) {
    const kind = await loadTopic(kindTopic)
    if (!isEventDefinition(kind) && !isKind(kind))
      throw notTaggable(kindTopic, 'a class of aggregates, a decider or a definition')
    kinds.push(kind)
  }
  const { read, tagged } = await backfillTags(application, kinds)
  output.print(`${counted(read, 'event')} read, ${tagged} of them have tags`)
}

// By shape, since a project may load the package a second time.
function isTaggedApplication(value: unknown): value is TaggedApplication {
  return typeof value === 'object' && value !== null && 'eventStore' in value && 'recorder' in value
}

function notTaggable(topic: string, expected: string): EnvironmentError {
  return new EnvironmentError(`Could not add tags: ${topic} is not ${expected}.`)
}
