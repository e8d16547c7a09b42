/** Stores the events of an application in a table of the Prisma schema, in one order: its log. */
import { NoTransactionError, NotSupportedError } from '../errors.js'
import {
  type ApplicationRecorder,
  checkLimit,
  logPosition,
  type SelectNotificationsOptions,
  type SubscribeOptions,
  type Subscription,
  type TaggedRead,
  type TaggedReadOptions,
  type TagQuery,
} from '../persistence/recorder.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'
import { LogSubscription } from '../persistence/subscription.js'
import { isTransient } from '../transaction/options.js'
import { PrismaAggregateRecorder } from './aggregate-recorder.js'
import type { StatementRunner } from './connections.js'
import type { LogRange, TopicCount } from './dialect.js'
import { levelOf, runIn } from './engine.js'
import type { PendingEvents } from './pending-events.js'

/** An `ApplicationRecorder` on a datastore. */
export class PrismaApplicationRecorder<Client extends object = object>
  extends PrismaAggregateRecorder<Client>
  implements ApplicationRecorder
{
  protected override readonly tellsIds = true

  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    return [...(await this.insertAtOnce(events, {}))]
  }

  async selectNotifications(
    start: bigint | null,
    limit: number,
    options: SelectNotificationsOptions = {},
  ): Promise<Notification[]> {
    const range = logRange(start, limit, options)
    return await this.#readLog('read the log', (runner) => this.table.selectLog(runner, range))
  }

  async maxNotificationId(): Promise<bigint | null> {
    return await this.#readLog('read the end of the log', (runner) => this.table.lastLogPosition(runner))
  }

  async greatestNotificationId(): Promise<bigint | null> {
    const { table } = this
    const read = table.greatestId?.bind(table) ?? table.lastLogPosition.bind(table)
    return await runIn(this.engine, 'outside', 'read the end of the log', read)
  }

  async lastGivenNotificationId(): Promise<bigint> {
    return await this.#readLog('read the end of the log', (runner) => this.table.lastGivenPosition(runner))
  }

  /** How many events of each topic the log has, and how many streams begin with one of them. Reads the whole table. */
  async countByTopic(): Promise<TopicCount[]> {
    return await this.#readLog('count the events', (runner) => this.table.countByTopic(runner))
  }

  /**
   * Follows the log, outside of any transaction: only what is committed is delivered. The database is asked for new events
   * up to once a second, and at once when this process, or who notifies the datastore's option `listen`, has stored some.
   *
   * @throws `NotSupportedError` where somebody else manages the transactions
   */
  subscribe(options?: SubscribeOptions): Subscription<Notification> {
    const { engine, table } = this
    const { signals } = engine
    if (signals === undefined) {
      throw new NotSupportedError(
        'Could not subscribe with PrismaApplicationRecorder: somebody else manages the transactions, and a subscription reads outside of them. Use a PrismaDatastore.',
      )
    }
    let hasRead = false
    const read = async <T>(work: (runner: StatementRunner) => Promise<T>): Promise<T> => {
      const result = await runIn(engine, 'outside', 'follow the log', work)
      hasRead = true
      return result
    }
    const log = {
      selectNotifications: (...[start, limit, range]: Parameters<ApplicationRecorder['selectNotifications']>) =>
        read((runner) => table.selectLog(runner, logRange(start, limit, range))),
      maxNotificationId: () => read((runner) => table.lastLogPosition(runner)),
      onRecorded(listener: () => void) {
        const channels = [table.channel, ...(table.foreignChannel === undefined ? [] : [table.foreignChannel])]
        const ends = channels.map((channel) => signals.follow(channel, listener))
        return () => {
          for (const end of ends) end()
        }
      },
      get isClosed() {
        return signals.isClosed
      },
      // In a fail-over the new primary is a standby for a while.
      mayPass: (error: unknown) => isTransient(error) || (hasRead && error instanceof NotSupportedError),
      lastGivenNotificationId: () => read((runner) => table.lastGivenPosition(runner)),
    }
    return new LogSubscription(() => signals.tailOf(table.reference, log), options)
  }

  async selectByTags(queries: ReadonlyArray<TagQuery & TaggedReadOptions>): Promise<TaggedRead[]> {
    if (queries.length === 0) return []
    const scope = this.engine.transactions.current
    const reads = queries.map(({ tags, types, gt = null, onlyLast = false, limit }) => ({
      tags,
      types,
      after: gt,
      limit: onlyLast ? 1 : limit,
      newestFirst: onlyLast,
    }))
    const found = await runIn(this.engine, 'read', `read events by tags`, (runner) =>
      this.table.selectByTags(runner, reads),
    )
    return found.map((read, index) => withPending(read, queries[index], this.pendingOf(scope)))
  }

  async addTags(tagged: ReadonlyArray<{ readonly id: bigint; readonly tags: readonly string[] }>): Promise<void> {
    const rows = tagged.flatMap(({ id, tags }) => [...new Set(tags)].map((tag) => [tag, id] as const))
    if (rows.length === 0) return
    const scope = this.engine.transactions.current
    if (scope === undefined) this.engine.checkOutside('tags of events')
    await runIn(this.engine, 'repeatable', 'add tags', (runner) => this.table.addTags(runner, rows))
  }

  async lockTags(tags: readonly string[]): Promise<void> {
    const scope = this.engine.transactions.current
    if (scope === undefined && !this.engine.runner().inTransaction) {
      throw new NoTransactionError('Could not lock tags: there is no transaction, at whose end they would be released.')
    }
    await runIn(this.engine, 'write', `lock the tags ${tags.join(', ')}`, (runner) => this.table.lockTags(runner, tags))
  }

  async #readLog<T>(attempted: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    const scope = this.engine.transactions.current
    if (scope === undefined) return await runIn(this.engine, 'outside', attempted, work)
    if (scope.autoflush) await scope.flush()
    const { isolationLevel, readOnly } = scope.session.options
    // In such a snapshot an event may be missing that is stored below one that is there: whoever goes on from there loses it.
    const hasHoles = this.engine.dialect.logHasHolesAt(
      readOnly ? isolationLevel : await levelOf(this.engine, scope),
      readOnly,
    )
    return await runIn(this.engine, hasHoles ? 'outside' : 'read', attempted, work)
  }
}

/** Adds what waits for the flush, which is after all that is stored. */
function withPending(
  read: TaggedRead,
  query: (TagQuery & TaggedReadOptions) | undefined,
  pending: PendingEvents | undefined,
): TaggedRead {
  // Whoever reads in pages has the others still to come.
  if (query === undefined || pending === undefined || read.events.length === query.limit) return read
  const added = pending.tagged(query).map((event) => ({ event, id: undefined }))
  if (added.length === 0) return read
  return { ...read, events: query.onlyLast === true ? added.slice(-1) : [...read.events, ...added] }
}

function logRange(start: bigint | null, limit: number, options: SelectNotificationsOptions = {}): LogRange {
  const { isFinal = false, topics = [], tags = [], inclusiveOfStart = true } = options
  const first = logPosition(start, 'start')
  const to = logPosition(options.stop, 'stop') ?? undefined
  const range = { to, isFinal, limit: checkLimit(limit), topics, tags }
  if (first === null || first < 1n) return { from: 1n, ...range }
  return { from: inclusiveOfStart ? first : first + 1n, ...range }
}
