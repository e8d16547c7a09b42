/** The notification log: batches, sections and readers that follow them. */
import { describe, expect, it } from 'vitest'
import { LocalNotificationLog, NotificationLogReader, type Section } from '../../src/application/notification-log.js'
import { ProgrammingError } from '../../src/errors.js'
import { InMemoryApplicationRecorder } from '../../src/persistence/in-memory-recorders.js'
import type { LoggedNotification } from '../../src/persistence/stored-event.js'
import { storedEvent } from '../contracts/stored-events.js'
import { TrainingSchool } from './dogs.js'

async function recorderWith(count: number): Promise<InMemoryApplicationRecorder> {
  const recorder = new InMemoryApplicationRecorder()
  await recorder.insertEvents(
    Array.from({ length: count }, (_, index) => storedEvent('a', index + 1, { topic: `topic${(index + 1) % 2}` })),
  )
  return recorder
}

const logWith = async (count: number, sectionSize = 5): Promise<LocalNotificationLog> =>
  new LocalNotificationLog(await recorderWith(count), sectionSize)

const idsOf = (items: readonly LoggedNotification[]): number[] => items.map(({ id }) => Number(id))

const summary = ({ id, items, nextId }: Section): unknown[] => [id, idsOf(items), nextId]

describe('a section of a log', () => {
  it('is empty when the log is [199]', async () => {
    const log = await logWith(0)
    expect(summary(await log.section('1,10'))).toEqual([null, [], null])
  })

  it('is as long as the section size allows, and says what is next [200]', async () => {
    const log = await logWith(5)
    for (const sectionId of ['1,10', '1,5']) {
      expect(summary(await log.section(sectionId))).toEqual(['1,5', [1, 2, 3, 4, 5], '6,10'])
    }
    expect(summary(await log.section('6,10'))).toEqual([null, [], null])
  })

  it('may be any range of ids [201]', async () => {
    const log = await logWith(9)
    expect(summary(await log.section('6,10'))).toEqual(['6,9', [6, 7, 8, 9], null])
    expect(summary(await log.section('3,7'))).toEqual(['3,7', [3, 4, 5, 6, 7], '8,12'])
    expect(summary(await log.section('3,10'))).toEqual(['3,7', [3, 4, 5, 6, 7], '8,12'])
    expect(summary(await log.section('3,4'))).toEqual(['3,4', [3, 4], '5,6'])
    expect(summary(await log.section('3,2'))).toEqual([null, [], null])
    expect(summary(await log.section('-3,2'))).toEqual(['1,2', [1, 2], '3,4'])
    expect(summary(await log.section('0,3'))).toEqual(['1,3', [1, 2, 3], '4,6'])
  })

  it('is refused under an id that is not two numbers', async () => {
    const log = await logWith(1)
    for (const sectionId of ['', '1', '1,', 'a,b', '1,2,3', '1 ,2', '1.5,2', `1,${'9'.repeat(40)}`]) {
      await expect(log.section(sectionId)).rejects.toBeInstanceOf(ProgrammingError)
    }
  })
})

describe('selecting from a log', () => {
  it('gives notifications from an id on [202]', async () => {
    expect(await (await logWith(0, 10)).select(1n, 10)).toEqual([])
    const five = await logWith(5, 10)
    expect(idsOf(await five.select(1n, 5))).toEqual([1, 2, 3, 4, 5])
    expect(idsOf(await five.select(6n, 5))).toEqual([])
    const nine = await logWith(9, 10)
    expect(idsOf(await nine.select(6n, 5))).toEqual([6, 7, 8, 9])
    expect(idsOf(await nine.select(3n, 5))).toEqual([3, 4, 5, 6, 7])
    expect(idsOf(await nine.select(null, 2, { topics: ['topic0'], stop: 5n }))).toEqual([2, 4])
  })

  it('refuses more than the section size [202]', async () => {
    const selecting = (await logWith(9, 10)).select(1n, 20)
    await expect(selecting).rejects.toBeInstanceOf(ProgrammingError)
    await expect(selecting).rejects.toThrow(/20 .*10/)
  })

  it('refuses a section size that is none', () => {
    for (const size of [0, -1, 1.5, Number.NaN]) {
      expect(() => new LocalNotificationLog(new InMemoryApplicationRecorder(), size)).toThrow(ProgrammingError)
    }
  })
})

describe('a reader of a log', () => {
  const starts = { 1: 9, 2: 8, 3: 7, 4: 6, 8: 2, 9: 1, 10: 0 }

  it('reads on to the end over sections that are smaller than its own [203]', async () => {
    const reader = new NotificationLogReader(await logWith(9, 5), 10)
    for (const [start, count] of Object.entries(starts)) {
      const ids: number[] = []
      for await (const { id } of reader.read(BigInt(start))) ids.push(Number(id))
      expect(ids).toEqual(Array.from({ length: count }, (_, index) => Number(start) + index))
    }
  })

  it('selects batches to the end [204]', async () => {
    const reader = new NotificationLogReader(await logWith(9, 5), 10)
    for (const [start, count] of Object.entries(starts)) {
      const batches: number[][] = []
      for await (const batch of reader.select({ start: BigInt(start) })) batches.push(idsOf(batch))
      expect(batches.flat()).toEqual(Array.from({ length: count }, (_, index) => Number(start) + index))
      expect(batches.every((batch) => batch.length <= 5)).toBe(true)
    }
  })

  it('stops, filters and starts after an id [204]', async () => {
    const reader = new NotificationLogReader(await logWith(9, 2))
    const idsOfAll = async (options: Parameters<typeof reader.select>[0]): Promise<number[]> => {
      const ids: number[] = []
      for await (const batch of reader.select(options)) ids.push(...idsOf(batch))
      return ids
    }
    expect(await idsOfAll({})).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(await idsOfAll({ start: 2n, stop: 6n })).toEqual([2, 3, 4, 5, 6])
    expect(await idsOfAll({ start: 2n, inclusiveOfStart: false, stop: 6n })).toEqual([3, 4, 5, 6])
    expect(await idsOfAll({ topics: ['topic0'] })).toEqual([2, 4, 6, 8])
  })
})

describe('the log of an application', () => {
  it('has its events in order, in sections of the size that is asked for', async () => {
    const school = new TrainingSchool({ sectionSize: 2 })
    expect(await school.notificationLog.section('1,10')).toEqual({ id: null, items: [], nextId: null })
    await school.register('Fido')
    await school.addTrick('Fido', 'sit')
    await school.register('Rex')
    const { id, items, nextId } = await school.notificationLog.section('1,10')
    expect([id, items.map(({ topic }) => topic), nextId]).toEqual(['1,2', ['Dog.Registered', 'Dog.TrickAdded'], '3,4'])
    expect(idsOf(await school.notificationLog.select(2n, 2))).toEqual([2, 3])
    expect(new TrainingSchool().notificationLog.sectionSize).toBe(10)
  })
})
