/** Gives tags to events that were stored before their definitions had any. */
import type { DomainEvent } from '../domain/event.js'
import type { EventDeclaration } from '../domain/event-definition.js'
import { type EventShapes, shapeOf } from '../domain/event-shapes.js'
import { shapesOfFacts } from '../domain/facts.js'
import { presentEvent } from '../domain/present-event.js'
import { shapesOf } from '../domain/read-event.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { eventTags } from '../domain/tags.js'
import { NotSupportedError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { ApplicationRecorder } from '../persistence/recorder.js'

/** An application as far as its tags go. */
export interface TaggedApplication {
  /** Reads events. */
  eventStore(): Promise<EventStore>
  /** Has the log, and the tags. */
  readonly recorder: Pick<ApplicationRecorder, 'selectNotifications' | 'addTags'>
}

/** What was done. */
export interface BackfillCounts {
  /** Events of the log. */
  read: number
  /** Those that have tags, now or before. */
  tagged: number
}

const pageSize = 500

/**
 * Reads the log from its beginning, and adds the tags that events have by the definitions of today. It may run while others write, and
 * again. Erased values give no tags.
 *
 * @param kinds - classes of aggregates, deciders, and definitions of events of whatever stream
 * @param onPage - called after each page, with the counts up to there
 * @throws `NotSupportedError` where the recorder keeps no tags; what reading an event and its tags throws
 */
export async function backfillTags(
  application: TaggedApplication,
  kinds: ReadonlyArray<SnapshotKind | EventDeclaration>,
  onPage: (counts: BackfillCounts) => void = () => undefined,
): Promise<BackfillCounts> {
  const store = await application.eventStore()
  const { recorder } = application
  if (recorder.addTags === undefined) throw new NotSupportedError('Could not add tags: the recorder has no addTags().')
  const shapes = kinds.map((kind) => ('validatesOnRead' in kind ? shapesOfFacts(kind) : shapesOf(kind)))
  const counts: BackfillCounts = { read: 0, tagged: 0 }
  for (let position: bigint | null = null; ; ) {
    const page = await recorder.selectNotifications(position, pageSize, { inclusiveOfStart: false })
    const events = await store.toDomainEvents(page)
    const tagged = page.flatMap(({ id }, index) => {
      const tags = textsOf(store, shapes, events[index])
      return tags.length === 0 ? [] : [{ id, tags }]
    })
    await recorder.addTags(tagged)
    counts.read += page.length
    counts.tagged += tagged.length
    onPage(counts)
    position = page.at(-1)?.id ?? null
    if (position === null) return counts
  }
}

function textsOf(store: EventStore, all: readonly EventShapes[], event: DomainEvent | undefined): string[] {
  if (event === undefined) return []
  const { topic, originatorVersion, originatorId } = event
  for (const shapes of all) {
    const name = shapes.nameOf(topic)
    if (name === undefined) continue
    const { data, personal } = presentEvent(event, shapeOf(shapes, name))
    const attempted = `tag ${topic}, version ${originatorVersion} of ${originatorId}`
    const tags = eventTags({ tagsOf: shapes.tagsOf(name), data, personal, attempted })
    if (tags !== undefined) return store.tagTexts.of(tags)
  }
  return []
}
