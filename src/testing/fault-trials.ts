/** Runs a piece of work and looks at what it has changed, with a fault or without. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FaultKind } from './fault.js'
import type { FaultyAdapter } from './faulty-adapter.js'
import { changesBetween, contentsOf, type TableChange, type TableContents } from './table-contents.js'
import { type MetFault, type Told, toldBy } from './told.js'

/** What the trials are made of. */
export interface TrialOptions {
  readonly faults: FaultyAdapter
  readonly run: (n: number) => Promise<unknown>
  readonly tables: readonly string[]
  readonly snapshot?: (table: string) => Promise<readonly unknown[]>
  readonly reset?: () => Promise<void>
  readonly delayMs?: number
  readonly timeoutMs?: number
}

/** One run. */
export interface Trial {
  /** Undefined when it did not end in time. */
  readonly told: Told | undefined
  readonly statements: readonly string[]
  /** What it has changed, table by table. */
  readonly changes: readonly TableChange[]
  /** How many transactions it has left open. */
  readonly leftOpen: number
  /** Whether the fault has happened. */
  readonly isStruck: boolean
}

/** How long transactions may go on after the end of their run. */
const settleMs = 2_000

/** Runs one after the other. */
export class FaultTrials {
  readonly timeoutMs: number
  readonly #options: TrialOptions
  #contents: TableContents | undefined
  #runs = 0

  constructor(options: TrialOptions) {
    this.#options = options
    this.timeoutMs = options.timeoutMs ?? 10_000
  }

  /** One run that only connects, and sends what is sent once. */
  async warmUp(): Promise<Trial> {
    this.#options.faults.record()
    const told = await this.#run(undefined)
    return await this.#ended(told, () => Promise.resolve([]))
  }

  /** A run that nothing happens to. */
  async withoutFault(): Promise<Trial> {
    return await this.#between(async () => {
      this.#options.faults.record()
      return await this.#run(undefined)
    })
  }

  /** A run with a fault at one statement. */
  async withFault(kind: FaultKind, statementNumber: number): Promise<Trial> {
    const { faults, delayMs } = this.#options
    return await this.#between(async () => {
      faults.failAt(statementNumber, kind, delayMs === undefined ? {} : { delayMs })
      return await this.#run(kind)
    })
  }

  async #between(run: () => Promise<Told | undefined>): Promise<Trial> {
    await this.#options.reset?.()
    // What comes late from the run before is found in this one's changes.
    const before = this.#options.reset === undefined ? (this.#contents ?? (await this.#read())) : await this.#read()
    const told = await run()
    return await this.#ended(told, async () => changesBetween(before, (this.#contents = await this.#read())))
  }

  async #ended(told: Told | undefined, changes: () => Promise<readonly TableChange[]>): Promise<Trial> {
    const { faults } = this.#options
    const isSettled = told !== undefined && (await faults.settled(settleMs))
    const { statements, struck } = faults
    faults.stop()
    return {
      told,
      statements,
      changes: isSettled ? await changes() : [],
      leftOpen: isSettled ? 0 : faults.openTransactions,
      isStruck: struck !== undefined,
    }
  }

  async #run(kind: FaultKind | undefined): Promise<Told | undefined> {
    const { faults, run } = this.#options
    this.#runs += 1
    const n = this.#runs
    const fault = (): MetFault | undefined => (kind === undefined ? undefined : { kind, struck: faults.struck })
    const work = async (): Promise<Told> => {
      try {
        return toldBy({ result: await run(n) }, fault())
      } catch (error) {
        return toldBy({ error }, fault())
      }
    }
    const limit = new AbortController()
    try {
      return await Promise.race([work(), delay(this.timeoutMs, undefined, { signal: limit.signal })])
    } finally {
      limit.abort()
    }
  }

  async #read(): Promise<TableContents> {
    const { faults, tables, snapshot = (table: string) => faults.rows(table) } = this.#options
    const rows = new Map<string, readonly unknown[]>()
    for (const table of tables) rows.set(table, await snapshot(table))
    return contentsOf(rows)
  }
}
