/** The commands over a log: what they show of it, and that a file of it is stored again as it was. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { run } from '../../src/cli/program.js'
import { registerModule } from '../../src/persistence/configured.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases, databasesOf, type TestDatabaseKind } from '../support/databases.js'

const [sqlite] = databasesOf('sqlite')
if (sqlite === undefined) throw new Error('there is no SQLite')

let folder: string
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'log-'))))
afterAll(async () => await rm(folder, { recursive: true }))

interface Ran {
  readonly code: number
  readonly out: readonly string[]
  readonly err: readonly string[]
}

async function command(...args: readonly string[]): Promise<Ran> {
  const [out, err]: [string[], string[]] = [[], []]
  const output = { print: (line: string) => void out.push(line), complain: (line: string) => void err.push(line) }
  return { code: await run(args, output), out, err }
}

const jsonOf = ({ out }: Ran): unknown => JSON.parse(out.join('\n'))
const linesOf = ({ out }: Ran): unknown[] => out.map((line): unknown => JSON.parse(line))

// The commands choose the driver by the URL. Two copies of SQLite in one process would break the locks of each other.
const isAlone = ({ provider, name }: TestDatabaseKind): boolean => provider !== 'sqlite' || name === sqlite.name

describe.each(databases.filter(isAlone))('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  const fido = Dog.createId('Fido')
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
    await school.recorder.createTable?.()
    await school.register('Fido')
    await school.register('Rex')
    await school.addTrick('Fido', 'roll over')
    registerModule('kennel', { school, Dog, nothing: {} })
  })
  afterEach(async () => await open.close())

  const onTables = async (...args: readonly string[]): Promise<Ran> =>
    await command(...args, '--url', open.database.url, '--app', 'TrainingSchool')

  it('counts the events and streams of each kind', async () => {
    expect(jsonOf(await onTables('inspect', '--json'))).toEqual({
      end: '3',
      streams: 2,
      events: 3,
      kinds: [
        {
          kind: 'Dog',
          streams: 2,
          events: 3,
          topics: [
            { topic: 'Dog.Registered', events: 2, streams: 2 },
            { topic: 'Dog.TrickAdded', events: 1, streams: 0 },
          ],
        },
      ],
    })
    expect((await onTables('inspect')).out).toEqual([
      '3 events in 2 streams, up to position 3',
      'KIND              STREAMS  EVENTS',
      'Dog                     2       3',
      '  Dog.Registered                2',
      '  Dog.TrickAdded                1',
    ])
  })

  it('lists the events of a stream, and says where there is none', async () => {
    expect(linesOf(await onTables('events', fido, '--json'))).toMatchObject([
      { originatorId: fido, originatorVersion: 1, topic: 'Dog.Registered', data: { name: 'Fido' } },
      { originatorId: fido, originatorVersion: 2, topic: 'Dog.TrickAdded', data: { trick: 'roll over' } },
    ])
    const { code, err } = await onTables('events', Dog.createId('Nobody'))
    expect([code, err]).toEqual([1, [`Error: There is no stream ${Dog.createId('Nobody')} in this log.`]])
  })

  it('shows a state at any version, by the code of the application', async () => {
    const code = ['--application', 'kennel#school', '--kind', 'kennel#Dog', '--json'] as const
    expect(jsonOf(await command('state', fido, ...code))).toMatchObject({ name: 'Fido', tricks: ['roll over'] })
    expect(jsonOf(await command('state', fido, '--version', '1', ...code))).toMatchObject({ tricks: [] })
    expect((await command('state', fido)).err[0]).toContain('or show what is stored, with --raw')
    expect((await command('state', fido, ...code.slice(0, 2), '--kind', 'kennel#nothing')).err[0]).toContain('no class')
    expect((await command('state', fido, '--application', 'kennel#nothing', '--kind', 'kennel#Dog')).err[0]).toContain(
      'it is no application',
    )
  })

  it('shows the latest snapshot and the events after it, without code', async () => {
    const { out } = await onTables('state', fido, '--raw', '--json')
    expect(out).toHaveLength(2)
  })

  it('shows the end of the log, of all topics or some', async () => {
    const last = async (...args: readonly string[]) =>
      linesOf(await onTables('tail', '--once', '--json', ...args)) as Array<{ position: string }>
    expect((await last()).map(({ position }) => position)).toEqual(['1', '2', '3'])
    expect((await last('--last', '1')).map(({ position }) => position)).toEqual(['3'])
    expect((await last('--last', '1', '--topics', 'Dog.Registered')).map(({ position }) => position)).toEqual(['2'])
    expect((await onTables('tail', '--once', '--last', 'x')).err).toEqual([
      "Error: Could not take 'x' as --last: it is a whole number.",
    ])
  })

  it('follows the log until a signal', async () => {
    const out: string[] = []
    const ended = run(['tail', '--json', '--last', '0', '--url', open.database.url, '--app', 'TrainingSchool'], {
      print: (line) => void out.push(line),
      complain: (line) => void out.push(line),
    })
    await vi.waitFor(() => expect(process.listenerCount('SIGTERM')).toBeGreaterThan(0), 5_000)
    await school.addTrick('Rex', 'sit')
    await vi.waitFor(() => expect(out).toHaveLength(1), 5_000)
    process.emit('SIGTERM')
    expect(await ended).toBe(0)
    expect(out.map((line): unknown => JSON.parse(line))).toMatchObject([{ position: '4', data: { trick: 'sit' } }])
  })

  it('stores an exported log again as it was', async () => {
    const file = join(folder, `${kind.provider}.jsonl`)
    expect(await onTables('export', file)).toEqual({ code: 0, out: [`Exported 3 events to ${file}.`], err: [] })
    const copy = new TrainingSchool({ datastore: open.datastore, name: 'Copy' })
    await copy.recorder.createTable?.()
    const into = async (...args: readonly string[]) =>
      await command('import', file, '--url', open.database.url, '--app', 'Copy', ...args)
    expect((await into()).out[0]).toContain('Imported 3 events.')
    const [before, after] = await Promise.all(
      [school, copy].map(async ({ recorder }) => await recorder.selectNotifications(null, 10)),
    )
    const stored = (each: typeof before) => each?.map(({ recordedAt: _at, ...event }) => event)
    expect(stored(after)).toEqual(stored(before))
    expect((await copy.repository.get(Dog, fido)).tricks).toEqual(['roll over'])
    // A second time nothing is stored.
    const again = await into()
    expect([again.code, again.err[0]]).toEqual([1, expect.stringContaining('Nothing is stored: mend it')])
    expect(await copy.recorder.maxNotificationId()).toBe(3n)
  })

  it('stores nothing of a part with a line that is no event, and goes on where it was told', async () => {
    const file = join(folder, `${kind.provider}-damaged.jsonl`)
    await onTables('export', file, '--topics', 'Dog.Registered')
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    await writeFile(file, [lines[0], '{"originatorId": 7}', lines[1]].join('\n'))
    const copy = new TrainingSchool({ datastore: open.datastore, name: 'Copy' })
    await copy.recorder.createTable?.()
    const into = async (...args: readonly string[]) =>
      await command('import', file, '--url', open.database.url, '--app', 'Copy', ...args)
    expect((await into()).err[0]).toContain('line 2 is no event: originatorId is no text. Nothing is stored')
    expect(await copy.recorder.maxNotificationId()).toBe(null)
    expect((await into('--from-line', '3')).out[0]).toContain('Imported 1 event.')
    expect((await command('import', join(folder, 'none'), '--url', open.database.url)).code).toBe(1)
  })

  it('says which states it cannot show without the application, and shows them with it', async () => {
    const env = { COMPRESSOR_TOPIC: 'zlib' }
    const small = new TrainingSchool({ datastore: open.datastore, name: 'Small', env })
    await small.recorder.createTable?.()
    await small.register('Bea')
    const id = Dog.createId('Bea')
    registerModule('small', { small })
    const { out } = await command('events', id, '--url', open.database.url, '--app', 'Small')
    expect(out[0]).toMatch(/bytes, compressed or encrypted: name the application with --application/)
    const read = await command('events', id, '--application', 'small#small', '--json')
    expect(linesOf(read)).toMatchObject([{ data: { name: 'Bea' } }])
    const file = join(folder, `${kind.provider}-small.jsonl`)
    await command('export', file, '--url', open.database.url, '--app', 'Small')
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ stateBase64: expect.any(String) })
  })

  it('names the table that it has not found', async () => {
    const { code, err } = await command('inspect', '--url', open.database.url, '--app', 'Nobody')
    expect(code).toBe(1)
    expect(err[0]).toContain('The command looks at the table nobody_events: name another application with --app.')
  })
})
