/** How commands show events: their data without code where they are JSON, else by the application that can read them. */
import type { DomainEvent } from '../domain/event.js'
import type { EventStore } from '../persistence/event-store.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import { jsonValue } from './project.js'

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
export function textOfState(state: Uint8Array): string | undefined {
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
