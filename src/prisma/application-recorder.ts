/** Stores the events of an application in a table of the Prisma schema, in one order: its log. */
import type { AppendOptions, ApplicationRecorder, SelectNotificationsOptions } from '../persistence/recorder.js'
import type { Notification, StoredEvent } from '../persistence/stored-event.js'
import { PrismaAggregateRecorder } from './aggregate-recorder.js'
import type { StatementRunner } from './connections.js'

/** An `ApplicationRecorder` on a datastore. */
export class PrismaApplicationRecorder<Client extends object = object>
  extends PrismaAggregateRecorder<Client>
  implements ApplicationRecorder
{
  override async insertEvents(events: readonly StoredEvent[]): Promise<bigint[]> {
    return [...(await this.insertAtOnce(events, {}))]
  }

  override async appendEvents(events: readonly StoredEvent[], options: AppendOptions = {}): Promise<void> {
    await this.append(events, options)
  }

  async selectNotifications(
    start: bigint | null,
    limit: number,
    options: SelectNotificationsOptions = {},
  ): Promise<Notification[]> {
    const { stop, topics = [], inclusiveOfStart = true } = options
    const first = start === null || start < 1n ? 1n : start
    const from = inclusiveOfStart || start === null || start < 1n ? first : first + 1n
    return await this.#readLog('read the log', (runner) =>
      this.table.selectLog(runner, { from, to: stop, limit, topics }),
    )
  }

  async maxNotificationId(): Promise<bigint | null> {
    return await this.#readLog('read the end of the log', (runner) => this.table.lastLogPosition(runner))
  }

  async #readLog<T>(attempted: string, work: (runner: StatementRunner) => Promise<T>): Promise<T> {
    const scope = this.engine.currentScope
    if (scope === undefined) return await this.read(attempted, work)
    if (scope.autoflush) await scope.flush()
    const { isolationLevel, readOnly } = scope.session.options
    if (!this.engine.dialect.logHasHolesAt(isolationLevel, readOnly)) return await this.read(attempted, work)
    // In that snapshot an event may be missing that is stored below one that is there: whoever goes on from there loses it.
    return await work(this.engine.runner())
  }
}
