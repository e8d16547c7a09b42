/** The real side of the properties: one database for all runs, and what the lanes of a run share. */
import { setImmediate as nextTick } from 'node:timers/promises'
import { expect } from 'vitest'
import { NAMESPACE_URL, OperationalError, PrismaProcessRecorder, RollbackOnlyError, uuid5 } from '../../src/index.js'
import { EventStore } from '../../src/persistence/event-store.js'
import { Mapper } from '../../src/persistence/mapper.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import type { TestDatabaseKind } from '../support/databases.js'
import type { ModelEvent } from './model.js'

/** The tables of events; two, since those of a flush are stored together or not at all. */
export const tables = ['stored_events', 'trainingschool_events'] as const

/** The name of one. */
export type TableName = (typeof tables)[number]

/** An event as it is in the table. */
export interface LogRow {
  readonly id: bigint
  readonly stream: string
  readonly version: number
  readonly label: string
}

/** A database that all runs use, each with streams, rows and positions of its own. */
export class World {
  readonly kind: TestDatabaseKind
  readonly open: OpenDatabase
  readonly recorders: Readonly<Record<TableName, PrismaProcessRecorder<TestClient>>>
  readonly stores: Readonly<Record<TableName, EventStore>>
  #runs = 0
  #lastRun: Promise<void> = Promise.resolve()

  private constructor(kind: TestDatabaseKind, open: OpenDatabase) {
    this.kind = kind
    this.open = open
    const mapper = new Mapper({ transcoder: new JSONTranscoder() })
    this.recorders = byTable((eventsTable) => new PrismaProcessRecorder(open.datastore, { eventsTable }))
    this.stores = byTable((table) => new EventStore(mapper, this.recorders[table]))
  }

  static async on(kind: TestDatabaseKind): Promise<World> {
    return new World(kind, await openDatabase(kind, { deadlineMs: 20_000 }))
  }

  /** Whether a failed statement leaves a transaction that cannot commit. */
  get failuresDoom(): boolean {
    return this.kind.provider === 'postgresql'
  }

  /** Everything in a log after an id, as a connection without the library sees it. */
  async logAfter(id: bigint, table: TableName): Promise<LogRow[]> {
    const rows = await this.open.database.query(
      `SELECT id, originator_id, originator_version, topic FROM ${table} WHERE id > ${id} ORDER BY id`,
    )
    return rows.map((row) => ({
      id: BigInt(String(row['id'])),
      stream: String(row['originator_id']),
      version: Number(row['originator_version']),
      label: String(row['topic']),
    }))
  }

  /** What the lanes of one run have in common. @param waitTurn - lets chance decide which lane goes on */
  async newRun(laneCount: number, waitTurn: (step: string) => Promise<void>): Promise<Run> {
    this.#runs += 1
    const lastOf = async (table: TableName): Promise<bigint> => {
      const [row] = await this.open.database.query(`SELECT max(id) AS id FROM ${table}`)
      return BigInt(Number(row?.['id'] ?? 0))
    }
    const starts = {
      stored_events: await lastOf('stored_events'),
      trainingschool_events: await lastOf('trainingschool_events'),
    }
    return new Run(this, { name: `r${this.#runs}`, laneCount, starts, waitTurn })
  }

  /** Passes on how a run ends, and lets `close` wait for that: fast-check leaves the last one when its time is over. */
  async during(run: Promise<void>): Promise<void> {
    this.#lastRun = run.catch(() => {})
    await run
  }

  async close(): Promise<void> {
    await this.#lastRun
    await this.open.close()
  }
}

function byTable<T>(make: (table: TableName) => T): Record<TableName, T> {
  return { stored_events: make('stored_events'), trainingschool_events: make('trainingschool_events') }
}

interface RunOptions {
  readonly name: string
  readonly laneCount: number
  readonly starts: Readonly<Record<TableName, bigint>>
  readonly waitTurn: (step: string) => Promise<void>
}

/** One run of the property. */
export class Run {
  readonly world: World
  readonly name: string
  readonly laneCount: number
  /** The ends of the logs before. */
  readonly starts: Readonly<Record<TableName, bigint>>
  readonly waitTurn: (step: string) => Promise<void>
  /** The notification ids that the library has told, by label. */
  readonly ids: Map<string, bigint> = new Map()
  /** The labels of other lanes' events that a lane has seen. */
  readonly seenOfOthers: Set<string> = new Set()
  /** What reads of the log have given, from its start in this run. */
  readonly logReads: Array<{ readonly table: TableName; readonly labels: readonly string[] }> = []

  constructor(world: World, { name, laneCount, starts, waitTurn }: RunOptions) {
    this.world = world
    this.name = name
    this.laneCount = laneCount
    this.starts = starts
    this.waitTurn = waitTurn
  }

  /** The stream that lanes side by side write to. */
  get sharedStream(): string {
    return uuid5(NAMESPACE_URL, `/${this.open.database.url}/${this.name}/shared`)
  }

  get open(): OpenDatabase {
    return this.world.open
  }

  /** Whether the database may have ended a transaction for the sake of another one. */
  isVictim(error: unknown): boolean {
    if (this.laneCount === 1 || this.world.kind.provider !== 'mysql') return false
    if (error instanceof OperationalError) return error.retryable
    if (error instanceof RollbackOnlyError) return error.cause !== undefined
    return error instanceof Error && 'code' in error && error.code === 'P2034'
  }

  /** Follows a log beside the lanes, and gives the labels in the order in which they came. */
  async follow(table: TableName, isOver: () => boolean): Promise<string[]> {
    const labels: string[] = []
    let last = this.starts[table]
    for (;;) {
      const isLast = isOver()
      const part = await this.world.recorders[table].selectNotifications(last, 100, { inclusiveOfStart: false })
      labels.push(...part.map(({ topic }) => topic))
      last = part.at(-1)?.id ?? last
      if (isLast && part.length === 0) return labels
      await nextTick()
    }
  }

  /**
   * What is stored at the end is what the lanes have committed, in an order that the log allows.
   *
   * @param lanes - what each has committed
   * @param followed - what a follower of the log got
   */
  async check(
    table: TableName,
    lanes: ReadonlyArray<readonly ModelEvent[]>,
    followed: readonly string[],
  ): Promise<void> {
    const log = await this.world.logAfter(this.starts[table], table)
    const labels = log.map(({ label }) => label)
    const committed = lanes.map((events) => events.filter((event) => event.table === table).map(({ label }) => label))
    expect(labels.toSorted(), 'the events that are stored').toEqual(committed.flat().toSorted())
    for (const own of committed) {
      expect(
        labels.filter((label) => own.includes(label)),
        "the order of a lane's events",
      ).toEqual(own)
    }
    expect(
      log.map(({ label }) => this.ids.get(label)),
      'the ids that were told',
    ).toEqual(log.map(({ id }) => id))
    expect(followed, 'what a follower of the log got').toEqual(labels)
    this.#checkStreams(log)
    this.#checkTransactions(log, this.starts[table])
    for (const read of this.logReads) if (read.table === table) this.#checkRead(read.labels, labels)
  }

  /** Nobody has seen what was not committed. */
  checkSeen(lanes: ReadonlyArray<readonly ModelEvent[]>): void {
    const committed = new Set(lanes.flatMap((events) => events.map(({ label }) => label)))
    const uncommitted = [...this.seenOfOthers].filter((label) => !committed.has(label))
    expect(uncommitted, 'events of others that were seen and not committed').toEqual([])
  }

  #checkStreams(log: readonly LogRow[]): void {
    const last = new Map<string, number>()
    for (const { stream, version } of log) {
      expect(version, `the next version of stream ${stream}`).toBe((last.get(stream) ?? 0) + 1)
      last.set(stream, version)
    }
  }

  /** Where ids are given in the order of the commits, no transaction's events stand between those of another. */
  #checkTransactions(log: readonly LogRow[], start: bigint): void {
    const { provider } = this.world.kind
    if (provider === 'postgresql') return
    const transactions = log.map(({ label }) => label.slice(0, label.lastIndexOf('.')))
    const changes = transactions.filter((transaction, at) => transaction !== transactions[at - 1])
    expect(changes, 'each transaction in one piece').toEqual([...new Set(changes)])
    if (provider === 'mysql') {
      expect(
        log.map(({ id }) => id),
        'ids without gaps',
      ).toEqual(log.map((_, at) => start + BigInt(at) + 1n))
    }
  }

  /** Up to the last event that was read and stayed, no other may have been missing. */
  #checkRead(read: readonly string[], labels: readonly string[]): void {
    const last = labels.findLastIndex((label) => read.includes(label))
    const missing = labels.slice(0, last + 1).filter((label) => !read.includes(label))
    expect(missing, 'events below the last one that a read of the log gave').toEqual([])
  }
}
