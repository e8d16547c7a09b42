/** The torture run: writers that are killed, readers that follow, and the comparison of both with the database. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { TestDatabase, TestDatabaseKind } from '../support/databases.js'
import { seenTable, type TorturePlan, type WorkerPlan } from './plan.js'
import { readReport } from './report-file.js'
import { judge, type PlacedEvent, positionOf, type SeenEvent, type Verdict } from './verdict.js'

/** How hard to torture. */
export type TortureSettings = Pick<TorturePlan, 'writers' | 'events' | 'seed'> &
  Partial<Pick<TorturePlan, 'isProtected' | 'longestOpenMs' | 'kills'>>

/** What came of it. */
export interface TortureResult {
  readonly seconds: number
  /** By the count of the database. */
  readonly stored: number
  /** Acknowledged by COMMIT to a writer, and not stored. */
  readonly acknowledgedAndGone: number
  readonly killed: number
  readonly readers: readonly Verdict[]
}

const workerFile = fileURLToPath(new URL('./worker.ts', import.meta.url))

/** Runs it on a fresh database of this kind. */
export async function torture(kind: TestDatabaseKind, settings: TortureSettings): Promise<TortureResult> {
  const database = await kind.createDatabase()
  const folder = mkdtempSync(join(tmpdir(), 'es-torture-'))
  try {
    await database.query(
      `CREATE TABLE ${seenTable} (id BIGINT NOT NULL, originator_id VARCHAR(36) NOT NULL, originator_version BIGINT NOT NULL)`,
    )
    const { name, provider } = kind
    const defaults = { isProtected: true, kills: 4, longestOpenMs: provider === 'sqlite' ? 20 : 200 }
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
  #killed = 0

  constructor(plan: TorturePlan, database: TestDatabase, folder: string) {
    this.#plan = plan
    this.#database = database
    this.#folder = folder
  }

  async run(): Promise<TortureResult> {
    const { provider, writers: count } = this.#plan
    const start = performance.now()
    const roles = ['polling', 'subscribing', ...(provider === 'postgresql' ? ['listening' as const] : [])] as const
    const readers = roles.map((role) => new Worker(this.#workerPlan(role, 0)))
    const restarting = new Worker(this.#workerPlan('restarting', 0))
    const writers = Array.from({ length: count }, (_, number) => new Worker(this.#workerPlan('writer', number)))
    const all = [...readers, restarting, ...writers]
    try {
      await Promise.all(all.map((worker) => worker.ready))
      await this.#untilWritten(writers, restarting)
      await Promise.all(writers.map((writer) => writer.stop()))
      await Promise.all(this.#replacements)
      await Promise.all([...readers, restarting].map((reader) => reader.stop()))
    } finally {
      for (const worker of all) worker.kill()
    }
    return await this.#result(roles, start)
  }

  async #untilWritten(writers: readonly Worker[], restarting: Worker): Promise<void> {
    const { events, kills } = this.#plan
    for (;;) {
      for (const worker of [...writers, restarting]) worker.assertAlive()
      const stored = await this.#count()
      if (stored >= events) return
      if (this.#killed < kills && stored >= (events * (this.#killed + 1)) / (kills + 1)) {
        const writer = writers[this.#killed % writers.length]
        this.#replacements.push(Promise.all([writer?.replace(), restarting.replace()]))
        this.#killed += 1
      }
      await delay(100)
    }
  }

  #workerPlan(role: WorkerPlan['role'], number: number): WorkerPlan {
    return { ...this.#plan, role, number, incarnation: 0, report: join(this.#folder, `${role}-${number}`) }
  }

  async #count(): Promise<number> {
    return Number((await this.#database.query('SELECT count(*) AS n FROM stored_events'))[0]?.['n'])
  }

  async #rows(table: string): Promise<PlacedEvent[]> {
    // In the order in which they were inserted, as far as a table without a key of its own has one.
    const order = table === seenTable ? '' : ' ORDER BY id'
    const rows = await this.#database.query(`SELECT id, originator_id, originator_version FROM ${table}${order}`)
    return rows.map((row) => ({
      id: BigInt(String(row['id'])),
      originatorId: String(row['originator_id']),
      originatorVersion: Number(row['originator_version']),
    }))
  }

  async #result(roles: ReadonlyArray<WorkerPlan['role']>, start: number): Promise<TortureResult> {
    const stored = await this.#rows('stored_events')
    const positions = new Set(stored.map(positionOf))
    const committedAt = new Map<string, number>()
    for (const file of readdirSync(this.#folder).filter((name) => name.startsWith('writer-'))) {
      for (const [originatorId = '', version, at] of readReport(join(this.#folder, file))) {
        committedAt.set(positionOf({ originatorId, originatorVersion: Number(version) }), Number(at))
      }
    }
    const readers = roles.map((role) => judge(role, this.#seenBy(role), stored, committedAt))
    return {
      seconds: (performance.now() - start) / 1000,
      stored: stored.length,
      acknowledgedAndGone: [...committedAt.keys()].filter((position) => !positions.has(position)).length,
      killed: this.#killed,
      readers: [...readers, judge('restarting', await this.#rows(seenTable), stored, committedAt)],
    }
  }

  #seenBy(role: WorkerPlan['role']): SeenEvent[] {
    return readReport(join(this.#folder, `${role}-0`)).map(([id = '', originatorId = '', version, at]) => ({
      id: BigInt(id),
      originatorId,
      originatorVersion: Number(version),
      at: Number(at),
    }))
  }
}

/** A process of the run, and those that take its place. */
class Worker {
  #plan: WorkerPlan
  #process: ChildProcess
  #replacing: Promise<void> = Promise.resolve()
  #isEnding = false

  constructor(plan: WorkerPlan) {
    this.#plan = plan
    this.#process = start(plan)
  }

  get ready(): Promise<unknown> {
    return Promise.race([once(this.#process, 'message'), this.#failure()])
  }

  assertAlive(): void {
    const { exitCode, signalCode } = this.#process
    if (this.#isEnding || (exitCode === null && signalCode === null)) return
    throw new Error(`the ${this.#plan.role} ${this.#plan.number} has ended by itself: ${signalCode ?? exitCode}`)
  }

  /** Kills it, at whatever it is, and starts another. */
  async replace(): Promise<void> {
    this.#replacing = this.#replacing.then(async () => await this.#replace())
    await this.#replacing
  }

  async #replace(): Promise<void> {
    this.#isEnding = true
    const exited = once(this.#process, 'exit')
    this.#process.kill('SIGKILL')
    await exited
    const incarnation = this.#plan.incarnation + 1
    const report = this.#plan.report.replace(/(\.\d+)?$/, `.${incarnation}`)
    this.#plan = { ...this.#plan, incarnation, report: this.#plan.role === 'writer' ? report : this.#plan.report }
    this.#process = start(this.#plan)
    this.#isEnding = false
    await this.ready
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
  return fork(workerFile, [JSON.stringify(plan)], { execArgv: ['--import', 'tsx'] })
}
