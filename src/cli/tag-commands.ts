/** The command that gives tags to events of before. */
import type { Command } from 'commander'
import { backfillTags, type TaggedApplication } from '../application/tag-backfill.js'
import { type EventDeclaration, isEventDefinition } from '../domain/event-definition.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { EnvironmentError } from '../errors.js'
import { resolveTopic } from '../persistence/module-topic.js'
import { counted, type Output } from './output.js'
import { isKind } from './verify-snapshots.js'

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
  const application = await resolveTopic(topic)
  if (!isApplication(application)) throw unusable(topic, 'an application')
  const kinds: Array<SnapshotKind | EventDeclaration> = []
  for (const kindTopic of kindTopics) {
    const kind = await resolveTopic(kindTopic)
    if (!isEventDefinition(kind) && !isKind(kind))
      throw unusable(kindTopic, 'a class of aggregates, a decider or a definition')
    kinds.push(kind)
  }
  const { read, tagged } = await backfillTags(application, kinds)
  output.print(`${counted(read, 'event')} read, ${tagged} of them have tags`)
}

// By shape, since a project may load the package a second time.
function isApplication(value: unknown): value is TaggedApplication {
  return typeof value === 'object' && value !== null && 'eventStore' in value && 'recorder' in value
}

function unusable(topic: string, expected: string): EnvironmentError {
  return new EnvironmentError(`Could not add tags: ${topic} is not ${expected}.`)
}
