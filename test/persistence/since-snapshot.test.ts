/** An event store reads an originator from its latest snapshot on, whether its recorder reads both at once or not. */
import { describe, expect, it, vi } from 'vitest'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { EventStore } from '../../src/persistence/event-store.js'
import { InMemorySubjectKeyRecorder } from '../../src/persistence/in-memory-factory.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import { Mapper } from '../../src/persistence/mapper.js'
import { PersonalDataKeys } from '../../src/persistence/personal-data-keys.js'
import type { AggregateRecorder } from '../../src/persistence/recorder.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'

const mapper = new Mapper({ transcoder: new JSONTranscoder() })

/** An event, or a snapshot, that tells something about somebody. */
function told(originatorVersion: number, text = ''): DomainEvent {
  const about = { topic: 'Told', timestamp: createTimestamp(), data: { text }, personal: { text: ['Ann'] } }
  return domainEvent({ originatorId: 'a', originatorVersion, ...about })
}

/** A recorder of somebody else, without the optional members. */
function plain(inner: AggregateRecorder): AggregateRecorder {
  return {
    insertEvents: async (events) => await inner.insertEvents(events),
    selectEvents: async (id, range) => await inner.selectEvents(id, range),
  }
}

describe.each([
  ['at once', (recorder: InMemoryApplicationRecorder): AggregateRecorder => recorder],
  ['one after the other', plain],
])('snapshot and events %s', (_label, recorderOf) => {
  /** A store with so many events and snapshots of some versions, and what a read of it comes to. */
  async function storeWith(count: number, ...snapshots: readonly number[]) {
    const keys = new InMemorySubjectKeyRecorder()
    const personalDataKeys = new PersonalDataKeys(mapper, () => keys)
    const recorder = recorderOf(new InMemoryApplicationRecorder())
    const store = new EventStore(mapper, recorder, personalDataKeys)
    const snapshotRecorder = new InMemoryAggregateRecorder()
    await store.put(Array.from({ length: count }, (_, index) => told(index + 1, `event ${index + 1}`)))
    await new EventStore(mapper, snapshotRecorder, personalDataKeys).put(
      // Each begins a stream, as the first of its put: there is nothing that it follows.
      snapshots.map((version) => domainEvent({ ...told(version, `snapshot ${version}`), originatorTopic: 'Teller' })),
    )
    const read = async (range: { readonly lte?: number } = {}, isGood = true) => {
      const seen: { restored: unknown[]; pages: number[][]; texts: unknown[] } = { restored: [], pages: [], texts: [] }
      await store.readSinceSnapshot(snapshotRecorder, 'a', range, {
        restore(snapshot) {
          seen.restored.push(snapshot.data['text'])
          return isGood
        },
        visit(page) {
          const versions = page.map(({ originatorVersion }) => originatorVersion)
          seen.pages.push([versions[0] ?? Number.NaN, versions.at(-1) ?? Number.NaN, versions.length])
          seen.texts.push(page[0]?.data['text'])
        },
      })
      return seen
    }
    return { read, keys }
  }

  it('are the latest snapshot, then the events after it', async () => {
    const { read } = await storeWith(7, 2, 5)
    expect(await read()).toEqual({ restored: ['snapshot 5'], pages: [[6, 7, 2]], texts: ['event 6'] })
    expect(await read({ lte: 4 })).toEqual({ restored: ['snapshot 2'], pages: [[3, 4, 2]], texts: ['event 3'] })
    expect(await read({ lte: 5 })).toEqual({ restored: ['snapshot 5'], pages: [], texts: [] })
  })

  it('are all events where there is no snapshot, or none that is good', async () => {
    const { read } = await storeWith(7, 5)
    expect(await read({ lte: 3 })).toEqual({ restored: [], pages: [[1, 3, 3]], texts: ['event 1'] })
    expect(await read({}, false)).toEqual({ restored: ['snapshot 5'], pages: [[1, 7, 7]], texts: ['event 1'] })
    expect(await read({ lte: 6 }, false)).toMatchObject({ pages: [[1, 6, 6]] })
  })

  it('are nothing of an originator that is not stored', async () => {
    const { read } = await storeWith(0)
    expect(await read()).toEqual({ restored: [], pages: [], texts: [] })
  })

  it('are read in pages, the last of which may be full', async () => {
    const { read } = await storeWith(4_600, 100)
    expect((await read()).pages).toEqual([
      [101, 2_100, 2_000],
      [2_101, 4_100, 2_000],
      [4_101, 4_600, 500],
    ])
    expect((await read({ lte: 2_100 })).pages).toEqual([[101, 2_100, 2_000]])
  })

  it('ask for the keys of personal data once', async () => {
    const { read, keys } = await storeWith(7, 5)
    const select = vi.spyOn(keys, 'selectKeys')
    expect(await read()).toMatchObject({ restored: ['snapshot 5'], texts: ['event 6'] })
    expect(select).toHaveBeenCalledTimes(1)
  })
})
