/** The commands over projections see and change what runners in other processes do, by the tables alone. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { run } from '../../src/cli/program.js'
import { defineProjection, on, type Projection, ProjectionRunner } from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import { databases, databasesOf, type TestDatabaseKind } from '../support/databases.js'

const [sqlite] = databasesOf('sqlite')
if (sqlite === undefined) throw new Error('there is no SQLite')

let open: OpenDatabase
let school: TrainingSchool

afterEach(async () => await open.close())

/** Runs a command on the tables. */
async function projections(...args: readonly string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const [out, err]: [string[], string[]] = [[], []]
  const output = { print: (line: string) => void out.push(line), complain: (line: string) => void err.push(line) }
  const code = await run(['projections', ...args, '--url', open.database.url, '--app', 'TrainingSchool'], output)
  return { code, out, err }
}

// The commands choose the driver by the URL. Two copies of SQLite in one process would break the locks of each other.
const isAlone = ({ provider, name }: TestDatabaseKind): boolean => provider !== 'sqlite' || name === sqlite.name

describe.each(databases.filter(isAlone))('on $name', (kind) => {
  let isPoisonous: boolean
  beforeEach(async () => {
    isPoisonous = true
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
  })

  async function runnerOf(projection: Projection, leaseMs: number = 15_000): Promise<ProjectionRunner> {
    const runner = new ProjectionRunner({
      application: school,
      datastore: open.datastore,
      projections: [projection],
      leaseMs,
      poison: { attempts: 1 },
    })
    onTestFinished(() => runner.stop())
    await runner.createTable()
    return runner
  }

  const ownersIn = (db: TestClient, onError: 'block' | 'park' = 'block'): Projection =>
    defineProjection({
      name: 'owners',
      onError,
      on: [
        on(Dog, 'Registered', async ({ originatorId, originatorVersion }) => {
          if (isPoisonous && originatorId === Dog.createId('Rex')) throw new Error(`no owner, ${originatorVersion}`)
          await db.owner.create({ data: { dog: originatorId, name: 'somebody' } })
        }),
      ],
    })

  async function blocked(): Promise<ProjectionRunner> {
    const runner = await runnerOf(ownersIn(open.db))
    for (const name of ['Fido', 'Rex', 'Bello']) await school.register(name)
    await runner.start()
    await vi.waitFor(() => expect(runner.stats['owners']?.state).toBe('blocked'), { timeout: 20_000 })
    return runner
  }

  it('tells how far projections are, and exits with 1 when one is blocked', async () => {
    const runner = await runnerOf(ownersIn(open.db))
    isPoisonous = false
    for (const name of ['Fido', 'Rex']) await school.register(name)
    await runner.runOnce()
    expect(await projections('status')).toEqual({
      code: 0,
      out: ['live    owners, version 1: at 2, level with the log, nobody works on it'],
      err: [],
    })
    isPoisonous = true
    await school.register('Bello')
    const behind = await projections('status', 'owners', '--json')
    expect([behind.code, JSON.parse(behind.out.join('\n'))]).toEqual([
      0,
      {
        ok: true,
        projections: [
          expect.objectContaining({
            name: 'owners',
            status: 'live',
            position: '2',
            end: '3',
            lagEvents: 1,
            owners: [],
          }),
        ],
      },
    ])
    expect(await projections('status', 'nobody')).toMatchObject({
      code: 1,
      err: [expect.stringMatching(/^Error: There is no projection 'nobody' in the tables: they have owners\./)],
    })
  })

  it('waits for one that no runner has begun yet, and for a new version', async () => {
    isPoisonous = false
    const first = await runnerOf(ownersIn(open.db))
    await school.register('Fido')
    const wait = (...args: readonly string[]) => projections('wait', 'owners', '--timeout', ...args)
    const waiting = wait('20000')
    await first.runOnce()
    expect(await waiting).toEqual({ code: 0, out: ['owners has come to the position.'], err: [] })
    const missing = 'Error: Waited 0 ms for projection owners, version 2, to come to position 1: version 1 is at 1.'
    expect(await wait('0', '--projection-version', '2')).toEqual({ code: 1, out: [], err: [missing] })
    const waitingForNew = wait('20000', '--projection-version', '2')
    const second = defineProjection({ name: 'owners', version: 2, models: [], on: [on(Dog, 'Registered', () => {})] })
    await (await runnerOf(second)).runOnce()
    expect(await waitingForNew).toEqual({ code: 0, out: ['owners has come to the position.'], err: [] })
    expect(await projections('wait', 'nobody', '--timeout', '0')).toMatchObject({
      code: 1,
      err: [expect.stringMatching(/^Error: There is no projection 'nobody' in the tables: they have owners\./)],
    })
    expect((await wait('0', '--projection-version', 'two')).err).toEqual([
      "Error: --projection-version is a whole number, not 'two'.",
    ])
  })

  it('passes over the event that blocks one, and nothing else', async () => {
    const runner = await blocked()
    const seen = await projections('status')
    expect([seen.code, seen.out]).toEqual([
      1,
      [expect.stringMatching(/^BLOCKED owners, version 1: at 1, .*\n +stands still at event 2: Error: no owner, 1$/)],
    ])
    expect(await projections('wait', 'owners', '--timeout', '20000')).toMatchObject({ code: 1, err: [] })
    expect((await projections('skip', 'owners', '3')).err).toEqual([
      'Error: Could not pass over an event of projection owners: it is blocked by event 2, not by 3.',
    ])
    expect(await projections('skip', 'owners')).toEqual({
      code: 0,
      out: ['owners goes on behind event 2, which it has not handled.'],
      err: [],
    })
    await runner.wait('owners', 3n, { timeoutMs: 20_000 })
    expect(await open.dogs()).toEqual([Dog.createId('Fido'), Dog.createId('Bello')].sort())
    expect((await projections('skip', 'owners')).code).toBe(1)
  })

  it('lets a blocked one try its event again', async () => {
    const runner = await blocked()
    isPoisonous = false
    expect((await projections('retry', 'owners')).out).toEqual(['owners tries its event again.'])
    await runner.wait('owners', 3n, { timeoutMs: 20_000 })
    expect(await open.dogs()).toHaveLength(3)
    expect((await projections('retry', 'owners')).out).toEqual(['owners is not blocked: nothing to do.'])
  })

  it('pauses and resumes one that runs, and waits for it', async () => {
    isPoisonous = false
    const runner = await runnerOf(ownersIn(open.db), 1_000)
    await runner.start()
    await runner.wait('owners', await school.register('Fido'), { timeoutMs: 20_000 })
    expect((await projections('pause', 'owners')).code).toBe(0)
    // It has nothing to do: it finds out when it would renew its lease, and gives that up.
    await vi.waitFor(
      async () =>
        expect((await projections('status')).out).toEqual([expect.stringMatching(/^paused .*nobody works on it/)]),
      { timeout: 20_000 },
    )
    await school.register('Rex')
    const late = await projections('wait', 'owners', '--timeout', '50')
    expect(late).toMatchObject({ code: 1, err: [expect.stringMatching(/^Error: Waited 50 ms for projection owners/)] })
    expect((await projections('resume', 'owners')).code).toBe(0)
    expect((await projections('wait', 'owners', '--timeout', '20000')).code).toBe(0)
    expect((await projections('status')).out).toEqual([expect.stringContaining(`run by ${runner.owner}`)])
  })

  it('resumes one as what it was', async () => {
    const runner = await runnerOf(ownersIn(open.db))
    const status = async (): Promise<string | undefined> => (await projections('status')).out[0]?.slice(0, 8)
    await runner.pause('owners')
    await school.register('Fido')
    expect([await status(), (await projections('resume', 'owners')).code, await status()]).toEqual([
      'paused  ',
      0,
      'building',
    ])
    await runner.runOnce()
    await runner.pause('owners')
    await runner.resume('owners')
    expect(await status()).toBe('live    ')
  })

  it('says that the log of one was restored behind it, before any runner has looked', async () => {
    isPoisonous = false
    const runner = await runnerOf(ownersIn(open.db))
    for (const name of ['Fido', 'Rex']) await school.register(name)
    await runner.runOnce()
    await open.emptyLog('trainingschool_events')
    await school.register('Luna')
    const told =
      /^BLOCKED owners, version 1: at 2, nobody works on it\n +stands still: it is at position 2, and the log of TrainingSchool ends at 1/
    expect(await projections('status')).toMatchObject({ code: 1, out: [expect.stringMatching(told)] })
    expect(await projections('wait', 'owners', '1')).toMatchObject({ code: 1, out: [expect.stringMatching(told)] })
    await open.database.query(`UPDATE trainingschool_projection_states SET status = 'blocked', reason = 'why'`)
    const skipped = await projections('skip', 'owners')
    expect(skipped).toMatchObject({ code: 1, err: [expect.stringMatching(/none blocks it\. why/)] })
  })

  it('lists the events that one has put aside', async () => {
    const runner = await runnerOf(ownersIn(open.db, 'park'))
    for (const name of ['Fido', 'Rex']) await school.register(name)
    await runner.runOnce()
    expect(JSON.parse((await projections('parked', 'owners', '--json')).out.join('\n'))).toMatchObject({
      name: 'owners',
      parked: [{ position: '2', key: Dog.createId('Rex'), error: 'Error: no owner, 1' }],
    })
    expect((await projections('status')).out).toEqual([expect.stringContaining('1 event put aside')])
    expect((await projections('retry', 'owners')).err).toEqual([expect.stringContaining('with --module')])
  })

  it('says what is missing where there are no tables', async () => {
    expect((await projections('status')).err).toEqual([expect.stringContaining('table trainingschool_projections')])
  })
})

describe('a process that runs the projections of a module', () => {
  beforeEach(async () => {
    open = await openDatabase(sqlite)
    school = new TrainingSchool({ datastore: open.datastore })
  })

  function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const child = spawn(process.execPath, ['--import', 'tsx', 'src/cli/main.ts', 'projections', ...args], {
      env: { ...process.env, PRISMA_URL: open.database.url, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    return child
  }

  /** The next line that says this. */
  async function line(child: ChildProcess, wanted: string): Promise<Record<string, unknown>> {
    if (child.stdout === null) throw new Error('the process has no output')
    for await (const text of createInterface(child.stdout)) {
      const told: Record<string, unknown> = JSON.parse(text)
      if (told['event'] === wanted) return told
    }
    throw new Error(`the process has not said '${wanted}'`)
  }

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'begins with their runner, and gives its leases up at %s',
    async (signal) => {
      const waiting = await runnerFor()
      const child = start(['run', './test/cli/fixtures/projections.ts', '--json'])
      expect(await line(child, 'started')).toMatchObject({ projections: ['owners'] })
      await waiting.wait('owners', await school.register('Fido'), { timeoutMs: 20_000 })
      expect(await open.dogs()).toEqual([Dog.createId('Fido')])
      const ended = once(child, 'exit')
      child.kill(signal)
      expect(await ended).toEqual([0, null])
      expect(JSON.parse((await projections('status', '--json')).out.join('\n'))).toMatchObject({
        projections: [{ name: 'owners', owners: [] }],
      })
    },
    60_000,
  )

  it('exits with 1 when one of them is blocked', async () => {
    await runnerFor()
    await school.register('Fido')
    const child = start(['run', './test/cli/fixtures/projections.ts#runner', '--json'], { POISON: 'yes' })
    const ended = once(child, 'exit')
    expect(await line(child, 'blocked')).toMatchObject({
      projection: 'owners',
      position: '1',
      error: 'Error: no owner for this dog',
    })
    child.kill('SIGTERM')
    expect(await ended).toEqual([1, null])
  }, 60_000)

  it('builds the rows anew, and says how far it is', async () => {
    const waiting = await runnerFor()
    for (const name of ['Fido', 'Rex']) await school.register(name)
    await open.db.owner.create({ data: { dog: 'nobody', name: 'wrong' } })
    const child = start(['rebuild', './test/cli/fixtures/projections.ts', 'owners', '--json'])
    const ended = once(child, 'exit')
    expect(await line(child, 'rebuilt')).toMatchObject({ name: 'owners', position: '2', events: 2 })
    expect(await ended).toEqual([0, null])
    await waiting.wait('owners', 2n, { timeoutMs: 20_000 })
    expect(await open.dogs()).toEqual([Dog.createId('Fido'), Dog.createId('Rex')].sort())
  }, 60_000)

  it('says so where the module has no runner', async () => {
    const child = start(['run', './test/cli/fixtures/bank.ts'])
    const ended = once(child, 'exit')
    let said = ''
    child.stderr?.on('data', (part) => (said += String(part)))
    expect(await ended).toEqual([1, null])
    expect(said).toMatch(/^Error: Could not run projections: .*bank\.ts exports no ProjectionRunner and no Relay\./)
  }, 60_000)

  /** For its tables and waits: it does not run. */
  async function runnerFor(): Promise<ProjectionRunner> {
    const owners = defineProjection({ name: 'owners', on: [on(Dog, 'Registered', () => undefined)] })
    const runner = new ProjectionRunner({ application: school, datastore: open.datastore, projections: [owners] })
    await runner.createTable()
    return runner
  }
})
