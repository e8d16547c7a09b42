/** The notification log: an application's events in order, in sections for readers elsewhere. */
import { queriedTags, type Tag, type Tags } from '../domain/tags.js'
import { ProgrammingError } from '../errors.js'
import { checkLimit, logPosition } from '../persistence/positions.js'
import type { ApplicationRecorder, SelectNotificationsOptions } from '../persistence/recorder.js'
import type { LoggedNotification } from '../persistence/stored-event.js'
import { TagTexts } from '../persistence/tag-texts.js'

/** Narrows a read of a notification log. */
export interface SelectLogOptions extends Omit<SelectNotificationsOptions, 'tags'> {
  /** Only events that have all of these tags, at least one; default all events. Of a log in this process, whose recorder keeps tags. */
  readonly tags?: Tags
}

/** A part of a log: at most as many notifications as the log's section size. */
export interface Section {
  /** The first and the last id of the items, such as `1,10`; null when there are none. */
  readonly id: string | null
  /** In the order of their ids. */
  readonly items: readonly LoggedNotification[]
  /** The id to ask for what comes after; null when the section was not full. */
  readonly nextId: string | null
}

/** Events in the order in which they were recorded. */
export interface NotificationLog {
  /** The greatest number of notifications that can be asked for at once. */
  readonly sectionSize: number
  /**
   * Reads notifications from an id on.
   *
   * @param start - the first id of interest, null for the beginning
   * @param limit - at most so many, from 0 to `sectionSize`
   * @throws `ProgrammingError` for a greater limit; `NotSupportedError` for tags where none are kept
   */
  select(start: bigint | null, limit: number, options?: SelectLogOptions): Promise<LoggedNotification[]>
  /**
   * Reads a section.
   *
   * @param sectionId - the first and the last id, such as `1,10`; a first below 1 counts as 1
   * @returns at most `sectionSize` items, whatever the last id is
   * @throws `ProgrammingError` when the id is not two whole numbers with a comma between them
   */
  section(sectionId: string): Promise<Section>
}

/** What a log needs of a recorder. */
export type LogRecorder = Pick<ApplicationRecorder, 'selectNotifications'>

/** The size of sections when nobody says otherwise. */
const defaultSectionSize = 10

/** The log of an application in this process. */
export class LocalNotificationLog implements NotificationLog {
  readonly sectionSize: number
  readonly #recorder: LogRecorder
  readonly #textsOf: (tags: readonly Tag[]) => readonly string[]

  /**
   * @param sectionSize - from 1, default 10
   * @param textsOf - writes tags as they are stored; default: without a key, so that secret values are refused
   * @throws `ProgrammingError` for another size
   */
  constructor(
    recorder: LogRecorder,
    sectionSize: number = defaultSectionSize,
    textsOf: (tags: readonly Tag[]) => readonly string[] = (tags) => new TagTexts().of(tags),
  ) {
    this.#recorder = recorder
    this.#textsOf = textsOf
    this.sectionSize = checkSectionSize(sectionSize)
  }

  async select(
    start: bigint | null,
    limit: number,
    { tags, ...options }: SelectLogOptions = {},
  ): Promise<LoggedNotification[]> {
    if (checkLimit(limit) > this.sectionSize) {
      throw new ProgrammingError(
        `Cannot select ${limit} notifications at once: the section size of this log is ${this.sectionSize}`,
      )
    }
    const asked = tags === undefined ? {} : { tags: this.#textsOf(queriedTags(tags, 'read the log')) }
    return await this.#recorder.selectNotifications(start, limit, { ...options, ...asked })
  }

  async section(sectionId: string): Promise<Section> {
    const { start, size } = requestedRange(sectionId)
    const limit = size < BigInt(this.sectionSize) ? Number(size) : this.sectionSize
    const items = limit > 0 ? await this.#recorder.selectNotifications(start, limit) : []
    const first = items[0]
    const last = items.at(-1)
    if (first === undefined || last === undefined) return { id: null, items, nextId: null }
    const nextId = items.length === limit ? `${last.id + 1n},${last.id + BigInt(limit)}` : null
    return { id: `${first.id},${last.id}`, items, nextId }
  }
}

/** From where and how far to read a log. */
export interface ReadOptions extends SelectLogOptions {
  /** The first id of interest; default null, the beginning. */
  readonly start?: bigint | null
}

/** Reads a log to its end, here or elsewhere, a section at a time. */
export class NotificationLogReader {
  /** How many notifications are asked for at once. */
  readonly sectionSize: number
  readonly #log: NotificationLog

  /**
   * @param sectionSize - how many notifications to ask for at once, from 1, default 10; the log may give less
   * @throws `ProgrammingError` for another size
   */
  constructor(log: NotificationLog, sectionSize: number = defaultSectionSize) {
    this.#log = log
    this.sectionSize = checkSectionSize(sectionSize)
  }

  /** Gives the notifications from an id on, one by one, following the links between sections. */
  async *read(start: bigint = 1n): AsyncGenerator<LoggedNotification, void, undefined> {
    const first = logPosition(start, 'start')
    let sectionId: string | null = `${first},${first + BigInt(this.sectionSize) - 1n}`
    while (sectionId !== null) {
      const section: Section = await this.#log.section(sectionId)
      yield* section.items
      sectionId = section.nextId
    }
  }

  /** Gives the notifications that the options ask for, in batches, until a batch is not full. */
  async *select(options: ReadOptions = {}): AsyncGenerator<LoggedNotification[], void, undefined> {
    const { start = null, ...narrowing } = options
    const limit = Math.min(this.sectionSize, this.#log.sectionSize)
    let batch = await this.#log.select(start, limit, narrowing)
    while (batch.length > 0) {
      yield batch
      const last = batch.at(-1)
      if (batch.length < limit || last === undefined) return
      batch = await this.#log.select(last.id, limit, { ...narrowing, inclusiveOfStart: false })
    }
  }
}

function requestedRange(sectionId: string): { readonly start: bigint; readonly size: bigint } {
  const parts = /^(-?\d{1,19}),(-?\d{1,19})$/.exec(sectionId)
  if (parts === null) {
    throw new ProgrammingError(`Cannot read the section '${sectionId}': ask for a first and a last id, such as '1,10'`)
  }
  const [first, last] = [BigInt(parts[1] ?? 0), BigInt(parts[2] ?? 0)]
  const start = first < 1n ? 1n : first
  return { start, size: last - start + 1n }
}

function checkSectionSize(sectionSize: number): number {
  if (Number.isSafeInteger(sectionSize) && sectionSize >= 1) return sectionSize
  throw new ProgrammingError(`Cannot read a log in sections of ${sectionSize}: the size is a whole number from 1`)
}
