/** Event records, timestamps and ids. */
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { domainEvent } from '../../src/domain/event.js'
import { NAMESPACE_DNS, NAMESPACE_OID, NAMESPACE_URL, NAMESPACE_X500, uuid5 } from '../../src/domain/names.js'
import { createTimestamp, Timestamp } from '../../src/domain/timestamp.js'

const registered = {
  originatorId: uuid5(NAMESPACE_URL, '/dogs/Fido'),
  originatorVersion: 1,
  topic: 'Dog.Registered',
  timestamp: Timestamp.fromISO('2026-11-23T05:55:21.903876+00:00'),
  originatorTopic: 'Dog',
  data: { name: 'Fido' },
}

describe('a domain event', () => {
  it('[166] is frozen with its data, and equal by value', () => {
    const event = domainEvent(registered)
    expect(event).toStrictEqual(domainEvent({ ...registered, data: { name: 'Fido' } }))
    expect(Object.isFrozen(event) && Object.isFrozen(event.data)).toBe(true)
    expect(() => Object.assign(event, { topic: 'Cat.Registered' })).toThrow(TypeError)
    expect(() => Object.assign(event.data, { name: 'Rex' })).toThrow(TypeError)
    expect(() => event.timestamp.setFullYear(1999)).toThrow('Cannot change a timestamp')
  })

  it('has neither metadata nor an originator topic where none is given', () => {
    const { originatorTopic: _, ...added } = registered
    expect(Object.keys(domainEvent(added))).toEqual(['originatorId', 'originatorVersion', 'topic', 'timestamp', 'data'])
    expect(domainEvent({ ...added, metadata: { user: 'alice' } }).metadata).toEqual({ user: 'alice' })
  })
})

describe('a timestamp', () => {
  it('[167] is between the readings of the clock around it, in UTC, and later than the one before', () => {
    const early = Date.now()
    const times = Array.from({ length: 1000 }, createTimestamp)
    const late = Date.now()
    for (const [index, time] of times.entries()) {
      expect(time.getTime()).toBeGreaterThanOrEqual(early)
      expect(time.iso).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/)
      const before = times[index - 1]
      if (before !== undefined) expect(time > before && time.iso > before.iso).toBe(true)
    }
    // More than a thousand in one millisecond run ahead of the clock instead of repeating a microsecond.
    expect(times.at(-1)?.getTime()).toBeLessThanOrEqual(late + 1)
  })

  it('keeps the text of a stored row, and its microseconds', () => {
    const time = Timestamp.fromISO('2026-01-02T05:04:05.678901+02:00')
    expect(time.toISOString()).toBe('2026-01-02T03:04:05.678Z')
    expect(time.iso).toBe('2026-01-02T05:04:05.678901+02:00')
    expect(JSON.stringify({ time })).toBe('{"time":"2026-01-02T05:04:05.678901+02:00"}')
    expect(time > Timestamp.fromISO('2026-01-02T03:04:05.678900+00:00')).toBe(true)
    expect(time).toBeInstanceOf(Date)
  })

  it('takes text without an offset as UTC, and refuses what is no date and time', () => {
    expect(Timestamp.fromISO('2026-01-02T03:04:05').getTime()).toBe(Date.UTC(2026, 0, 2, 3, 4, 5))
    for (const text of ['', 'yesterday', '2026-01-02', '2026-13-02T03:04:05Z', '2026-01-02T03:04:05.+00:00']) {
      expect(() => Timestamp.fromISO(text)).toThrow(RangeError)
    }
    expect(() => Timestamp.from(new Date(Number.NaN))).toThrow(RangeError)
  })

  it('reads each text as Date.parse does, also where months and days do not fit', () => {
    const part = (max: number, digits: number): fc.Arbitrary<string> =>
      fc.integer({ min: 0, max }).map((value) => String(value).padStart(digits, '0'))
    const parts = fc.tuple(
      part(9999, 4),
      part(13, 2),
      part(32, 2),
      part(25, 2),
      part(61, 2),
      part(61, 2),
      part(999_999, 6),
    )
    fc.assert(
      fc.property(parts, ([year, month, day, hour, minute, second, fraction]) => {
        const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.${fraction}+00:00`
        const milliseconds = Date.parse(iso)
        if (Number.isNaN(milliseconds)) expect(() => Timestamp.fromISO(iso), iso).toThrow(RangeError)
        else expect(Timestamp.fromISO(iso).getTime(), iso).toBe(milliseconds)
      }),
      {
        numRuns: 20_000,
        examples: [
          [['2024', '02', '29', '23', '59', '59', '999999']],
          [['0000', '01', '01', '00', '00', '00', '000000']],
        ],
      },
    )
  })

  it('survives the way through its text', () => {
    const microseconds = fc.integer({ min: Date.UTC(1900) * 1000, max: Date.UTC(2200) * 1000 })
    fc.assert(
      fc.property(microseconds, fc.integer({ min: -999, max: 999 }), (base, step) => {
        const time = Timestamp.fromMicroseconds(base)
        const other = Timestamp.fromMicroseconds(base + step)
        expect(Timestamp.fromISO(time.iso)).toStrictEqual(time)
        expect(Math.sign(Number(other) - Number(time))).toBe(Math.sign(step))
      }),
    )
  })
})

describe('uuid5', () => {
  it('gives the ids that every other implementation gives', () => {
    expect(uuid5(NAMESPACE_URL, '/dogs/Fido')).toBe('1e1d7398-8986-57af-bb01-11a89b2f8b02')
    expect(uuid5(NAMESPACE_DNS, 'python.org')).toBe('886313e1-3b8a-5372-9b90-0c9aee199e5d')
    expect(uuid5(NAMESPACE_OID, '1.3.6.1')).toBe('1447fa61-5277-5fef-a9b3-fbc6e44f4af3')
    expect(uuid5(NAMESPACE_X500, 'CN=Fido')).not.toBe(uuid5(NAMESPACE_OID, 'CN=Fido'))
  })

  it('refuses a namespace that is not a uuid', () => {
    expect(() => uuid5('dogs', 'Fido')).toThrow(TypeError)
  })
})
