/** The notification log: an application's events in order, in sections for readers elsewhere, which read them as texts, over HTTP or in any other way. */
import { callable, checkOptions, count, milliseconds, type OptionTypesOf, text } from '../checked-options.js'
import { queriedTags, type Tag, type Tags } from '../domain/tags.js'
import { MapperError, NotSupportedError, OperationalError, ProgrammingError } from '../errors.js'
import { TagTexts } from '../persistence/personal-data-keys.js'
import {
  type ApplicationRecorder,
  checkLimit,
  greatestPosition,
  logPosition,
  type SelectNotificationsOptions,
} from '../persistence/recorder.js'
import type { LoggedNotification, Metadata } from '../persistence/stored-event.js'

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
  /** The last id that the log has given out, whatever has become of it; only where there are no items, and of a log that knows it. */
  readonly lastGivenId?: bigint
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
  /**
   * The last id that was given out. Optional: without it nobody finds out that the log was restored, or emptied, behind the position of a reader.
   *
   * @returns 0 where none was given out; undefined where that is not known, as of a log of the Python library
   */
  lastGivenNotificationId?(): Promise<bigint | undefined>
}

/** What a log needs of a recorder. */
export type LogRecorder = Pick<ApplicationRecorder, 'selectNotifications'> &
  Pick<NotificationLog, 'lastGivenNotificationId'>

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
    if (first === undefined || last === undefined) {
      const lastGivenId = await this.lastGivenNotificationId()
      return { id: null, items, nextId: null, ...(lastGivenId === undefined ? {} : { lastGivenId }) }
    }
    const nextId = items.length === limit ? `${last.id + 1n},${last.id + BigInt(limit)}` : null
    return { id: `${first.id},${last.id}`, items, nextId }
  }

  async lastGivenNotificationId(): Promise<bigint | undefined> {
    return await this.#recorder.lastGivenNotificationId?.()
  }
}

/** From where and how far to read a log. */
interface ReadOptions extends SelectLogOptions {
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

/** A notification in a section's JSON, in the words of the Python library. */
interface NotificationText {
  /** As text beyond 2^53, for which JSON has no exact number. */
  readonly id: number | string
  /** The 32 digits of a UUID, or any other text. */
  readonly originator_id: string
  /** Only where a text looks like a UUID without its hyphens. */
  readonly originator_id_type?: 'text'
  readonly originator_version: number
  readonly topic: string
  /** In base64. */
  readonly state: string
  /** The Python library gives none. */
  readonly recorded_at?: string | null
  readonly metadata?: Metadata
}

interface SectionText {
  readonly id: string | null
  readonly next_id: string | null
  readonly items: readonly NotificationText[]
  /** Only without items; the Python library gives none. */
  readonly last_given_id?: number | string
}

/**
 * Writes a section as JSON: what a route gives to a `RemoteNotificationLog`, of this library or of the Python one.
 *
 * @example
 * fastify.get('/notifications/:section', async (request) => sectionToJSON(await school.notificationLog.section(request.params.section)))
 */
export function sectionToJSON(section: Section): string {
  const { id, nextId, items, lastGivenId } = section
  const text: SectionText = {
    id,
    next_id: nextId,
    items: items.map(toText),
    ...(lastGivenId === undefined ? {} : { last_given_id: idText(lastGivenId) }),
  }
  return JSON.stringify(text)
}

/** How a section is asked for. */
export interface FetchSectionOptions {
  /** How long the one who answers may wait for something new; undefined where it is not to wait. */
  readonly waitSeconds?: number
  /** Gives the request up when it aborts. */
  readonly signal?: AbortSignal
}

/** Gives what `sectionToJSON` wrote for the id of a section, such as `1,10`. */
export type FetchSection = (sectionId: string, options?: FetchSectionOptions) => Promise<string>

/** How a log is read over HTTP. */
export interface RemoteLogOptions {
  /** The name of the application there, under which positions are kept. */
  readonly name: string
  /** How many notifications are asked for at once: the `sectionSize` of the application there; default 10. */
  readonly sectionSize?: number
  /** Headers of each request, such as `authorization`; a function where they change. */
  readonly headers?: Readonly<Record<string, string>> | (() => Promise<Readonly<Record<string, string>>>)
  /** How long the server is asked to wait for something new at the end of the log (`Prefer: wait=20`), in seconds; default 20. 0: not at all. */
  readonly waitSeconds?: number
  /** How long an answer may take beyond that, in milliseconds; default 10,000. */
  readonly timeoutMs?: number
  /** Default: the one that is there. Give your own for proxies, certificates or a cache. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** Reads the log of an application elsewhere, for a `NotificationLogReader`, a `Follower`, or as the source of a `ProjectionRunner`. */
export class RemoteNotificationLog implements NotificationLog {
  readonly sectionSize: number
  /** Whose log it is, for a `ProjectionRunner`, which keeps its position under this name; undefined where nobody said so. */
  readonly name: string | undefined
  /**
   * Asks once what comes after a position, and lets the one who answers wait for it; undefined where that one does not wait.
   *
   * @returns the last position that has come, null where there was nothing
   */
  readonly waitBeyond: ((position: bigint, signal: AbortSignal) => Promise<bigint | null>) | undefined
  readonly #fetchSection: FetchSection

  /**
   * @param fetchSection - gives what `sectionToJSON` wrote there for the id, such as `1,10`
   * @param sectionSize - of the log there, default 10
   * @param name - of the application there
   * @param waitSeconds - how long the one who answers is asked to wait at the end of the log; default not at all
   */
  constructor(fetchSection: FetchSection, sectionSize: number = 10, name?: string, waitSeconds: number = 0) {
    this.#fetchSection = fetchSection
    this.name = name
    this.sectionSize = sectionSize
    this.waitBeyond =
      waitSeconds === 0
        ? undefined
        : async (position, signal) => {
            const sectionId = `${position + 1n},${position + BigInt(sectionSize)}`
            const { items } = await this.#read(sectionId, { waitSeconds, signal })
            return items.at(-1)?.id ?? null
          }
  }

  /**
   * The log that a server of this package gives (`notificationLog` for Fastify, `notificationLogRoute` for Express), or any that answers `<url>/1,10` so.
   *
   * @param url - what comes before the section, such as `https://school.example/notifications`
   *
   * @example
   * const log = RemoteNotificationLog.at('https://school.example/notifications', { name: 'TrainingSchool' })
   * const runner = new ProjectionRunner({ application: statistics, datastore, source: log, projections: [counts] })
   */
  static at(url: string, options: RemoteLogOptions): RemoteNotificationLog {
    checkOptions<RemoteLogOptions>('read a log over HTTP', options, remoteLogOptionTypes)
    const { name, sectionSize, waitSeconds = 20 } = options
    return new RemoteNotificationLog(overHttp(url, options), sectionSize, name, waitSeconds)
  }

  /** @throws `MapperError` when what comes is no section; what the function throws that fetches it */
  async section(sectionId: string): Promise<Section> {
    return await this.#read(sectionId)
  }

  async #read(sectionId: string, options?: FetchSectionOptions): Promise<Section> {
    const json = await this.#fetchSection(sectionId, options)
    try {
      const { id, next_id: nextId, items, last_given_id: given }: SectionText = JSON.parse(json)
      const lastGivenId = given === undefined ? {} : { lastGivenId: BigInt(given) }
      return { id, nextId, items: items.map(toNotification), ...lastGivenId }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new MapperError(`Cannot read section ${sectionId} of a remote log: ${reason}`, { cause: error })
    }
  }

  /** By a section that no log has come to. Where that cannot be read it is not known: the next read of events says what is wrong. */
  async lastGivenNotificationId(): Promise<bigint | undefined> {
    const section = await this.section(`${greatestPosition},${greatestPosition}`).catch(() => undefined)
    return section?.lastGivenId
  }

  /** Reads sections until there are enough: what does not fit the options is fetched and passed over. */
  async select(start: bigint | null, limit: number, options: SelectLogOptions = {}): Promise<LoggedNotification[]> {
    if (checkLimit(limit) > this.sectionSize) {
      throw new ProgrammingError(
        `Cannot select ${limit} notifications at once: the section size of this log is ${this.sectionSize}`,
      )
    }
    const { topics = [], tags, inclusiveOfStart = true } = options
    if (tags !== undefined) {
      throw new NotSupportedError(
        'Could not read a remote log by tags: its sections do not have them. Filter by topics.',
      )
    }
    const stop = logPosition(options.stop, 'stop')
    const from = logPosition(start, 'start')
    const first = from === null || from < 1n ? 1n : inclusiveOfStart ? from : from + 1n
    const selected: LoggedNotification[] = []
    let next: string | null = `${first},${first + BigInt(this.sectionSize) - 1n}`
    while (next !== null && selected.length < limit) {
      const { items, nextId }: Section = await this.section(next)
      const inRange = items.filter(({ id }) => stop === null || id <= stop)
      selected.push(...inRange.filter(({ topic }) => topics.length === 0 || topics.includes(topic)))
      next = inRange.length < items.length ? null : nextId
    }
    return selected.slice(0, limit)
  }
}

const remoteLogOptionTypes: OptionTypesOf<RemoteLogOptions> = {
  name: text,
  sectionSize: count,
  headers: { says: 'an object of headers, or a function that gives one', fits: (value) => typeof value !== 'string' },
  waitSeconds: count,
  timeoutMs: milliseconds,
  fetch: callable,
}

/** Fetches sections over HTTP. */
function overHttp(url: string, options: RemoteLogOptions): FetchSection {
  const { headers = {}, timeoutMs = 10_000, fetch: fetchIt = fetch } = options
  const base = url.replace(/\/$/, '')
  return async (sectionId, { waitSeconds = 0, signal } = {}) => {
    const own = typeof headers === 'function' ? await headers() : headers
    const prefer = waitSeconds === 0 ? {} : { prefer: `wait=${waitSeconds}` }
    const where = `${base}/${sectionId}`
    const over = new AbortController()
    const end = (): void => over.abort(signal?.reason)
    const timer = setTimeout(
      () => over.abort(new Error('there was no answer in time')),
      timeoutMs + waitSeconds * 1_000,
    )
    signal?.addEventListener('abort', end)
    if (signal?.aborted === true) end()
    try {
      const init = { headers: { accept: 'application/json', ...prefer, ...own }, signal: over.signal }
      const response = await fetchIt(where, init)
      const text = await response.text()
      if (response.ok) return text
      throw new OperationalError(
        `Could not read ${where}: it was answered with ${response.status}. ${text.slice(0, 200)}`.trimEnd(),
        { retryable: response.status >= 500 || response.status === 429 },
      )
    } catch (error) {
      if (error instanceof OperationalError) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new OperationalError(`Could not read ${where}: ${reason}.`, { cause: error, retryable: true })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
    }
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const digits = /^[0-9a-f]{32}$/

function toText({
  id,
  originatorId,
  originatorVersion,
  topic,
  state,
  recordedAt,
  metadata,
}: LoggedNotification): NotificationText {
  return {
    id: idText(id),
    originator_id: uuid.test(originatorId) ? originatorId.replaceAll('-', '') : originatorId,
    ...(digits.test(originatorId) ? { originator_id_type: 'text' } : {}),
    originator_version: originatorVersion,
    topic,
    state: Buffer.from(state).toString('base64'),
    ...(recordedAt === undefined ? {} : { recorded_at: recordedAt.toISOString() }),
    ...(metadata === undefined ? {} : { metadata }),
  }
}

function idText(id: bigint): number | string {
  return id > BigInt(Number.MAX_SAFE_INTEGER) ? String(id) : Number(id)
}

function toNotification(text: NotificationText): LoggedNotification {
  const { id, originator_id: originatorId, originator_version: originatorVersion, topic, state, metadata } = text
  if (typeof originatorId !== 'string' || typeof topic !== 'string')
    throw new TypeError('an item has no originator or topic')
  return {
    id: BigInt(id),
    originatorId:
      digits.test(originatorId) && text.originator_id_type !== 'text' ? withHyphens(originatorId) : originatorId,
    originatorVersion,
    topic,
    state: new Uint8Array(Buffer.from(state, 'base64')),
    recordedAt: timeOf(text.recorded_at),
    ...(metadata === undefined ? {} : { metadata }),
  }
}

function timeOf(text: string | null | undefined): Date | undefined {
  if (text === undefined || text === null) return undefined
  const time = new Date(text)
  if (Number.isNaN(time.getTime())) throw new TypeError('an item has a recorded_at that is no time')
  return time
}

function withHyphens(id: string): string {
  return [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)].join('-')
}
