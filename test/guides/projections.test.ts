/** The guide for projections, and the page of their commands, do what they say. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { blocksOf, DocumentProject, installCompiled, readDocument } from '../support/document-project.js'
import { type EmptyDatabase, emptyDatabase, rowsOf, runAll } from '../support/empty-databases.js'
import { type ConsoleStep, consoleSteps, matches } from '../support/newcomer.js'

const guide = blocksOf(readDocument('docs/guides/projections.md'))
const commands = readDocument('docs/projection-commands.md')
// What it says of types is about the same classes.
const decorators = blocksOf(readDocument('docs/decorators.md'))

/** What `prisma migrate` makes of the models of the guide. */
const tables = [
  'CREATE TABLE "TrickCount" (dog UUID PRIMARY KEY, name TEXT NOT NULL, tricks INTEGER NOT NULL)',
  'CREATE TABLE "Skill" (dog UUID NOT NULL, trick TEXT NOT NULL, PRIMARY KEY (dog, trick))',
  'CREATE TABLE "Visit" (course TEXT PRIMARY KEY, visitors INTEGER NOT NULL)',
]
const setUp = `
  import { ProjectionRunner } from 'eventsourcing-prisma'
  import { counts } from './counts.js'
  import { datastore, school } from './db.js'
  await school.recorder.createTable()
  await new ProjectionRunner({ application: school, datastore, projections: [counts] }).createTable()
  await datastore.close()
`

/** A project of the guide with a database of its own. */
async function guideProject(more: ReadonlyMap<string, string>): Promise<readonly [DocumentProject, EmptyDatabase]> {
  const database = await emptyDatabase('postgresql')
  await runAll(database.url, tables)
  const blocks = new Map([...guide, ...more, ['set-up.ts', setUp]])
  const env = { DATABASE_URL: database.url }
  const project = new DocumentProject({ name: 'projections', blocks, install: installCompiled, env })
  project.generateClient('schema.prisma')
  project.runBlock('set-up.ts')
  return [project, database]
}

describe('the guide', () => {
  let project: DocumentProject
  let database: EmptyDatabase
  beforeAll(async () => {
    ;[project, database] = await guideProject(decorators)
  }, 240_000)
  afterAll(async () => {
    project.remove()
    await database.drop()
  })

  it('has the types that it shows', () => project.checkTypes(), 120_000)

  it.each(['first.ts', 'inline.ts', 'memory.ts', 'rebuild.ts', 'partitions.ts', 'poison.ts', 'monitoring.ts'])(
    'runs %s',
    (file) => {
      project.runBlock(file)
    },
    60_000,
  )

  it('runs its tests', () => {
    expect(project.runBlock('projections.test.ts')).toMatch(/# pass 2\n# fail 0\n/)
  }, 60_000)

  it.each([
    [
      'Fastify',
      `const { fastify } = await import('./fastify-server.js')
      const url = await fastify.listen({ port: 0, host: '127.0.0.1' })
      const close = () => fastify.close()`,
    ],
    [
      'Express',
      `const { app } = await import('./express-server.js')
      const server = app.listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const url = 'http://127.0.0.1:' + server.address().port
      const close = async () => { server.closeAllConnections(); server.close(); await runner.stop() }`,
    ],
  ])(
    'shows in %s what was stored before',
    async (name, start) => {
      project.write(
        'requests.ts',
        `import { addAndList } from './client.js'
      import { datastore } from './db.js'
      import { runner } from './projections.js'
      ${start}
      const names = await addAndList(url, '${name}')
      const health = await fetch(url + '/health/projections')
      console.log(JSON.stringify([names.includes('${name}'), health.status]))
      await close()
      await datastore.close()`,
      )
      expect(JSON.parse(project.runFile('requests.ts'))).toEqual([true, 200])
      project.write('requests.ts', '')
    },
    60_000,
  )
})

/** Projections as the guide has them, which fail for some events as long as a file is there. */
const poisonous = `
  import { existsSync } from 'node:fs'
  import { defineProjection, of, on, ProjectionRunner } from 'eventsourcing-prisma'
  import { counts } from './counts.js'
  import { datastore, db, school } from './db.js'
  import { course, Dog, TrickAdded } from './school.js'
  const failAt = (poisoned: boolean, message: string) => {
    if (poisoned && existsSync('poison')) throw new Error(message)
  }
  const skills = defineProjection({
    name: 'skills',
    models: ['Skill'],
    onError: 'park',
    on: [on(Dog, TrickAdded, async ({ originatorId: dog, data: { trick } }) => {
      failAt(trick === 'fly', 'no such trick')
      await db.skill.create({ data: { dog, trick } })
    })],
  })
  const visits = defineProjection({
    name: 'visits',
    models: ['Visit'],
    on: [of(course, { Visited: ({ data }) => failAt(data.by === '', 'no such visitor') })],
  })
  export const runner = new ProjectionRunner({
    application: school, datastore, projections: [counts, skills, visits], poison: { attempts: 2, minMs: 1 },
  })
`
const saves = (what: string): string => `
  import { datastore, school } from './db.js'
  import { course, Dog } from './school.js'
  ${what}
  await datastore.close()
`
const goodEvents = saves(`for (const name of ['Fido', 'Rex', 'Luna']) await school.save(new Dog(name))`)
const badEvents = saves(`
  await school.execute(course, crypto.randomUUID(), 'visit', '')
  const [first] = await school.recorder.selectNotifications(null, 1)
  const dog = await school.repository.get(Dog, first?.originatorId ?? '')
  dog.addTrick('fly')
  await school.save(dog)
`)

describe('the page of the commands', () => {
  let project: DocumentProject
  let database: EmptyDatabase
  let runner: ChildProcess | undefined
  let code = 0
  beforeAll(async () => {
    const more = { 'projections.ts': poisonous, 'good-events.ts': goodEvents, 'bad-events.ts': badEvents }
    ;[project, database] = await guideProject(new Map(Object.entries(more)))
    project.write('poison', '')
    project.runBlock('good-events.ts')
  }, 240_000)
  afterAll(async () => {
    runner?.kill('SIGKILL')
    project.remove()
    await database.drop()
  })

  const cli = (line: string): string[] => {
    const args = line.replace('npx eventsourcing-prisma', '').trim().split(/\s+/)
    return ['node_modules/eventsourcing-prisma/dist/src/cli/main.js', ...args]
  }

  /** Runs the first command of the page, until it has printed so much as the page has. */
  async function startRunner(): Promise<void> {
    const told: string[] = []
    const [{ command, output }] = stepsOf('run') as [ConsoleStep]
    runner = spawn(process.execPath, cli(command), { cwd: project.folder, env: project.env })
    if (runner.stdout === null) throw new Error('the command has no output')
    createInterface(runner.stdout).on('line', (line) => told.push(line))
    await expect
      .poll(() => (matches(output, told.join('\n')) ? output : told.join('\n')), { timeout: 60_000 })
      .toBe(output)
  }

  async function stopRunner(): Promise<number> {
    const ended = once(runner as ChildProcess, 'exit')
    runner?.kill('SIGTERM')
    runner = undefined
    return (await ended)[0]
  }

  /** Runs what the page has under a heading. */
  function runSection(heading: string, steps: readonly ConsoleStep[] = stepsOf(heading)): void {
    expect(steps.length).toBeGreaterThan(0)
    for (const { command, output } of steps) {
      if (command === 'echo $?') {
        expect(String(code)).toBe(output)
        continue
      }
      const result = spawnSync(process.execPath, cli(command), {
        cwd: project.folder,
        env: project.env,
        encoding: 'utf8',
      })
      code = result.status ?? -1
      const printed = `${result.stdout}${result.stderr}`.trimEnd()
      if (!matches(output, printed)) expect(printed, command).toBe(output)
    }
  }

  const isLevel = async (): Promise<boolean> =>
    (await rowsOf(database.url, 'SELECT min(position)::int FROM trainingschool_projections'))[0]?.[0] === 3
  const statusOf = async (name: string): Promise<unknown> =>
    (await rowsOf(database.url, `SELECT status FROM trainingschool_projection_states WHERE name = '${name}'`))[0]?.[0]

  it('runs, tells how far they are, waits, pauses and resumes', async () => {
    await startRunner()
    await expect.poll(isLevel, { timeout: 30_000 }).toBe(true)
    for (const heading of ['status', 'wait', 'pause, resume']) runSection(heading)
    expect(await stopRunner()).toBe(0)
  }, 120_000)

  it('shows what is blocked, tries it again, passes over it, and tries again what was put aside', async () => {
    await startRunner()
    project.runBlock('bad-events.ts')
    await expect.poll(async () => await statusOf('visits'), { timeout: 30_000 }).toBe('blocked')
    const [blocked, exitCode, retry, skip] = stepsOf('retry, skip') as [
      ConsoleStep,
      ConsoleStep,
      ConsoleStep,
      ConsoleStep,
    ]
    runSection('retry, skip', [blocked, exitCode, retry])
    // It fails again.
    await expect.poll(async () => await statusOf('visits'), { timeout: 30_000 }).toBe('blocked')
    runSection('retry, skip', [skip])
    const [parked, again] = stepsOf('parked') as [ConsoleStep, ConsoleStep]
    runSection('parked', [parked])
    rmSync(join(project.folder, 'poison'))
    runSection('parked', [again])
    expect(await rowsOf(database.url, 'SELECT trick FROM "Skill"')).toEqual([['fly']])
    expect(await stopRunner()).toBe(0)
  }, 120_000)

  it('builds rows anew', async () => {
    await runAll(database.url, ['UPDATE "TrickCount" SET tricks = -1'])
    runSection('rebuild')
    expect(await rowsOf(database.url, 'SELECT sum(tricks)::int FROM "TrickCount"')).toEqual([[1]])
  }, 60_000)
})

/** The commands that the page shows under a heading, with what they print. */
function stepsOf(heading: string): ConsoleStep[] {
  const section = commands.split(/^## /m).find((text) => text.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/```console\n([\s\S]*?)```/g)].flatMap(([, block = '']) => consoleSteps(block))
}
