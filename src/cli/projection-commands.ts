/** The commands over projections: their options, and what they print. */

import { type Command, Option } from 'commander'
import { EnvironmentError, isEventSourcingError, OperationalError } from '../errors.js'
import type { ProjectionRow } from '../persistence/projection-recorder.js'
import { type ProjectionReport, ProjectionTables } from '../persistence/projection-tables.js'
import { PrismaApplicationRecorder } from '../prisma/application-recorder.js'
import { PrismaDatastore } from '../prisma/datastore.js'
import { adapterFromUrl } from '../prisma/factory.js'
import { PrismaProjectionRecorder } from '../prisma/projection-recorder.js'
import { tableNames } from '../prisma/table-names.js'
import { counted, jsonValue, type Output, readProject, storedUrlOf } from './project.js'
import { loadRunners, RebuildView, type RunningEvent, runnerOf, runUntil, untilSignal } from './run-projections.js'

interface TablesFlags {
  readonly url?: string
  readonly app: string
  readonly postgresSchema?: string
  readonly json?: boolean
}

interface RetryFlags extends TablesFlags {
  readonly module?: string
}

interface WaitFlags extends TablesFlags {
  readonly timeout: string
  readonly projectionVersion?: string
}

interface RebuildFlags {
  readonly way: 'atomic' | 'in-place' | 'shadow'
  readonly resume?: boolean
  readonly json?: boolean
}

/** A command over the tables. */
type Act<Args extends readonly unknown[]> = (tables: ProjectionTables, ...args: Args) => Promise<Answer>

/** What a command says. */
interface Answer {
  /** For people. */
  readonly lines: readonly string[]
  /** For programs. */
  readonly json: object
  /** Whether something stands still. */
  readonly isBlocked?: boolean
}

/** @param end - takes the exit code of a command that has found something blocked */
export function addProjections(command: Command, output: Output, end: (code: number) => void, url: string): void {
  const projections = command.command('projections').description('run projections, and look after them')
  addRun(projections, output, end)
  addRebuild(projections, output)
  addOverTables(projections, output, { end, url })
}

type AddOverTables = <Args extends readonly unknown[]>(name: string, description: string, act: Act<Args>) => Command

/** Those that need no code of the project. */
function addOverTables(
  projections: Command,
  output: Output,
  { end, url }: { readonly end: (code: number) => void; readonly url: string },
): void {
  const add: AddOverTables = (name, description, act) =>
    projections
      .command(name)
      .description(description)
      .option('--url <url>', url)
      .option('--app <name>', 'the application after which the tables are named (default: tables without a prefix)', '')
      .option('--postgres-schema <name>', 'the PostgreSQL schema of the tables')
      .option('--json', 'print JSON')
      .action(async (...given: unknown[]) => {
        const flags = given.at(-2) as TablesFlags // commander gives the arguments, the options and the command
        // What is given is what the command names, and the action takes that.
        const answer = await withTables(flags, (tables) => act(tables, ...(given as never)))
        show(answer, output, flags.json === true)
        if (answer.isBlocked === true) end(1)
      })
  addLooking(add)
  addChanging(add)
}

function addLooking(add: AddOverTables): void {
  add('status [names...]', 'say how far they are, and what holds them up; exit with 1 when one is blocked', status)
  add('wait <name> [position]', 'wait until one has come to a position (default: the present end of the log)', wait)
    .option('--timeout <ms>', 'milliseconds until it gives up, with 1', '60000')
    .option('--projection-version <number>', 'the least version of the projection that counts (default: any)')
  add('parked <name>', 'list the events that one has put aside', parked)
}

function addChanging(add: AddOverTables): void {
  add('pause <name>', 'let one rest, in all processes', pause)
  add('resume <name>', 'let one go on that was paused', resume)
  add(
    'rewind <name> <position>',
    'set a relay or reaction back: it sends, or does, again what is behind the position',
    rewind,
  )
  add('skip <name> [position]', 'pass over the event that blocks one: it is never handled', skip)
  add(
    'retry <name> [position]',
    'let one that is blocked try its event again, or events that were put aside',
    retry,
  ).option(
    '--module <module>',
    'what exports its runner, such as ./projections.js: for events that were put aside, all or those with the key of one',
  )
}

function show({ lines, json }: Answer, output: Output, isJson: boolean): void {
  if (isJson) output.print(JSON.stringify(json, jsonValue, 2))
  else for (const line of lines) output.print(line)
}

function addRun(projections: Command, output: Output, end: (code: number) => void): void {
  projections
    .command('run <module>')
    .description('run the ProjectionRunners that a module exports, such as ./projections.js, until SIGTERM or SIGINT')
    .option('--json', 'print what happens as lines of JSON')
    .action(async (module: string, { json }: { readonly json?: boolean }) => {
      const tell = (event: RunningEvent): void =>
        output.print(json === true ? JSON.stringify(event, jsonValue) : lineOf(event))
      if (!(await untilSignal(async (signal) => await runUntil(signal, await loadRunners(module), tell)))) end(1)
    })
}

function addRebuild(projections: Command, output: Output): void {
  projections
    .command('rebuild <module> <name>')
    .description('build the rows of one anew, with its runner from a module; SIGTERM or SIGINT cancels')
    .addOption(
      new Option('--way <way>', 'in one transaction, batch by batch, or in tables beside those in use')
        .choices(['atomic', 'in-place', 'shadow'])
        .default('atomic'),
    )
    .option(
      '--resume',
      'with --way shadow: go on with what a rebuild has built that was cancelled, by the same handlers',
    )
    .option('--json', 'print the progress and what came of it as lines of JSON')
    .action(async (module: string, name: string, { way, resume, json }: RebuildFlags) => {
      const runner = runnerOf(await loadRunners(module), name)
      const view = new RebuildView(name, output, json === true)
      const onProgress = view.progress.bind(view)
      const options = { way, ...(resume === true ? { resume } : {}) }
      view.done(await untilSignal(async (signal) => await runner.rebuild(name, { ...options, onProgress, signal })))
    })
}

async function withTables(
  { url, app, postgresSchema }: TablesFlags,
  act: (tables: ProjectionTables) => Promise<Answer>,
): Promise<Answer> {
  const database = await storedUrlOf(await readProject({ url, migrations: '' }), 'look at the projections')
  const schema = postgresSchema === undefined ? {} : { schema: postgresSchema }
  return await withProjectionTables({ url: database, application: app, ...schema }, act)
}

async function status(tables: ProjectionTables, names: readonly string[]): Promise<Answer> {
  const projections = await tables.status(names)
  const isBlocked = projections.some((report) => report.status === 'blocked')
  const lines =
    projections.length === 0 ? ['There are no projections: no runner has run one.'] : projections.map(statusLine)
  return { lines, json: { ok: !isBlocked, projections }, isBlocked }
}

async function wait(
  tables: ProjectionTables,
  name: string,
  position: string | undefined,
  { timeout, projectionVersion }: WaitFlags,
): Promise<Answer> {
  const timeoutMs = Number(timeout)
  if (!(timeoutMs >= 0)) throw new EnvironmentError(`--timeout is a number of milliseconds, not '${timeout}'.`)
  const version = Number(projectionVersion ?? 0)
  if (!Number.isInteger(version) || version < 0) {
    throw new EnvironmentError(`--projection-version is a whole number, not '${projectionVersion}'.`)
  }
  const awaited = { position: positionOf(position), timeoutMs, version }
  const isBlocked = (await tables.wait(name, awaited)) === 'blocked'
  const lines = isBlocked ? (await tables.status([name])).map(statusLine) : [`${name} has come to the position.`]
  return { lines, json: { ok: !isBlocked, name, blocked: isBlocked }, isBlocked }
}

async function pause(tables: ProjectionTables, name: string): Promise<Answer> {
  await tables.pause(name)
  return {
    lines: [`${name} is paused: its runner rests after the batch under way.`],
    json: { ok: true, name, wanted: 'paused' },
  }
}

async function resume(tables: ProjectionTables, name: string): Promise<Answer> {
  await tables.resume(name)
  return { lines: [`${name} goes on.`], json: { ok: true, name, wanted: 'running' } }
}

async function rewind(tables: ProjectionTables, name: string, position: string): Promise<Answer> {
  const to = positionOf(position) ?? 0n
  const from = await tables.rewind(name, to)
  return {
    lines: [`${name} goes on behind ${to}: what it has done up to ${from} is done again.`],
    json: { ok: true, name, position: to, before: from },
  }
}

async function skip(tables: ProjectionTables, name: string, position: string | undefined): Promise<Answer> {
  const skipped = await tables.skip(name, positionOf(position))
  return {
    lines: [`${name} goes on behind event ${skipped}, which it has not handled.`],
    json: { ok: true, name, skipped },
  }
}

async function parked(tables: ProjectionTables, name: string): Promise<Answer> {
  const events = await tables.parked(name)
  const lines = events.map(
    ({ notificationId, key, attempts, parkedAt, error }) =>
      `${notificationId}  key ${key}, ${counted(attempts, 'attempt')}, put aside ${parkedAt.toISOString()}: ${error}`,
  )
  return {
    lines: lines.length === 0 ? [`${name} has put no events aside.`] : lines,
    json: {
      ok: true,
      name,
      parked: events.map(({ notificationId, ...event }) => ({ position: notificationId, ...event })),
    },
  }
}

async function retry(
  tables: ProjectionTables,
  name: string,
  position: string | undefined,
  { module }: RetryFlags,
): Promise<Answer> {
  if (module !== undefined) {
    await runnerOf(await loadRunners(module), name).retry(name, positionOf(position))
    const left = (await tables.parked(name)).length
    return {
      lines: [`${name} has ${counted(left, 'event')} put aside now.`],
      json: { ok: true, name, retried: true, parked: left },
    }
  }
  const isRetried = position === undefined && (await tables.retry(name))
  const aside = isRetried ? 0 : (await tables.parked(name)).length
  if (aside > 0) {
    throw new EnvironmentError(
      `Could not retry what projection ${name} has put aside, ${counted(aside, 'event')}: its handlers do that. Name the module that ` +
        'exports its runner with --module.',
    )
  }
  return {
    lines: [isRetried ? `${name} tries its event again.` : `${name} is not blocked: nothing to do.`],
    json: { ok: true, name, retried: isRetried },
  }
}

function positionOf(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined
  if (/^\d+$/.test(text)) return BigInt(text)
  throw new EnvironmentError(`'${text}' is no position: it is a whole number, such as status prints it.`)
}

function statusLine(report: ProjectionReport): string {
  const { name, kind, version, status, position, end, target, lagEvents, lagMs, rate, owners, parked: aside } = report
  const parts = [
    `${status === 'blocked' ? 'BLOCKED' : status.padEnd(7)} ${kind === 'reaction' ? `reaction ${name}` : `${name}, version ${version}`}: at ${position}`,
    status === 'building' ? progress(position, target ?? end) : undefined,
    lagEvents === undefined || (status === 'blocked' && lagEvents === 0)
      ? undefined
      : lagEvents === 0
        ? 'level with the log'
        : `${counted(lagEvents, 'event')}, ${lagMs} ms behind`,
    rate > 0 ? `${rate} a second` : undefined,
    owners.length === 0 ? 'nobody works on it' : `run by ${owners.join(', ')}`,
    aside > 0 ? `${counted(aside, 'event')} put aside` : undefined,
  ].filter((part) => part !== undefined)
  return `${parts.join(', ')}${faultOf(report)}`
}

function faultOf({ status, failedPosition, reason }: ProjectionReport): string {
  if (failedPosition !== undefined) return `\n        stands still at event ${failedPosition}: ${reason ?? ''}`
  if (reason === undefined) return ''
  return `\n        ${status === 'blocked' ? 'stands still' : 'tries again and again'}: ${reason}`
}

function progress(position: bigint, target: bigint | undefined): string | undefined {
  if (target === undefined || target === 0n) return undefined
  return `${Math.min(100, Math.floor(Number((position * 100n) / target)))} %`
}

function lineOf({ event, ...details }: RunningEvent): string {
  const told = Object.entries(details).map(([name, value]) => `${name} ${String(jsonValue(name, value))}`)
  return [event, ...told].join(', ')
}

/** Whose tables. */
export interface ProjectionTablesOptions {
  /** The database, as `adapterFromUrl` takes it. */
  readonly url: string
  /** The application; an empty name has tables without a prefix. */
  readonly application: string
  /** The PostgreSQL schema of the tables. */
  readonly schema?: string
}

/** Opens them for some work. */
export async function withProjectionTables<T>(
  { url, application, schema }: ProjectionTablesOptions,
  work: (tables: ProjectionTables) => Promise<T>,
): Promise<T> {
  const datastore = new PrismaDatastore({ adapter: await adapterFromUrl(url) })
  const names = tableNames(application)
  const place = schema === undefined ? {} : { schema }
  try {
    const recorder = new HelpfulRecorder(datastore, { names, ...place })
    const log = new PrismaApplicationRecorder(datastore, { eventsTable: names.events, ...place })
    return await work(new ProjectionTables({ recorder, log, application }))
  } finally {
    await datastore.close()
  }
}

/** Says which option names other tables, where these are not there. */
class HelpfulRecorder extends PrismaProjectionRecorder {
  readonly #table: string

  constructor(...[datastore, options]: ConstructorParameters<typeof PrismaProjectionRecorder>) {
    super(datastore, options)
    this.#table = options.names.projections
  }

  override async rows(): Promise<ProjectionRow[]> {
    try {
      return await super.rows()
    } catch (error) {
      if (!isEventSourcingError(error) || error instanceof OperationalError) throw error
      throw new EnvironmentError(
        `${error.message.replace(/[^.]$/, '$&.')} The command looks at the table ${this.#table}: name another application with --app.`,
        { cause: error },
      )
    }
  }
}
