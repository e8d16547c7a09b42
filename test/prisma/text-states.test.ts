/** States cross as text where that is faster: what is stored, and what is read, is the same as with bytes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  createTimestamp,
  type DomainEvent,
  EventStore,
  event,
  JSONTranscoder,
  Mapper,
  MapperError,
  NAMESPACE_URL,
  PrismaApplicationRecorder,
  type StoredEvent,
  uuid5,
} from '../../src/index.js'
import { TextEvent, withBytes } from '../../src/persistence/stored-event.js'
import { storedEvent } from '../contracts/stored-events.js'
import { databasesOf } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

class Note extends Aggregate {
  readonly texts: string[] = []
  @event('Written', 'text') write(text: string): void {
    this.texts.push(text)
  }
}

const texts = [
  'plain',
  'quotes " and \\ and\nlines\t\0',
  'Ärger 日本語 🐕',
  '\ud83d alone',
  '{"_type_":1}',
  'long '.repeat(2_000),
  // What stands for bytes that are no text.
  'a \ufffd',
]
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const kinds = databasesOf('postgresql', 'sqlite').filter(({ name }) => !name.includes('libsql'))

describe.each(kinds)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
  })
  afterAll(async () => await open.close())

  const statesOf = async (id: string): Promise<Buffer[]> => {
    const parameter = kind.provider === 'sqlite' ? '?' : '$1::uuid'
    const sql = `SELECT state FROM stored_events WHERE originator_id = ${parameter} ORDER BY originator_version`
    return (await open.database.query(sql, [id])).map(({ state }) => Buffer.from(state as Uint8Array))
  }
  const viaBytes = new Mapper({ transcoder: new JSONTranscoder() })

  it.each([
    ['ASCII in one statement', texts.slice(0, 2)],
    ['any text in one statement', texts],
    ['a single event', texts.slice(2, 3)],
  ])('stores the bytes that the mapper gives: %s', async (_, written) => {
    const store = new EventStore(viaBytes, recorder)
    const id = uuid5(NAMESPACE_URL, `/stored/${_}`)
    const events = written.map(
      (text, index): DomainEvent => ({
        originatorId: id,
        originatorVersion: index + 1,
        topic: 'Note.Written',
        timestamp: createTimestamp(),
        data: { text },
        ...(index === 1 ? { metadata: { by: 'Ada' } } : {}),
      }),
    )
    const recordings = await store.put(events)
    const expected = events.map((each) => Buffer.from(viaBytes.toStoredEvent(each).state))
    expect(await statesOf(id)).toEqual(expected)
    expect(recordings.map(({ notification }) => Buffer.from(notification?.state ?? []))).toEqual(expected)
    expect(await store.get(id)).toEqual(events)
    expect(await store.toDomainEvents(await recorder.selectEvents(id))).toEqual(events)
  })

  it('reads any bytes as they are', async () => {
    const id = uuid5(NAMESPACE_URL, '/any')
    const states = [
      ...['{}', '{"a":"ü"}', '{"a":"b\\\\x"}', '\\x7b7d', ' {}', ''].map(bytes),
      Uint8Array.of(0x7b, 0xff, 0x7d),
      Uint8Array.of(0x7b, 0, 0x7d),
      Uint8Array.of(0xc3, 0xbc, 0),
    ]
    await recorder.insertEvents(states.map((state, index) => storedEvent(id, index + 1, { state })))
    const plain = await recorder.selectEvents(id)
    const asText = await recorder.selectEvents(id, { asText: true })
    expect(plain.map(({ state }) => state)).toEqual(states)
    expect(asText.map(withBytes)).toEqual(plain)
    const textsOf = (events: readonly StoredEvent[]): unknown[] =>
      events.map((each) => (each instanceof TextEvent ? each.text : undefined))
    const none = Array.from({ length: 6 }, () => undefined)
    // SQLite says nothing of what is no UTF-8, so that all are read as bytes then.
    const isWhole = kind.provider === 'postgresql'
    expect(textsOf(asText)).toEqual(
      isWhole ? ['{}', '{"a":"ü"}', '{"a":"b\\\\x"}', ...none] : [...none, ...none.slice(3)],
    )
    const first = await recorder.selectEvents(id, { asText: true, lte: 3 })
    expect(textsOf(first)).toEqual(['{}', '{"a":"ü"}', '{"a":"b\\\\x"}'])
    const last = await recorder.selectEvents(id, { asText: true, gt: 7 })
    expect(last.map(({ state }) => state)).toEqual(states.slice(7))
  })

  it('tells of a state that is damaged', async () => {
    const id = uuid5(NAMESPACE_URL, '/damaged')
    const store = new EventStore(viaBytes, recorder)
    const damaged = [Uint8Array.of(0x7b, 0xff, 0x7d), bytes('{"timestamp":'), bytes('')]
    await recorder.insertEvents(damaged.map((state, index) => storedEvent(id, index + 1, { state })))
    for (const lte of [1, 2, 3]) await expect(store.get(id, { gt: lte - 1, lte })).rejects.toThrow(MapperError)
  })

  it('gives bytes of what is pending, unless text is asked for', async () => {
    const application = new Application({ name: '', datastore: open.datastore })
    await open.datastore.transaction(
      async () => {
        const note = new Note()
        for (const text of texts) note.write(text)
        await application.save(note)
        const expectBytes = (events: readonly StoredEvent[]): void => {
          expect(events).toHaveLength(texts.length + 1)
          for (const each of events) expect(Object.hasOwn(each, 'state')).toBe(true)
        }
        expectBytes(await application.recorder.selectEvents(note.id))
        expect((await application.repository.get(Note, note.id)).texts).toEqual(texts)
      },
      { autoflush: false },
    )
  })

  it('reads originators since their snapshots', async () => {
    class Kept extends Note {
      static readonly snapshots = { every: 4 }
    }
    const application = new Application({ name: '', datastore: open.datastore })
    const note = new Kept()
    for (const text of texts) note.write(text)
    await application.save(note)
    expect((await application.repository.get(Kept, note.id)).texts).toEqual(texts)
  })
})
