/** The commands that look at a log, its streams and their states, and those that carry a log to a file and back. */

import { inspect } from 'node:util'
import { type Command, Option } from 'commander'
import type { SnapshotKind } from '../domain/snapshot.js'
import { EnvironmentError, isEventSourcingError, OperationalError } from '../errors.js'
import type { EventStore } from '../persistence/event-store.js'
import { lastNotifications } from '../persistence/followed-log.js'
import { type AggregateRecorder, type ApplicationRecorder, logPosition } from '../persistence/recorder.js'
import { PrismaAggregateRecorder } from '../prisma/aggregate-recorder.js'
import { PrismaApplicationRecorder } from '../prisma/application-recorder.js'
import { PrismaDatastore } from '../prisma/datastore.js'
import type { OriginatorIdType, TopicCount } from '../prisma/dialect.js'
import { adapterFromUrl } from '../prisma/factory.js'
import { tableNames } from '../prisma/table-names.js'
import { exportLog, importLog, lineOf, type Show, type ShownEvent, showBy, showStored } from './log-lines.js'
import { counted, jsonValue, type Output, readProject, storedUrlOf } from './project.js'
import { loadTopic, untilSignal } from './run-projections.js'
import { isKind } from './verify-snapshots.js'

interface StateFlags extends ReadFlags {
  readonly kind?: string
  readonly version?: string
  readonly raw?: boolean
}

interface TailFlags extends ReadFlags {
  readonly topics: string[]
  readonly last: string
  readonly once?: boolean
}

interface ExportFlags extends PlaceFlags {
  readonly topics: string[]
  readonly gt?: string
}

interface ImportFlags extends PlaceFlags {
  readonly fromLine: string
}

const pageSize = 500

/** @param url - what is said of the option `--url` */
export function addLogCommands(command: Command, output: Output, url: string): void {
  const add = (name: string, description: string): Command =>
    command
      .command(name)
      .description(description)
      .option('--url <url>', url)
      .option('--app <name>', 'the application after which the tables are named (default: tables without a prefix)', '')
      .option('--postgres-schema <name>', 'the PostgreSQL schema of the tables')
      .addOption(
        new Option(
          '--originator-id-type <type>',
          'the type of the ids of aggregates on PostgreSQL (default: uuid)',
        ).choices(['uuid', 'text']),
      )
  addLooking(add, output)
  addCarrying(add, output)
}

type Add = (name: string, description: string) => Command

const applicationOption = [
  '--application <topic>',
  'what reads states that are compressed or encrypted, such as ./dist/app.js#school; it shows personal data',
] as const

function addLooking(add: Add, output: Output): void {
  add('inspect', 'say how many events and streams of each kind there are, and how far the log goes')
    .option('--json', 'print JSON')
    .action(async (flags: PlaceFlags) => {
      await withLog(flags, 'look at the log', async (log) => await printKinds(log, output, flags.json === true))
    })
  add('events <id>', 'list the events of a stream')
    .option(...applicationOption)
    .option('--json', 'print lines of JSON')
    .action(async (id: string, flags: ReadFlags) => {
      await withReader(flags, `read the events of ${id}`, async ({ recorder }, show) => {
        await printStream(recorder, id, { show, print: printer(output, flags.json === true) })
      })
    })
  add('state <id>', 'show the state of an aggregate, or of what a decider decides on')
    .option(...applicationOption)
    .option('--kind <topic>', 'its class or decider, such as ./dist/dogs.js#Dog')
    .option('--version <version>', 'the state at this version of the stream (default: the last)')
    .option('--raw', 'without code: the latest snapshot as it is stored, and the events after it')
    .option('--json', 'print JSON')
    .action(async (id: string, flags: StateFlags) => await printState(id, flags, output))
  add('tail', 'show the last events of the log, and follow it until SIGTERM or SIGINT')
    .option(...applicationOption)
    .option('--topics <topic...>', 'only events of these topics', [])
    .option('--last <count>', 'how many events of before to show', '10')
    .option('--once', 'end at the end of the log')
    .option('--json', 'print lines of JSON')
    .action(async (flags: TailFlags) => await tail(flags, output))
}

function addCarrying(add: Add, output: Output): void {
  add('export <file>', 'write the log to a file, an event a line of JSON, as it is stored; - for standard output')
    .option('--topics <topic...>', 'only events of these topics', [])
    .option('--gt <position>', 'only events after this position')
    .action(async (file: string, { topics, gt, ...flags }: ExportFlags) => {
      await withLog(flags, 'export the log', async ({ recorder }) => {
        const range = { topics, gt: logPosition(gt as bigint | undefined, '--gt') } // a text is taken as well
        const count = await exportLog(recorder, range, file, progressOn(file === '-' ? undefined : output, 'exported'))
        if (file !== '-') output.print(`Exported ${counted(count, 'event')} to ${file}.`)
      })
    })
  add('import <file>', 'store the events of such a file behind those that the log has; - for standard input')
    .option('--from-line <number>', 'the first line to store, after an import that was interrupted', '1')
    .action(async (file: string, { fromLine, ...flags }: ImportFlags) => {
      const first = wholeNumber(fromLine, '--from-line')
      await withLog(flags, `import ${file}`, async ({ datastore, recorder }) => {
        const from = { datastore, recorder, file, fromLine: first }
        const count = await importLog(from, progressOn(output, 'imported'))
        output.print(
          `Imported ${counted(count, 'event')}. Snapshots, keys of personal data and tags are not in the file: ` +
            'tags backfill gives the tags again.',
        )
      })
    })
}

async function printKinds({ recorder }: OpenLog, output: Output, isJson: boolean): Promise<void> {
  const topics = await recorder.countByTopic()
  const end = await recorder.maxNotificationId()
  const kinds = [...new Set(topics.map(({ topic }) => kindOf(topic)))].map((kind) => {
    const own = topics.filter(({ topic }) => kindOf(topic) === kind)
    return { kind, streams: sumOf(own, 'streams'), events: sumOf(own, 'events'), topics: own }
  })
  if (isJson) {
    output.print(
      JSON.stringify({ end, streams: sumOf(kinds, 'streams'), events: sumOf(kinds, 'events'), kinds }, jsonValue, 2),
    )
    return
  }
  output.print(
    `${counted(sumOf(kinds, 'events'), 'event')} in ${counted(sumOf(kinds, 'streams'), 'stream')}` +
      (end === null ? '' : `, up to position ${end}`),
  )
  const rows = kinds.flatMap(({ kind, streams, events, topics: own }) => [
    [kind, String(streams), String(events)],
    ...own.map((each) => [`  ${each.topic}`, '', String(each.events)]),
  ])
  for (const line of aligned([['KIND', 'STREAMS', 'EVENTS'], ...rows])) output.print(line)
}

async function printStream(
  recorder: Pick<AggregateRecorder, 'selectEvents'>,
  id: string,
  { show, print, gt }: { readonly show: Show; readonly print: (event: ShownEvent) => void; readonly gt?: number },
): Promise<void> {
  let count = 0
  for (let after = gt; ; ) {
    const from = after === undefined ? {} : { gt: after }
    const page = await recorder.selectEvents(id, { ...from, limit: pageSize })
    for (const event of await show(page)) print(event)
    count += page.length
    after = page.at(-1)?.originatorVersion
    if (page.length < pageSize) break
  }
  if (count === 0 && gt === undefined) throw new EnvironmentError(`There is no stream ${id} in this log.`)
}

async function printState(id: string, flags: StateFlags, output: Output): Promise<void> {
  const isJson = flags.json === true
  if (flags.raw === true) {
    if (flags.version !== undefined) throw new EnvironmentError('Could not show the state: --raw has no --version.')
    return await withReader(flags, `read the state of ${id}`, async ({ recorder, snapshots }, show) => {
      const print = printer(output, isJson)
      const kept = snapshots === undefined ? [] : await snapshots.selectEvents(id, { desc: true, limit: 1 })
      for (const snapshot of await show(kept)) print(snapshot)
      const last = kept[0]?.originatorVersion
      await printStream(recorder, id, { show, print, ...(last === undefined ? {} : { gt: last }) })
    })
  }
  if (flags.application === undefined || flags.kind === undefined) {
    throw new EnvironmentError(
      `Could not show the state of ${id}: name the code that makes it, with --application ./dist/app.js#school and ` +
        '--kind ./dist/dogs.js#Dog; or show what is stored, with --raw.',
    )
  }
  const application = await loadedApplication(flags.application)
  const kind = await loadTopic(flags.kind)
  if (!isKind(kind))
    throw new EnvironmentError(
      `Could not show the state of ${id}: ${flags.kind} is no class of aggregates and no decider.`,
    )
  const version = flags.version === undefined ? {} : { version: wholeNumber(flags.version, '--version') }
  const originator = await application.repository.get(kind, id, version)
  if (isJson) output.print(JSON.stringify(originator, jsonValue, 2))
  else output.print(inspect(originator, { depth: Number.POSITIVE_INFINITY, breakLength: 100, maxArrayLength: null }))
}

async function tail({ topics, last, once, ...flags }: TailFlags, output: Output): Promise<void> {
  const print = printer(output, flags.json === true)
  const count = wholeNumber(last, '--last')
  await withReader(flags, 'follow the log', async ({ recorder }, show) => {
    const end = await recorder.maxNotificationId()
    for (const event of await show(await lastNotifications(recorder, { count, end, topics }))) print(event)
    if (once === true) return
    await untilSignal(async (signal) => {
      for await (const { items } of recorder.subscribe({ gt: end, topics, signal }).pages({ ends: false })) {
        for (const event of await show(items)) print(event)
      }
    })
  })
}

function printer(output: Output, isJson: boolean): (event: ShownEvent) => void {
  return (event) => output.print(isJson ? JSON.stringify(event, jsonValue) : lineOf(event))
}

function progressOn(output: Output | undefined, done: string): (lines: number) => void {
  let shownAt = 0
  return (lines) => {
    if (performance.now() - shownAt < 100) return
    shownAt = performance.now()
    output?.redraw?.(`${counted(lines, 'event')} ${done}`)
  }
}

/** The kind of a topic: what stands before the name of the event. */
function kindOf(topic: string): string {
  const dot = topic.lastIndexOf('.')
  return dot > 0 ? topic.slice(0, dot) : topic
}

function sumOf<Name extends 'events' | 'streams'>(counts: ReadonlyArray<Pick<TopicCount, Name>>, name: Name): number {
  return counts.reduce((sum, each) => sum + each[name], 0)
}

/** Columns: the first one to the left, numbers to the right. */
function aligned(rows: ReadonlyArray<readonly string[]>): string[] {
  const width = (column: number): number => Math.max(...rows.map((row) => row[column]?.length ?? 0))
  return rows.map((row) =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(width(column)) : text.padStart(width(column))))
      .join('  ')
      .trimEnd(),
  )
}

function wholeNumber(text: string, flag: string): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number >= 0 && text.trim() !== '') return number
  throw new EnvironmentError(`Could not take '${text}' as ${flag}: it is a whole number.`)
}

/** Which tables. */
export interface PlaceFlags {
  readonly url?: string
  readonly app: string
  readonly postgresSchema?: string
  readonly originatorIdType?: OriginatorIdType
  readonly json?: boolean
}

/** Which tables, or the application that reads them. */
export interface ReadFlags extends PlaceFlags {
  readonly application?: string
}

/** What commands look at. */
export interface OpenLog {
  readonly datastore: PrismaDatastore
  readonly recorder: PrismaApplicationRecorder
  readonly snapshots: PrismaAggregateRecorder
}

/** An application as far as commands use it, by its shape: a project may load the package a second time. */
export interface LoadedApplication {
  readonly recorder: ApplicationRecorder
  readonly repository: { get(kind: SnapshotKind, id: string, options?: { readonly version?: number }): Promise<object> }
  eventStore(): Promise<EventStore>
}

/** Opens the tables for some work. @throws `EnvironmentError` where they cannot be read, with the name of the table */
async function withLog<T>(flags: PlaceFlags, attempted: string, work: (log: OpenLog) => Promise<T>): Promise<T> {
  const url = await storedUrlOf(await readProject({ url: flags.url, migrations: '' }), attempted)
  const datastore = new PrismaDatastore({ adapter: await adapterFromUrl(url) })
  const names = tableNames(flags.app)
  const place = {
    ...(flags.postgresSchema === undefined ? {} : { schema: flags.postgresSchema }),
    ...(flags.originatorIdType === undefined ? {} : { originatorIdType: flags.originatorIdType }),
  }
  try {
    return await work({
      datastore,
      recorder: new PrismaApplicationRecorder(datastore, { eventsTable: names.events, ...place }),
      snapshots: new PrismaAggregateRecorder(datastore, { eventsTable: names.snapshots, kind: 'snapshots', ...place }),
    })
  } catch (error) {
    if (error instanceof EnvironmentError || !isEventSourcingError(error) || error instanceof OperationalError)
      throw error
    throw new EnvironmentError(
      `${error.message.replace(/[^.]$/, '$&.')} The command looks at the table ${names.events}: name another application with --app.`,
      { cause: error },
    )
  } finally {
    await datastore.close()
  }
}

/** Reads with the application that is named, or else what the tables have. */
async function withReader(
  flags: ReadFlags,
  attempted: string,
  work: (
    log: { readonly recorder: ApplicationRecorder; readonly snapshots?: AggregateRecorder },
    show: Show,
  ) => Promise<void>,
): Promise<void> {
  if (flags.application === undefined)
    return await withLog(flags, attempted, async (log) => await work(log, showStored))
  const application = await loadedApplication(flags.application)
  await work(application, showBy(await application.eventStore()))
}

/** @throws `EnvironmentError` for what is no application */
async function loadedApplication(topic: string): Promise<LoadedApplication> {
  const loaded = await loadTopic(topic)
  if (isApplication(loaded)) return loaded
  throw new EnvironmentError(`Could not read with ${topic}: it is no application.`)
}

function isApplication(value: unknown): value is LoadedApplication {
  return typeof value === 'object' && value !== null && 'eventStore' in value && 'repository' in value
}
