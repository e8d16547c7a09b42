/** The torture run: writers that are killed, readers that follow, and the comparison of both with the database. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { bundled } from '../support/bundled.js'
import type { TestDatabase, TestDatabaseKind } from '../support/databases.js'
import { readerRoles, seenTable, type TorturePlan, type WorkerPlan } from './plan.js'
import { readReport } from './report-file.js'
import { holesOf, judge, type PlacedEvent, positionOf, type SeenEvent, type Verdict } from './verdict.js'

/** How hard to torture. */
export type TortureSettings = Pick<TorturePlan, 'writers' | 'events' | 'seed'> &
  Partial<Pick<TorturePlan, 'isProtected' | 'longestOpenMs' | 'kills' | 'readers' | 'pythonWriters' | 'order'>>

/** What came of it. */
export interface TortureResult {
  readonly seconds: number
  /** By the count of the database. */
  readonly stored: number
  /** Acknowledged by COMMIT to a writer, and not stored. */
  readonly acknowledgedAndGone: number
  /** Versions that are missing in the streams, as they are stored. */
  readonly holes: number
  readonly writersKilled: number
  readonly readersKilled: number
  readonly readers: readonly Verdict[]
}

/** How far behind the log the reader that restarts may be when it is killed. */
const nearEvents = 2_000

const program = new URL('./worker.ts', import.meta.url)

/** Runs it on a fresh database of this kind. */
export async function torture(kind: TestDatabaseKind, settings: TortureSettings): Promise<TortureResult> {
  const database = await kind.createDatabase()
  const folder = mkdtempSync(join(tmpdir(), 'es-torture-'))
  try {
    await database.query(
      `CREATE TABLE ${seenTable} (batch BIGINT NOT NULL, place BIGINT NOT NULL, id BIGINT NOT NULL, ` +
        'originator_id VARCHAR(36) NOT NULL, originator_version BIGINT NOT NULL, seen_at DOUBLE PRECISION NOT NULL)',
    )
    const { name, provider } = kind
    const { pythonWriters = 0 } = settings
    const readers = readerRoles.filter(
      (role) => (role !== 'listening' || provider === 'postgresql') && (role !== 'plain' || pythonWriters > 0),
    )
    const order = pythonWriters > 0 ? 'table-lock' : 'floor-lock'
    const longestOpenMs = provider === 'sqlite' ? 20 : 200
    const defaults = { isProtected: true, kills: 4, longestOpenMs, readers, pythonWriters, order } as const
    const plan: TorturePlan = { ...defaults, ...settings, database: name, provider, url: database.url }
    return await new Torture(plan, database, folder).run()
  } finally {
    await database.drop()
    rmSync(folder, { recursive: true })
  }
}

class Torture {
  readonly #plan: TorturePlan
  readonly #database: TestDatabase
  readonly #folder: string
  readonly #replacements: Array<Promise<unknown>> = []
  #writersKilled = 0
  #readersKilled = 0

  constructor(plan: TorturePlan, database: TestDatabase, folder: string) {
    this.#plan = plan
    this.#database = database
    this.#folder = folder
  }

  async run(): Promise<TortureResult> {
    const { readers: roles, writers: count, pythonWriters } = this.#plan
    const start = performance.now()
    const readers = roles.map((role) => new Worker(this.#workerPlan(role, 0)))
    const writersOf = (role: 'writer' | 'python', length: number): Worker[] =>
      Array.from({ length }, (_, number) => new Worker(this.#workerPlan(role, number)))
    const writers = [...writersOf('writer', count), ...writersOf('python', pythonWriters)]
    const all = [...readers, ...writers]
    try {
      await Promise.all(all.map((worker) => worker.started()))
      await this.#untilWritten(writers, readers)
      await Promise.all(writers.map((writer) => writer.stop()))
      await Promise.all(this.#replacements)
      await Promise.all(readers.map((reader) => reader.stop()))
    } finally {
      for (const worker of all) worker.kill()
    }
    return await this.#result(start)
  }

  async #untilWritten(writers: readonly Worker[], readers: readonly Worker[]): Promise<void> {
    const { events, kills, readers: roles } = this.#plan
    const restarting = readers[roles.indexOf('restarting')]
    const step = events / (kills + 1)
    for (;;) {
      for (const worker of [...writers, ...readers]) worker.assertAlive()
      const stored = await this.#count('stored_events')
      if (stored >= events && this.#writersKilled >= kills) return
      if (this.#writersKilled < kills && stored >= step * (this.#writersKilled + 1)) {
        const writer = writers[this.#writersKilled % writers.length]
        this.#writersKilled += 1
        if (writer !== undefined) this.#replacements.push(writer.replace())
      }
      if (this.#readersKilled < this.#writersKilled && restarting !== undefined)
        await this.#killNear(restarting, stored)
      await delay(100)
    }
  }

  /** Once for each writer, or later: when it is at work at the end of the log, where events can be lost. */
  async #killNear(restarting: Worker, stored: number): Promise<void> {
    if (!restarting.isRunning || (await this.#count(seenTable)) < stored - nearEvents) return
    this.#readersKilled += 1
    this.#replacements.push(restarting.replace())
  }

  #workerPlan(role: WorkerPlan['role'], number: number): WorkerPlan {
    return { ...this.#plan, role, number, incarnation: 0, report: join(this.#folder, `${role}-${number}`) }
  }

  async #count(table: string): Promise<number> {
    return Number((await this.#database.query(`SELECT count(*) AS n FROM ${table}`))[0]?.['n'])
  }

  async #stored(): Promise<PlacedEvent[]> {
    const rows = await this.#database.query('SELECT id, originator_id, originator_version FROM stored_events')
    return rows.map(placed)
  }

  async #processed(): Promise<SeenEvent[]> {
    const rows = await this.#database.query(`SELECT * FROM ${seenTable} ORDER BY batch, place`)
    return rows.map((row) => ({ ...placed(row), at: Number(row['seen_at']) }))
  }

  async #result(start: number): Promise<TortureResult> {
    const seconds = (performance.now() - start) / 1000
    const stored = await this.#stored()
    const positions = new Set(stored.map(positionOf))
    const committedAt = new Map<string, number>()
    for (const file of readdirSync(this.#folder).filter((name) => /^(writer|python)-/.test(name))) {
      for (const [originatorId = '', version, at] of readReport(join(this.#folder, file))) {
        committedAt.set(positionOf({ originatorId, originatorVersion: Number(version) }), Number(at))
      }
    }
    const readers: Verdict[] = []
    for (const role of this.#plan.readers) {
      const seen = role === 'restarting' ? await this.#processed() : this.#reported(role)
      readers.push(judge(role, seen, stored, committedAt))
    }
    return {
      seconds,
      stored: stored.length,
      acknowledgedAndGone: [...committedAt.keys()].filter((position) => !positions.has(position)).length,
      holes: holesOf(stored),
      writersKilled: this.#writersKilled,
      readersKilled: this.#readersKilled,
      readers,
    }
  }

  #reported(role: WorkerPlan['role']): SeenEvent[] {
    return readReport(join(this.#folder, `${role}-0`)).map(([id = '', originatorId = '', version, at]) => ({
      id: BigInt(id),
      originatorId,
      originatorVersion: Number(version),
      at: Number(at),
    }))
  }
}

function placed(row: Record<string, unknown>): PlacedEvent {
  return {
    id: BigInt(String(row['id'])),
    originatorId: String(row['originator_id']),
    originatorVersion: Number(row['originator_version']),
  }
}

/** A process of the run, and those that take its place. */
class Worker {
  #plan: WorkerPlan
  #process: ChildProcess
  #replacing: Promise<void> = Promise.resolve()
  #isEnding = false
  #isRunning = false

  constructor(plan: WorkerPlan) {
    this.#plan = plan
    this.#process = start(plan)
  }

  /** Waits until it is at work. */
  async started(): Promise<void> {
    await Promise.race([once(this.#process, 'message'), this.#failure()])
    this.#isRunning = true
  }

  get isRunning(): boolean {
    return this.#isRunning
  }

  assertAlive(): void {
    const { exitCode, signalCode } = this.#process
    if (this.#isEnding || (exitCode === null && signalCode === null)) return
    throw new Error(`the ${this.#plan.role} ${this.#plan.number} has ended by itself: ${signalCode ?? exitCode}`)
  }

  /** Kills it, at whatever it is, and starts another. */
  async replace(): Promise<void> {
    this.#isRunning = false
    this.#replacing = this.#replacing.then(async () => await this.#replace())
    await this.#replacing
  }

  async #replace(): Promise<void> {
    this.#isEnding = true
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
    const incarnation = this.#plan.incarnation + 1
    const isWriter = this.#plan.role === 'writer' || this.#plan.role === 'python'
    const report = this.#plan.report.replace(/(\.\d+)?$/, `.${incarnation}`)
    this.#plan = { ...this.#plan, incarnation, report: isWriter ? report : this.#plan.report }
    this.#process = start(this.#plan)
    this.#isEnding = false
    await this.started()
  }

  /** Lets it finish; one that is being replaced does so first. */
  async stop(): Promise<void> {
    await this.#replacing
    this.assertAlive()
    this.#isEnding = true
    const exited = once(this.#process, 'exit')
    this.#process.send('stop')
    const [code] = await exited
    if (code !== 0) throw new Error(`the ${this.#plan.role} ${this.#plan.number} has failed: ${String(code)}`)
  }

  kill(): void {
    this.#isEnding = true
    this.#process.kill('SIGKILL')
  }

  async #failure(): Promise<never> {
    const [code] = await once(this.#process, 'exit')
    throw new Error(`the ${this.#plan.role} ${this.#plan.number} has not started: ${String(code)}`)
  }
}

function start(plan: WorkerPlan): ChildProcess {
  return fork(bundled(program), [JSON.stringify(plan)], { execArgv: [] })
}
