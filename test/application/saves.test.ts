/** What a save takes, and saves of one aggregate that overlap: each builds on the one before. */
import { describe, expect, it } from 'vitest'
import { Application } from '../../src/application/application.js'
import { Aggregate } from '../../src/domain/aggregate.js'
import { ConcurrencyError, TranscodingNotRegisteredError } from '../../src/errors.js'
import { defineTranscoding } from '../../src/persistence/transcodings.js'

interface NoteEvents {
  Written: { text: unknown }
}

class Coin {}

class Note extends Aggregate<NoteEvents> {
  static readonly snapshots = { every: 2 }
  static readonly events = {
    Written(this: Note, { text }: { text: unknown }): void {
      this.texts.push(text)
    },
  }
  readonly texts: unknown[] = []

  write(text: unknown): void {
    this.trigger('Written', { text })
  }
}

it('is refused for what has no events, before anything is collected', async () => {
  const app = new Application()
  const note = new Note()
  for (const odd of [{}, [], 'note', 5, true, Promise.resolve(note)]) {
    await expect(app.save(note, odd as never)).rejects.toThrow(/^Could not save .+: give aggregates/)
  }
  expect(note.pendingEvents).toHaveLength(1)
})

describe('saves that overlap', () => {
  it('are stored in the order of their calls, whichever of them takes a snapshot', async () => {
    const app = new Application()
    const note = new Note()
    const saves = [app.save(note)]
    for (const text of ['a', 'b', 'c', 'd']) {
      note.write(text)
      saves.push(app.save(note))
    }
    await Promise.all(saves)
    const log = await app.recorder.selectNotifications(null, 10)
    expect(log.map(({ originatorVersion }) => originatorVersion)).toEqual([1, 2, 3, 4, 5])
    const snapshots = await (await app.snapshotStore()).get(note.id)
    expect(snapshots.map(({ originatorVersion, data }) => [originatorVersion, data['state']])).toMatchObject([
      [2, { texts: ['a'] }],
      [4, { texts: ['a', 'b', 'c'] }],
    ])
  })

  it('fail with the first of them that fails', async () => {
    const app = new Application()
    const note = new Note()
    await app.save(note)
    // Known to the process, and not to this application.
    defineTranscoding({ name: 'coin', type: Coin, encode: () => 1, decode: () => new Coin() })
    note.write(new Coin())
    const first = app.save(note)
    note.write('after it')
    const second = app.save(note)
    await expect(first).rejects.toThrow(TranscodingNotRegisteredError)
    await expect(second).rejects.toThrow(ConcurrencyError)
    await expect(second).rejects.toThrow('from an earlier save that was not stored')
    expect((await app.repository.get(Note, note.id)).version).toBe(1)
  })
})
