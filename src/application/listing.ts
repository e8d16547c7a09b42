/** Which originators there are: found in the log by the events that created them. */
import { defaultCreationName, eventsOf } from '../domain/aggregate-events.js'
import { shapesOf } from '../domain/read-event.js'
import type { SnapshotKind } from '../domain/snapshot.js'
import { storedTopics, type TopicOwner } from '../domain/topic.js'
import { PageSize } from '../persistence/page-size.js'
import { greatestPosition } from '../persistence/positions.js'
import type { ApplicationRecorder } from '../persistence/recorder.js'

const firstPage = 100
const greatestPage = 500

/** Gives the ids of all originators of a kind, in the order in which they were created. */
export async function* originatorIds(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  kind: SnapshotKind,
): AsyncGenerator<string, void, undefined> {
  const { topics, firstVersion } = creationOf(kind)
  const ended = await endedIds(log, kind)
  const size = new PageSize(firstPage, greatestPage)
  for (let position: bigint | null = null; ; ) {
    const { limit } = size
    const page = await log.selectNotifications(position, limit, { topics, inclusiveOfStart: false })
    for (const { id, originatorId, originatorVersion } of page) {
      const endedAt = ended.get(originatorId)
      if (endedAt === undefined) {
        if (originatorVersion === firstVersion) yield originatorId
      } else if (id > endedAt) {
        // Begun again: it comes once.
        ended.set(originatorId, greatestPosition)
        yield originatorId
      }
    }
    const last = page.at(-1)
    if (last === undefined || page.length < limit) return
    position = last.id
    size.adapt(page)
  }
}

/** Those that an event has ended, with its position, the last one; nothing is read where no event does that. */
async function endedIds(
  log: Pick<ApplicationRecorder, 'selectNotifications'>,
  kind: SnapshotKind,
): Promise<Map<string, bigint>> {
  const shapes = shapesOf(kind)
  const topics = [...shapes.endings].flatMap((name) => storedTopics(shapes, name))
  const ended = new Map<string, bigint>()
  for (let position: bigint | null = null; topics.length > 0; ) {
    const page = await log.selectNotifications(position, greatestPage, { topics, inclusiveOfStart: false })
    for (const { id, originatorId } of page) ended.set(originatorId, id)
    position = page.at(-1)?.id ?? null
    if (page.length < greatestPage) break
  }
  return ended
}

/** The topics that the first event of an originator may have. */
function creationOf(kind: SnapshotKind): { readonly topics: readonly string[]; readonly firstVersion: number } {
  if (typeof kind !== 'function') {
    const owner: TopicOwner = { topic: kind.name, formerTopics: kind.formerTopics }
    return { topics: Object.keys(kind.evolve).flatMap((name) => storedTopics(owner, name)), firstVersion: 1 }
  }
  const events = eventsOf(kind.prototype as object)
  const { creation, handlers, initialVersion: firstVersion } = events
  const names = creation === undefined ? [defaultCreationName, ...handlers.keys()] : [creation.name]
  return { topics: names.flatMap((name) => storedTopics(events, name)), firstVersion }
}
