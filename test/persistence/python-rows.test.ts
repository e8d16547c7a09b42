/** Rows of the Python library: read, written again in the same layout, and aggregates that go on from them. */
import { createDecipheriv } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  Application,
  type ApplicationOptions,
  DecimalText,
  event,
  type StoredEvent,
  Timestamp,
  Uuid,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { type PythonSet, pythonKey, pythonSets } from '../support/python-rows.js'

const dogId = '1e1d7398-8986-57af-bb01-11a89b2f8b02'
const weighed = {
  kg: new DecimalText('10.00'),
  at: Timestamp.fromISO('2026-01-02T03:04:05.678901+00:00'),
  by: new Uuid('b2723fe2-c01a-40d2-875e-a3aac6a09ff5'),
  notes: { ünïcode: '🐈 哈哈', nested: [{ a: null, b: [1, 2.5, true] }] },
}

/** Undoes a layout with Node's functions alone, so that ours cannot be wrong both ways. */
function encodedOf(set: PythonSet, { state }: StoredEvent): Uint8Array {
  let bytes = state
  if (set.isEncrypted) {
    const decipher = createDecipheriv('aes-256-gcm', Buffer.from(pythonKey, 'base64'), bytes.subarray(0, 12))
    decipher.setAuthTag(bytes.subarray(12, 28))
    bytes = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()])
  }
  if (set.isCompressed) {
    expect(Buffer.from(bytes.subarray(0, 2)).toString('hex')).toBe('789c')
    bytes = inflateSync(bytes)
  }
  return Uint8Array.from(bytes)
}

it('there are rows of four kinds', () => {
  expect(pythonSets.map(({ name }) => name).sort()).toEqual(['aes', 'plain', 'zlib', 'zlib_aes'])
  for (const { events, snapshots } of pythonSets) expect([events.length, snapshots.length]).toEqual([4, 1])
})

describe.each(pythonSets)('rows of the Python library, $name', (set) => {
  const { mapper, events: rows, snapshots } = set

  it('are read as events [112, 114]', () => {
    const events = rows.map((row) => mapper.toDomainEvent(row))
    expect(events.map(({ topic }) => topic)).toEqual([
      '__main__:Dog.Registered',
      '__main__:Dog.TrickAdded',
      '__main__:Dog.TrickAdded',
      '__main__:Dog.Weighed',
    ])
    expect(events.map(({ originatorId }) => originatorId)).toEqual([dogId, dogId, dogId, dogId])
    expect(events.map(({ originatorVersion }) => originatorVersion)).toEqual([1, 2, 3, 4])
    expect(events[0]).toMatchObject({ originatorTopic: '__main__:Dog', data: { name: 'Fido' } })
    expect(events[1]?.data).toStrictEqual({ trick: 'roll over' })
    expect(events[1]).not.toHaveProperty('originatorTopic')
    expect(events[3]?.data).toStrictEqual(weighed)
  })

  it('are read as snapshots', () => {
    const [snapshot] = snapshots.map((row) => mapper.toDomainEvent(row))
    const [first, , , last] = rows.map((row) => mapper.toDomainEvent(row).timestamp)
    expect(snapshot).toMatchObject({ originatorVersion: 4, topic: 'eventsourcing.domain:Snapshot' })
    expect(snapshot?.data).toStrictEqual({
      topic: '__main__:Dog',
      state: {
        _created_on: first,
        _modified_on: last,
        name: 'Fido',
        tricks: ['roll over', 'play dead'],
        kg: weighed.kg,
      },
    })
  })

  it('are written again in the same layout, their content byte for byte [104, 113, 115]', () => {
    for (const row of [...rows, ...snapshots]) {
      const again = mapper.toStoredEvent(mapper.toDomainEvent(row))
      expect({ ...again, state: encodedOf(set, again) }).toStrictEqual({ ...row, state: encodedOf(set, row) })
      // Only the bytes of zlib depend on who compresses, and only those of a cipher on its nonce.
      if (!set.isCompressed) expect(again.state).toHaveLength(row.state.length)
      if (set.isEncrypted) expect(again.state).not.toEqual(row.state)
      else if (!set.isCompressed) expect(again.state).toEqual(row.state)
    }
  })
})

@event('Registered', 'name')
class Dog extends Aggregate {
  static readonly formerTopics = ['__main__:Dog']
  readonly name: string
  readonly tricks: string[] = []
  weighed: unknown

  constructor(name: string) {
    super()
    this.name = name
  }

  @event('TrickAdded', 'trick')
  addTrick(trick: string): void {
    this.tricks.push(trick)
  }

  @event('Weighed', 'kg', 'at', 'by', 'notes')
  weigh(kg: DecimalText, at: Date, by: Uuid, notes: object): void {
    this.weighed = { kg, at, by, notes }
  }
}

async function checkDog(options: ApplicationOptions, set: PythonSet): Promise<void> {
  const application = new Application({ ...options, env: set.env })
  await application.recorder.insertEvents(set.events)
  const dog = await application.repository.get(Dog, dogId)
  expect(dog).toMatchObject({ id: dogId, version: 4, name: 'Fido', tricks: ['roll over', 'play dead'] })
  expect(dog.weighed).toStrictEqual(weighed)
  const [first, , , last] = set.events.map((row) => set.mapper.toDomainEvent(row).timestamp)
  expect([dog.createdOn, dog.modifiedOn]).toStrictEqual([first, last])

  dog.addTrick('🐈 哈哈')
  dog.weigh(weighed.kg, weighed.at, weighed.by, weighed.notes)
  await application.save(dog)
  const again = await application.repository.get(Dog, dogId)
  expect(again).toMatchObject({ version: 6, tricks: ['roll over', 'play dead', '🐈 哈哈'] })

  const rows = await application.recorder.selectEvents(dogId)
  expect(rows.slice(0, 4)).toEqual(set.events)
  expect(rows.slice(4).map(({ topic }) => topic)).toEqual(['Dog.TrickAdded', 'Dog.Weighed'])
  // What is written beside Python's rows differs from theirs in nothing but the time.
  const withoutTime = (row: StoredEvent | undefined): string =>
    row === undefined
      ? 'no row'
      : Buffer.from(encodedOf(set, row))
          .toString()
          .replace(/"[^"]+\+00:00"/, '"now"')
  expect(withoutTime(rows[5])).toBe(withoutTime(rows[3]))
}

describe('aggregates are rebuilt from rows of the Python library and go on', () => {
  it.each(pythonSets)('in memory, $name', async (set) => {
    await checkDog({}, set)
  })

  describe.each(databases)('on $name', (kind) => {
    let open: OpenDatabase
    beforeAll(async () => {
      open = await openDatabase(kind)
    })
    afterAll(async () => {
      await open.close()
    })

    it.each(pythonSets)('$name', async (set) => {
      await open.clear()
      await checkDog({ name: '', datastore: open.datastore }, set)
    })
  })
})
