/** The parts of the test kit around scenarios: applications in memory, the clock, ids. */
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest'
import { z } from 'zod'
import { Aggregate, createTimestamp, defineEvent, event, ProgrammingError, ZlibCompressor } from '../../src/index.js'
import { fixedClock, fixedIds, given, inMemory, storedEvents } from '../../src/testing/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'

describe('an application in memory', () => {
  afterEach(() => vi.unstubAllEnvs())

  it('is one of the class, and tells what it has stored', async () => {
    const school = inMemory(TrainingSchool)
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    expect(await school.getTricks('Fido')).toEqual(['sit'])
    const id = Dog.createId('Fido')
    expect(await storedEvents(school)).toEqual([
      { id, version: 1, type: 'Dog.Registered', data: { name: 'Fido' } },
      { id, version: 2, type: 'Dog.TrickAdded', data: { trick: 'sit' } },
    ])
    expect(await storedEvents(inMemory(TrainingSchool))).toEqual([])
  })

  it.each(['', 'TRAININGSCHOOL_'])('does not see variables of the process with the prefix %j', async (prefix) => {
    const wrong = {
      PERSISTENCE_MODULE: 'no-such-module',
      CIPHER_TOPIC: 'no-such-module',
      CIPHER_KEY: 'no key',
      CIPHER_KEYS: 'no keys',
      COMPRESSOR_TOPIC: 'no-such-module',
      IS_SNAPSHOTTING_ENABLED: 'perhaps',
      AGGREGATE_CACHE_MAXSIZE: 'many',
      AGGREGATE_CACHE_FASTFORWARD: 'perhaps',
      AGGREGATE_CACHE_FASTFORWARD_SKIPPING: 'perhaps',
      DEEPCOPY_FROM_AGGREGATE_CACHE: 'perhaps',
    }
    for (const [name, value] of Object.entries(wrong)) {
      vi.stubEnv(`${prefix}${name}`, value)
      const school = inMemory(TrainingSchool, { cache: true })
      await school.register('Fido')
      expect(await storedEvents(school)).toHaveLength(1)
    }
  })

  it('sees the variables of its class and of its options', async () => {
    class Zipped extends TrainingSchool {
      static override readonly env = { COMPRESSOR_TOPIC: 'zlib', PLACE: 'Bern' }
    }
    vi.stubEnv('COMPRESSOR_TOPIC', 'no-such-module')
    vi.stubEnv('ZIPPED_COMPRESSOR_TOPIC', 'no-such-module')
    const school = inMemory(Zipped, { env: { YEAR: '2026' } })
    expect((await school.eventStore()).mapper.compressor).toBeInstanceOf(ZlibCompressor)
    expect(['PLACE', 'YEAR'].map((name) => school.environment.get(name))).toEqual(['Bern', '2026'])
    const plain = inMemory(Zipped, { env: { ZIPPED_COMPRESSOR_TOPIC: '' } })
    expect((await plain.eventStore()).mapper.compressor).toBeUndefined()
  })

  it('keeps the methods of the class for the compiler', () => {
    expectTypeOf(inMemory(TrainingSchool)).toEqualTypeOf<TrainingSchool>()
    // @ts-expect-error: it is in memory
    inMemory(TrainingSchool, { datastore: undefined })
  })

  it('tells all of many events', async () => {
    const school = inMemory(TrainingSchool)
    const dog = new Dog('Fido')
    for (let n = 0; n < 1_200; n += 1) dog.addTrick(`trick ${n}`)
    await school.save(dog)
    expect((await storedEvents(school)).map(({ version }) => version)).toEqual(
      Array.from({ length: 1_201 }, (_, index) => index + 1),
    )
  })
})

describe('a fixed clock', () => {
  it('gives the times of events, from its start on', () => {
    const clock = fixedClock('2026-05-01T10:00:00Z')
    try {
      const dog = new Dog('Fido')
      dog.addTrick('sit')
      expect(dog.pendingEvents.map(({ timestamp }) => timestamp.iso)).toEqual([
        '2026-05-01T10:00:00.000000+00:00',
        '2026-05-01T10:00:00.001000+00:00',
      ])
      clock.advance(60_000)
      expect(clock.now.iso).toBe('2026-05-01T10:01:00.002000+00:00')
      expect(createTimestamp().iso).toBe('2026-05-01T10:01:00.002000+00:00')
      expect(() => fixedClock()).toThrow(ProgrammingError)
    } finally {
      clock.restore()
    }
    expect(Math.abs(createTimestamp().getTime() - Date.now())).toBeLessThan(60_000)
  })

  it('stands still where it has no step, and is put back once', () => {
    const still = fixedClock(new Date(0), { stepMs: 0 })
    expect([createTimestamp(), createTimestamp()].map(({ iso }) => iso)).toEqual([
      '1970-01-01T00:00:00.000000+00:00',
      '1970-01-01T00:00:00.000000+00:00',
    ])
    still.restore()
    const next = fixedClock()
    still.restore()
    expect(createTimestamp().iso).toBe('2026-01-01T00:00:00.000000+00:00')
    next[Symbol.dispose]()
  })
})

describe('a time for a fixed clock', () => {
  it('is exact to the microsecond, and one that is none is refused at once', () => {
    const clock = fixedClock('2026-05-01T10:00:00.000123Z', { stepMs: 0.001 })
    try {
      expect([createTimestamp(), createTimestamp()].map(({ iso }) => iso)).toEqual([
        '2026-05-01T10:00:00.000123+00:00',
        '2026-05-01T10:00:00.000124+00:00',
      ])
      expect(() => clock.advance(Number.NaN)).toThrow(RangeError)
    } finally {
      clock.restore()
    }
    expect(() => fixedClock(new Date('never'))).toThrow(RangeError)
    expect(() => fixedClock('never')).toThrow(RangeError)
    expect(() => fixedClock(new Date(0), { stepMs: Number.POSITIVE_INFINITY })).toThrow(RangeError)
    fixedClock().restore()
  })
})

describe('fixed ids', () => {
  class Note extends Aggregate {}

  it('are counted from 1', () => {
    const ids = fixedIds()
    try {
      expect([new Note().id, new Note().id]).toEqual([
        '00000000-0000-4000-8000-000000000001',
        '00000000-0000-4000-8000-000000000002',
      ])
      expect(() => fixedIds()).toThrow(ProgrammingError)
    } finally {
      ids.restore()
    }
    expect(new Note().id).not.toBe(new Note().id)
  })
})

describe('a scenario with definitions and older events', () => {
  const TrickAdded = defineEvent('TrickAdded', z.object({ trick: z.string().min(1) }))
  class Cat extends Aggregate {
    static readonly upcasts = { TrickAdded: [(data: { what: string }) => ({ trick: data.what })] }
    readonly tricks: string[] = []
    @event(TrickAdded, 'trick') addTrick(trick: string): void {
      this.tricks.push(trick)
    }
  }

  it('takes events of the present shape, and older ones by their version', () => {
    given(Cat, { type: 'Created' }, TrickAdded({ trick: 'purr' }), {
      type: 'TrickAdded',
      data: { what: 'sleep' },
      classVersion: 1,
    })
      .when((cat) => cat.addTrick('hunt'))
      .thenEvents(TrickAdded({ trick: 'hunt' }))
      .thenState({ tricks: ['purr', 'sleep', 'hunt'] })
  })

  it('refuses a past that could not have been', () => {
    const scenario = given(Cat, { type: 'Created' }, TrickAdded({ trick: '' }))
    expect(() => scenario.when((cat) => cat.addTrick('hunt'))).toThrow('Cannot trigger Cat.TrickAdded')
  })
})
