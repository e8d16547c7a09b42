/** Events as lines: for readers by eye, and as JSON, one for each event, which can be read in again. */

import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { DomainEvent } from '../domain/event.js'
import { EnvironmentError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import type { Metadata, Notification, StoredEvent } from '../persistence/stored-event.js'
import type { PrismaApplicationRecorder } from '../prisma/application-recorder.js'
import type { PrismaDatastore } from '../prisma/datastore.js'
import { jsonValue } from './project.js'

const pageSize = 500

/** Which part of a log. */
export interface ExportRange {
  /** Only events of these topics; none for all. */
  readonly topics: readonly string[]
  /** The position after which it begins; null for the beginning. */
  readonly gt: bigint | null
}

/** Called from time to time with how far the work is. */
export type OnLines = (lines: number) => void

/**
 * Writes what the log has at this moment, one event a line.
 *
 * @param file - a dash for standard output
 * @returns how many events were written
 */
export async function exportLog(
  recorder: PrismaApplicationRecorder,
  { topics, gt }: ExportRange,
  file: string,
  onLines: OnLines,
): Promise<number> {
  const stop = await recorder.maxNotificationId()
  const out = file === '-' ? process.stdout : await openedFile(file)
  let count = 0
  try {
    for (let position = gt; ; ) {
      if (stop === null) break
      const page = await recorder.selectNotifications(position, pageSize, { topics, stop, inclusiveOfStart: false })
      await write(out, page.map((notification) => `${jsonLineOf(notification)}\n`).join(''))
      count += page.length
      onLines(count)
      position = page.at(-1)?.id ?? position
      if (page.length < pageSize) break
    }
  } finally {
    if (file !== '-') {
      out.end()
      await finished(out)
    }
  }
  return count
}

async function openedFile(file: string): Promise<Writable> {
  const out = createWriteStream(file)
  try {
    await once(out, 'open')
    return out
  } catch (error) {
    throw new EnvironmentError(`Could not write ${file}: ${reasonOf(error)}. Give a file in a folder that is there.`, {
      cause: error,
    })
  }
}

/** Which lines are stored, and where. */
export interface Import {
  readonly datastore: PrismaDatastore
  readonly recorder: PrismaApplicationRecorder
  /** A dash for standard input. */
  readonly file: string
  /** The first line to be stored; 1 for all. */
  readonly fromLine: number
}

/**
 * Stores the events of such a file, in their order, behind what the log has; they get positions of their own. Each 500 lines are a
 * transaction.
 *
 * @returns how many events were stored
 * @throws `EnvironmentError` for a line that is no event, and where events cannot be stored, with the line from which to go on
 */
export async function importLog({ datastore, recorder, file, fromLine }: Import, onLines: OnLines): Promise<number> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const failed = new Promise<never>((_resolve, reject) =>
    input.once('error', (error: Error) =>
      reject(notImported(file, `it cannot be read: ${reasonOf(error)}`, first, error)),
    ),
  )
  failed.catch(() => undefined) // rejects the race below
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })[Symbol.asyncIterator]()
  let [number, count, first] = [0, 0, fromLine]
  let batch: StoredEvent[] = []
  const store = async (): Promise<void> => {
    if (batch.length === 0) return
    try {
      await datastore.transaction(async () => await recorder.insertEvents(batch))
    } catch (error) {
      throw notImported(file, `lines ${first} to ${number} cannot be stored: ${reasonOf(error)}`, first, error)
    }
    count += batch.length
    onLines(count)
    first = number + 1
    batch = []
  }
  for (;;) {
    const next = await Promise.race([lines.next(), failed])
    if (next.done === true) break
    number += 1
    if (number < fromLine || next.value.trim() === '') continue
    try {
      batch.push(eventOf(next.value))
    } catch (error) {
      throw notImported(file, `line ${number} is no event: ${reasonOf(error)}`, first, error)
    }
    if (batch.length === pageSize) await store()
  }
  await store()
  return count
}

/** One event, as `import` reads it. */
function jsonLineOf({ id, originatorId, originatorVersion, topic, state, metadata, recordedAt }: Notification): string {
  const text = textOfState(state)
  return JSON.stringify({
    position: String(id),
    originatorId,
    originatorVersion,
    topic,
    // As it is stored, to the letter: written anew, numbers and the order of members might be others.
    ...(text === undefined ? { stateBase64: Buffer.from(state).toString('base64') } : { state: text }),
    ...(metadata === undefined ? {} : { metadata }),
    recordedAt,
  })
}

function eventOf(line: string): StoredEvent {
  const read: unknown = JSON.parse(line)
  if (typeof read !== 'object' || read === null) throw new TypeError('it is no JSON object')
  const { originatorId, originatorVersion, topic, state, stateBase64, metadata } = read as Record<string, unknown> // just checked
  if (typeof originatorId !== 'string') throw new TypeError('originatorId is no text')
  if (!Number.isSafeInteger(originatorVersion)) throw new TypeError('originatorVersion is no whole number')
  if (typeof topic !== 'string') throw new TypeError('topic is no text')
  if (typeof state !== 'string' && typeof stateBase64 !== 'string') {
    throw new TypeError('it has neither state nor stateBase64')
  }
  if (metadata !== undefined && (typeof metadata !== 'object' || metadata === null)) {
    throw new TypeError('metadata is no object')
  }
  return {
    originatorId,
    originatorVersion: Number(originatorVersion),
    topic,
    state: typeof state === 'string' ? Buffer.from(state) : Buffer.from(String(stateBase64), 'base64'),
    ...(metadata === undefined ? {} : { metadata: metadata as Metadata }), // an object of JSON
  }
}

async function write(out: Writable, text: string): Promise<void> {
  if (text === '' || out.write(text)) return
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: Error): void => {
      out.off('drain', settle)
      out.off('error', settle)
      if (error === undefined) resolve()
      else reject(error)
    }
    out.once('drain', settle)
    out.once('error', settle)
  })
}

function notImported(file: string, reason: string, first: number, cause: unknown): EnvironmentError {
  const stored = first === 1 ? 'Nothing is stored' : `The lines before ${first} are stored`
  return new EnvironmentError(
    `Could not import ${file}: ${reason.replace(/\.?$/, '.')} ${stored}: mend it, and go on with --from-line ${first}.`,
    { cause },
  )
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An event as commands show it. */
export interface ShownEvent {
  readonly position?: bigint
  readonly originatorId: string
  readonly originatorVersion: number
  readonly topic: string
  /** When it was triggered; undefined where that cannot be read. */
  readonly timestamp: string | undefined
  /** Undefined where it cannot be read without the application. */
  readonly data: object | undefined
  /** Why there are no data. */
  readonly note?: string
  readonly metadata?: object
}

/** Reads stored events for a command. */
export type Show = (stored: ReadonlyArray<StoredEvent & { readonly id?: bigint }>) => Promise<ShownEvent[]>

/** Shows what is stored, without code. */
export const showStored: Show = async (stored) =>
  stored.map((event) => {
    const attributes = jsonOfState(event.state)
    if (attributes === undefined) {
      const note = `${event.state.byteLength} bytes, compressed or encrypted: name the application with --application`
      return { ...headOf(event), timestamp: undefined, data: undefined, note }
    }
    const { timestamp, ...data } = attributes
    return { ...headOf(event), timestamp: timestampOf(timestamp), data }
  })

/** Shows events as an application reads them: decompressed, decrypted, with the personal data that have a key. */
export function showBy(store: EventStore): Show {
  return async (stored) => {
    const events = await store.toDomainEvents(stored)
    return stored.flatMap((event, index) => {
      const read: DomainEvent | undefined = events[index]
      return read === undefined
        ? []
        : [{ ...headOf(event), timestamp: read.timestamp.toISOString(), data: { ...read.data } }]
    })
  }
}

/** One event, as a line for people. */
export function lineOf(event: ShownEvent): string {
  const { position, originatorId, originatorVersion, topic, timestamp, data, note, metadata } = event
  const place = position === undefined ? '' : `${position}  `
  const shown = data === undefined ? `(${note})` : JSON.stringify(data, jsonValue)
  const beside = metadata === undefined ? '' : `  ${JSON.stringify(metadata, jsonValue)}`
  return `${place}${timestamp ?? '-'}  ${originatorId}  ${originatorVersion}  ${topic}  ${shown}${beside}`
}

/** The text of a state that is JSON, to the letter. */
function textOfState(state: Uint8Array): string | undefined {
  return jsonOfState(state) === undefined ? undefined : Buffer.from(state).toString()
}

function jsonOfState(state: Uint8Array): Record<string, unknown> | undefined {
  try {
    const read: unknown = JSON.parse(utf8.decode(state))
    return typeof read === 'object' && read !== null ? (read as Record<string, unknown>) : undefined // just checked
  } catch {
    return undefined
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function headOf({ id, originatorId, originatorVersion, topic, metadata }: StoredEvent & { readonly id?: bigint }) {
  const position = id === undefined ? {} : { position: id }
  return { ...position, originatorId, originatorVersion, topic, ...(metadata === undefined ? {} : { metadata }) }
}

/** A timestamp as transcodings write it: `{ _type_: 'datetime_iso', _data_: '…' }`. */
function timestampOf(stored: unknown): string | undefined {
  if (typeof stored !== 'object' || stored === null || !('_data_' in stored)) return undefined
  return typeof stored._data_ === 'string' ? stored._data_ : undefined
}
