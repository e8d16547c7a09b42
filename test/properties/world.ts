/** The real side of the properties: one database for all runs, and what the lanes of a run share. */
import { setImmediate as nextTick } from 'node:timers/promises'
import { expect } from 'vitest'
import { NAMESPACE_URL, OperationalError, PrismaProcessRecorder, uuid5 } from '../../src/index.js'
import { EventStore } from '../../src/persistence/event-store.js'
import { Mapper } from '../../src/persistence/mapper.js'
import { JSONTranscoder } from '../../src/persistence/transcoder.js'
import { type OpenDatabase, openDatabase, type TestClient } from '../prisma/open-database.js'
import type { TestDatabaseKind } from '../support/databases.js'

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
  readonly recorder: PrismaProcessRecorder<TestClient>
  readonly store: EventStore
  #runs = 0

  private constructor(kind: TestDatabaseKind, open: OpenDatabase) {
    this.kind = kind
    this.open = open
    this.recorder = new PrismaProcessRecorder(open.datastore)
    this.store = new EventStore(new Mapper({ transcoder: new JSONTranscoder() }), this.recorder)
  }

  static async on(kind: TestDatabaseKind): Promise<World> {
    return new World(kind, await openDatabase(kind, { deadlineMs: 20_000 }))
  }

  /** Whether a failed statement leaves a transaction that cannot commit. */
  get failuresDoom(): boolean {
    return this.kind.provider === 'postgresql'
  }

  /** Everything in the log after an id, as a connection without the library sees it. */
  async logAfter(id: bigint): Promise<LogRow[]> {
    const rows = await this.open.database.query(
      `SELECT id, originator_id, originator_version, topic FROM stored_events WHERE id > ${id} ORDER BY id`,
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
    const last = (await this.logAfter(0n)).at(-1)?.id ?? 0n
    return new Run(this, { name: `r${this.#runs}`, laneCount, start: last, waitTurn })
  }

  async close(): Promise<void> {
    await this.open.close()
  }
}

interface RunOptions {
  readonly name: string
  readonly laneCount: number
  readonly start: bigint
  readonly waitTurn: (step: string) => Promise<void>
}

/** One run of the property. */
export class Run {
  readonly world: World
  readonly name: string
  readonly laneCount: number
  /** The end of the log before. */
  readonly start: bigint
  readonly waitTurn: (step: string) => Promise<void>
  /** The notification ids that the library has told, by label. */
  readonly ids: Map<string, bigint> = new Map()
  /** The labels of other lanes' events that a lane has seen. */
  readonly seenOfOthers: Set<string> = new Set()
  /** What reads of the log have given, from its start in this run. */
  readonly logReads: Array<readonly string[]> = []

  constructor(world: World, { name, laneCount, start, waitTurn }: RunOptions) {
    this.world = world
    this.name = name
    this.laneCount = laneCount
    this.start = start
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
    return error instanceof Error && 'code' in error && error.code === 'P2034'
  }

  /** Follows the log beside the lanes, and gives the labels in the order in which they came. */
  async follow(isOver: () => boolean): Promise<string[]> {
    const labels: string[] = []
    let last = this.start
    for (;;) {
      const isLast = isOver()
      const part = await this.world.recorder.selectNotifications(last, 100, { inclusiveOfStart: false })
      labels.push(...part.map(({ topic }) => topic))
      last = part.at(-1)?.id ?? last
      if (isLast && part.length === 0) return labels
      await nextTick()
    }
  }

  /** What is stored at the end is what the lanes have committed, in an order that the log allows. */
  async check(committed: ReadonlyArray<readonly string[]>, followed: readonly string[]): Promise<void> {
    const log = await this.world.logAfter(this.start)
    const labels = log.map(({ label }) => label)
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
    expect(
      [...this.seenOfOthers].filter((label) => !labels.includes(label)),
      'events of others that were seen and not committed',
    ).toEqual([])
    this.#checkStreams(log)
    this.#checkTransactions(log)
    for (const read of this.logReads) this.#checkRead(read, labels)
  }

  #checkStreams(log: readonly LogRow[]): void {
    const last = new Map<string, number>()
    for (const { stream, version } of log) {
      expect(version, `the next version of stream ${stream}`).toBe((last.get(stream) ?? 0) + 1)
      last.set(stream, version)
    }
  }

  /** Where ids are given in the order of the commits, no transaction's events stand between those of another. */
  #checkTransactions(log: readonly LogRow[]): void {
    const { provider } = this.world.kind
    if (provider === 'postgresql') return
    const transactions = log.map(({ label }) => label.slice(0, label.lastIndexOf('.')))
    const changes = transactions.filter((transaction, at) => transaction !== transactions[at - 1])
    expect(changes, 'each transaction in one piece').toEqual([...new Set(changes)])
    if (provider === 'mysql') {
      expect(
        log.map(({ id }) => id),
        'ids without gaps',
      ).toEqual(log.map((_, at) => this.start + BigInt(at) + 1n))
    }
  }

  /** Up to the last event that was read and stayed, no other may have been missing. */
  #checkRead(read: readonly string[], labels: readonly string[]): void {
    const last = labels.findLastIndex((label) => read.includes(label))
    const missing = labels.slice(0, last + 1).filter((label) => !read.includes(label))
    expect(missing, 'events below the last one that a read of the log gave').toEqual([])
  }
}
