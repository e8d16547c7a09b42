/** Recorders of tags that break one promise each, so that the contract can show that it notices. */
import {
  InMemoryApplicationRecorder,
  type Notification,
  type StoredEvent,
  type SubscribeOptions,
  type Subscription,
} from '../../src/index.js'
import type { AppendCondition, AppendOptions, TaggedRead, TaggedReadOptions, TagQuery } from '../../src/recorders.js'
import type { TaggingRecorder } from '../../src/testing/index.js'

type Query = TagQuery & TaggedReadOptions

class Changed extends InMemoryApplicationRecorder {
  ask = (query: Query): Query => query
  change = (read: TaggedRead, _all: readonly TaggedRead[]): TaggedRead => read
  check = (condition: AppendCondition): AppendCondition | undefined => condition
  override async selectByTags(queries: readonly Query[]): Promise<TaggedRead[]> {
    const reads = await super.selectByTags(queries.map((query) => this.ask(query)))
    return reads.map((read) => this.change(read, reads))
  }
  override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    const unless = (options.unless ?? []).flatMap((condition) => this.check(condition) ?? [])
    await super.appendEvents(events, { ...options, unless })
  }
}

class LooksFirst extends InMemoryApplicationRecorder {
  override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    const { unless = [], ...others } = options
    await super.appendEvents([], { unless })
    await new Promise((resolve) => setTimeout(resolve, 5))
    await super.appendEvents(events, others)
  }
}

class StoresFirst extends InMemoryApplicationRecorder {
  override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    const { unless = [], ...others } = options
    const failure = await super.appendEvents([], { unless }).then(
      () => undefined,
      (error: unknown) => error as Error,
    )
    await super.appendEvents(events, others)
    if (failure !== undefined) throw failure
  }
}

class BreaksLog extends InMemoryApplicationRecorder {
  tagsOf = (tags: readonly string[] | undefined): readonly string[] => tags ?? []
  override async selectNotifications(
    ...[start, limit, options]: Parameters<InMemoryApplicationRecorder['selectNotifications']>
  ): Promise<Notification[]> {
    return await super.selectNotifications(start, limit, { ...options, tags: this.tagsOf(options?.tags) })
  }
}

class CountsFirst extends InMemoryApplicationRecorder {
  override async selectNotifications(
    ...[start, limit, options]: Parameters<InMemoryApplicationRecorder['selectNotifications']>
  ): Promise<Notification[]> {
    const known = await super.selectNotifications(start, 100, options)
    const { tags: _tags, ...others } = options ?? {}
    const page = await super.selectNotifications(start, limit, others)
    return page.filter(({ id }) => known.some((each) => each.id === id))
  }
}

class DeliversAll extends InMemoryApplicationRecorder {
  override subscribe({ tags: _tags, ...options }: SubscribeOptions = {}): Subscription<Notification> {
    return super.subscribe(options)
  }
}

type Added = Parameters<InMemoryApplicationRecorder['addTags']>[0]

class Adds extends InMemoryApplicationRecorder {
  changed = (added: Added): Added => added
  override async addTags(added: Added): Promise<void> {
    await super.addTags(this.changed(added))
  }
}

const asking = (ask: Changed['ask']) => (): Changed => Object.assign(new Changed(), { ask })
const finding = (change: Changed['change']) => (): Changed => Object.assign(new Changed(), { change })
const checking = (check: Changed['check']) => (): Changed => Object.assign(new Changed(), { check })

/** Break the promises of reads by tags, and of conditions. */
export const brokenTags: Record<string, () => TaggingRecorder> = {
  'looks at the first tag only': asking((query) => ({ ...query, tags: query.tags.slice(0, 1) })),
  'gives the log backwards': finding((read) => ({ ...read, events: read.events.toReversed() })),
  'gives ids from 0': finding((read) => ({
    ...read,
    events: read.events.map(({ event, id }) => ({ event, id: (id ?? 0n) - 1n })),
  })),
  'finds all types': asking((query) => ({ ...query, types: [] })),
  'finds the first type only': asking((query) => ({ ...query, types: query.types.slice(0, 1) })),
  'begins at the start': asking((query) => ({ ...query, gt: null })),
  'loses the limit': asking(({ limit: _limit, ...query }) => query),
  'gives all for the last': asking((query) => ({ ...query, onlyLast: false })),
  'begins to read at 0': finding((read) => ({ ...read, after: read.after ?? 0n })),
  'has one position for all': finding((read, all) => ({ ...read, after: all[0]?.after ?? null })),
  'has no positions': finding((read) => ({ ...read, after: null })),
  'checks nothing': checking(() => undefined),
  'checks from the beginning': checking((condition) => ({ ...condition, after: null })),
  'checks all types': checking((condition) => ({ ...condition, types: [] })),
  'checks the first tag only': checking((condition) => ({ ...condition, tags: condition.tags.slice(0, 1) })),
  'reads the whole log': () => Object.assign(new BreaksLog(), { tagsOf: () => [] }),
  'reads the log by the first tag': () =>
    Object.assign(new BreaksLog(), { tagsOf: (tags: readonly string[] = []) => tags.slice(0, 1) }),
  'counts before it narrows': () => new CountsFirst(),
  'delivers all': () => new DeliversAll(),
  'adds nothing': () => Object.assign(new Adds(), { changed: () => [] }),
  'adds one tag': () =>
    Object.assign(new Adds(), {
      changed: (added: Added) => added.map(({ id, tags }) => ({ id, tags: tags.slice(0, 1) })),
    }),
  'looks first, then stores': () => new LooksFirst(),
  'stores first, then looks': () => new StoresFirst(),
}
