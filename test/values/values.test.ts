/** What an event keeps is read again, the same in a new object and in a loaded one; what it cannot keep is refused at the trigger. */
import { deepStrictEqual } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decide, initial } from '../../src/domain/decider.js'
import {
  Aggregate,
  Application,
  type ApplicationOptions,
  DataError,
  defineDecider,
  defineEvent,
  event,
  type StandardSchema,
  TranscodingNotRegisteredError,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { kept, Money, money, refused } from './cases.js'

class Box extends Aggregate<{ Opened: object; Put: { value: unknown }; Marked: object }> {
  static readonly snapshots = {}
  static readonly events = { Opened: (): void => undefined }
  readonly values: unknown[] = []
  last: unknown
  @event('Put', 'value') put(value: unknown): void {
    this.values.push(value)
    this.last = value
  }
  @event('Marked', 'timestamp') mark(_timestamp?: Date): void {}
  open(timestamp: Date): void {
    this.trigger('Opened', {}, { timestamp })
  }
}

const boxes = defineDecider({
  name: 'BoxDecider',
  initialState: () => ({ values: [] as readonly unknown[] }),
  evolve: { Put: ({ values }, { value }: { value: unknown }) => ({ values: [...values, value] }) },
  decide: { put: (_state, value: unknown) => [{ type: 'Put', data: { value } }] },
})

/** In a field, in a list in an object in it, and in a map: each with the place that a message has. */
const places: ReadonlyArray<[string, (value: unknown) => unknown, string]> = [
  ['in a field', (value) => value, 'value'],
  ['deeper', (value) => ({ 'a b': [0, value] }), 'value["a b"][1]'],
  ['in a map', (value) => new Map([['key', value]]), 'value[1]'],
]

function stateOf(value: object): object {
  return Object.assign({}, value)
}

async function checkKept(options: ApplicationOptions): Promise<void> {
  const app = new Application({ ...options, transcodings: [money] })
  // What is in memory belongs to one application.
  const cached =
    options.datastore === undefined ? app : new Application({ ...options, transcodings: [money], cache: true })
  const box = new Box()
  for (const { make } of kept) for (const [, within] of places.slice(0, 1)) box.put(within(make()))
  for (const { make, value } of kept) {
    if (!value.startsWith('200')) for (const [, within] of places.slice(1)) box.put(within(make()))
  }
  const pending = box.pendingEvents
  await app.save(box)
  deepStrictEqual(await (await app.eventStore()).get(box.id), pending)
  for (const [index, { expected, value }] of kept.entries()) {
    deepStrictEqual(box.values[index], expected, value)
    if (expected instanceof Money) expect((box.values[index] as Money).cents).toBe(5)
  }
  for (const from of [app, cached, cached]) {
    const loaded = await from.repository.get(Box, box.id)
    deepStrictEqual(stateOf(loaded), stateOf(box))
    expect((loaded.values[kept.length - 1] as Money).cents).toBe(5)
    expect(JSON.stringify(stateOf(loaded), textOfBigint)).toBe(JSON.stringify(stateOf(box), textOfBigint))
  }
  await app.takeSnapshot(Box, box.id)
  const restored = await app.repository.get(Box, box.id)
  deepStrictEqual(stateOf(restored), stateOf(box))
  expect(JSON.stringify(stateOf(restored), textOfBigint)).toBe(JSON.stringify(stateOf(box), textOfBigint))
}

const textOfBigint = (_name: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)

describe('an event keeps', () => {
  it('all of these, in memory: read back equal, live and loaded, cached and from a snapshot', async () => {
    await checkKept({})
  })

  it.each(kept)('$value', async ({ make }) => {
    const app = new Application({ transcodings: [money] })
    const id = crypto.randomUUID()
    const live = await app.execute(boxes, id, 'put', make())
    deepStrictEqual((await app.repository.get(boxes, id)).state, live.state)
  })
})

describe.each(refused)('an event refuses $value', ({ make, message }) => {
  it.each(places)('%s, by a DataError that names the event, the place and the value', (_name, within, place) => {
    const box = new Box()
    const error = errorOf(() => box.put(within(make())))
    expect(error).toBeInstanceOf(DataError)
    expect(error instanceof TranscodingNotRegisteredError).toBe(message.includes('transcoding'))
    const text = (error as Error).message
    expect(text).toContain(`Cannot trigger Box.Put, version 2 of ${box.id}: ${place}`)
    expect(text).toContain(` is ${message}`)
    expect([box.version, box.values, box.pendingEvents.length]).toEqual([1, [], 1])
  })

  it('in what a decider decides', () => {
    const command = () => decide(boxes, initial(boxes, 'a'), { name: 'put', args: [make()] })
    expect(command).toThrow(DataError)
    expect(command).toThrow('Cannot trigger BoxDecider.Put, version 1 of a: value')
  })
})

it('members of maps and sets, and symbols of lists and dates, are refused as well', () => {
  const mark = Symbol('mark')
  const odd: ReadonlyArray<[unknown, string]> = [
    [Object.assign(new Map(), { a: 1 }), 'a Map with members of its own (a)'],
    [Object.assign(new Set(), { a: 1, b: 1, c: 1, d: 1 }), 'a Set with members of its own (a, b, c, …)'],
    [Object.assign([1], { [mark]: 1 }), 'an array with members of its own (Symbol(mark))'],
    [Object.assign(new Date(0), { [mark]: 1 }), 'a Date with members of its own (Symbol(mark))'],
  ]
  for (const [value, message] of odd) expect(() => new Box().put(value)).toThrow(message)
})

it('a schema that lets such values pass does not hide them', () => {
  const anything = { '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) } } as const
  const Seen = defineEvent('Seen', anything as StandardSchema<{ value: unknown }>)
  class Watcher extends Aggregate {
    @event(Seen)
    see(_data: { readonly value: unknown }): void {}
  }
  const watcher = new Watcher()
  for (const value of [Object.assign(new Date(0), { note: 'x' }), /b/.exec('abc')]) {
    expect(() => watcher.see({ value })).toThrow('with members of its own')
  }
  class Tags extends Array<string> {}
  expect(() => watcher.see({ value: Tags.of('a') })).toThrow('an instance of Tags')
})

it('a time of an event is refused where it could not be read', () => {
  const box = new Box()
  for (const date of ['+012025-01-01', '-000001-01-01', '0000-01-01'].map((text) => new Date(text))) {
    expect(() => box.mark(date)).toThrow(DataError)
    expect(() => box.open(date)).toThrow(
      `Cannot trigger Box.Opened, version 2 of ${box.id}: its timestamp is ${date.toISOString()}, and a time has to be`,
    )
  }
  expect(() => box.mark(new Date('never'))).toThrow(DataError)
  expect(box.version).toBe(1)
})

it('ids and topics with a NUL or half of a surrogate pair are refused', async () => {
  @event('Opened', 'key')
  class Named extends Aggregate {
    readonly key: string
    constructor(key: string) {
      super()
      this.key = key
    }
    static createId(key: string): string {
      return key
    }
  }
  const app = new Application()
  for (const id of ['a\0b', '\ud800', 'a\udc00\ud800']) {
    const problem = `its originatorId is ${JSON.stringify(id)}, with a NUL or half of a surrogate pair`
    expect(() => new Named(id)).toThrow(DataError)
    expect(() => new Named(id)).toThrow(problem)
    await expect(app.execute(boxes, id, 'put', 1)).rejects.toThrow(problem)
    const odd = defineDecider({ ...boxes, name: `Box${id}` })
    await expect(app.execute(odd, 'a', 'put', 1)).rejects.toThrow('its topic is')
  }
  expect(new Named('🐈').id).toBe('🐈')
})

describe.each(databases)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  it('all that an event keeps is read back equal, live and loaded, cached and from a snapshot', async () => {
    await checkKept({ name: '', datastore: open.datastore })
  })
})

it('docs/values.md lists all of these values', () => {
  const document = readFileSync(new URL('../../docs/values.md', import.meta.url), 'utf8')
  const rows = document
    .split('\n')
    .filter((line) => line.startsWith('| ') && !/^\| (value|-)/.test(line))
    .map((line) =>
      line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.trim()),
    )
  const expected = [
    ...kept.map(({ value, given }) => [value, given]),
    ...refused.map(({ value, message }) => [value, `“… is ${message}”`]),
  ]
  expect(rows.slice(0, expected.length)).toEqual(expected)
})

function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error(`nothing was thrown: ${inspect(run)}`)
}
