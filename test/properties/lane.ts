/** Runs transactions one after the other, on the database and in the model, and compares how they and their parts end. */
import { expect } from 'vitest'
import type { ModelDatabase, ModelEvent, ModelScope } from './model.js'
import { Operations, PartOver } from './operations.js'
import { expectSameEnd, settled, settledInModel } from './outcomes.js'
import type { Part, Step } from './steps.js'
import type { Run } from './world.js'

/** What a part throws that wants to be undone. */
class Undo extends Error {}

/** Transactions of which each begins after the one before has ended. */
export class Lane {
  readonly #run: Run
  readonly #name: string
  readonly #database: ModelDatabase
  readonly #operations: Operations
  /** The errors that the model expects: all others end the run. */
  readonly #expected = new WeakSet<object>()
  readonly #hooksDue: string[] = []

  constructor(run: Run, name: string, database: ModelDatabase) {
    this.#run = run
    this.#name = name
    this.#database = database
    this.#operations = new Operations(run, name, database)
  }

  /** The events that it has committed. */
  get committed(): readonly ModelEvent[] {
    return this.#database.stored.log
  }

  async transactions(parts: readonly Part[]): Promise<void> {
    for (const [at, part] of parts.entries()) {
      this.#operations.prefix = `${this.#name}.${at + 1}`
      try {
        await this.#part(part, undefined)
      } catch (error) {
        if (this.#run.isVictim(error)) this.#operations.recordings.believe()
        else if (!this.#isExpected(error)) throw error
      }
      await this.#checkStored()
    }
    expect(this.#operations.hooksRun.toSorted(), 'all hooks that ran').toEqual(this.#hooksDue.toSorted())
  }

  /** A transaction, or a nested part of one. */
  async #part(part: Part, parent: ModelScope | undefined): Promise<void> {
    let scope = parent
    let thrown: { readonly error: unknown } | undefined
    const work = async (): Promise<void> => {
      scope = parent?.nested() ?? this.#database.begin(this.#run.open.datastore.autoflush)
      if (part.autoflush !== undefined) {
        scope.autoflush = part.autoflush
        this.#run.open.datastore.currentTransaction.autoflush = part.autoflush
      }
      try {
        await this.#untilOver(part.steps, scope)
        if (part.throws) throw this.#undo()
      } catch (error) {
        thrown = { error }
        throw error
      }
    }
    const end = await settled(() => this.#begin(part, parent, work))
    if (scope === undefined || scope === parent) throw new Error('The work of a part was not begun.', { cause: end })
    this.#compareEnds(scope, end, thrown)
    if (end.status === 'fulfilled' || (this.#isExpected(end.reason) && part.caught)) return
    throw end.reason
  }

  async #begin(part: Part, parent: ModelScope | undefined, work: () => Promise<void>): Promise<void> {
    const { datastore, db } = this.#run.open
    if (parent === undefined) return await datastore.transaction(work)
    if (part.by === 'client') return await db.$transaction(work)
    return await datastore.transaction(work, { propagation: 'nested' })
  }

  #compareEnds(
    scope: ModelScope,
    end: PromiseSettledResult<void>,
    thrown: { readonly error: unknown } | undefined,
  ): void {
    const isVictim = end.status === 'rejected' && this.#run.isVictim(end.reason)
    if (thrown !== undefined) expect(end).toEqual({ status: 'rejected', reason: thrown.error })
    if (thrown !== undefined || isVictim) scope.rollback()
    else {
      this.#operations.recordings.note()
      expectSameEnd(
        'commit',
        end,
        settledInModel(() => scope.commit()),
      )
      if (end.status === 'rejected') this.#expect(end.reason)
    }
    if (!isVictim) this.#operations.recordings.check()
    this.#hooksDue.push(...scope.due)
    const run = this.#operations.hooksRun.filter((label) => scope.due.includes(label))
    expect(run, 'the hooks that ran at the end, in their order').toEqual(scope.due)
  }

  async #untilOver(steps: readonly Step[], scope: ModelScope): Promise<void> {
    try {
      await this.#steps(steps, scope)
    } catch (error) {
      if (!(error instanceof PartOver)) throw error
    }
  }

  async #steps(steps: readonly Step[], scope: ModelScope): Promise<void> {
    for (const step of steps) {
      await this.#run.waitTurn(`${this.#name}: ${step.do}`)
      await this.#step(step, scope)
    }
  }

  async #step(step: Step, scope: ModelScope): Promise<void> {
    if (step.do === 'nested') await this.#part(step.part, scope)
    else if (step.do === 'sideBySide') await this.#sideBySide(step.parts, scope)
    else if (step.do === 'joined') await this.#joined(step, scope)
    else if (step.do === 'withoutAutoflush') await this.#withoutAutoflush(step.steps, scope)
    else await this.#operations.perform(step, scope)
  }

  /** Started together, they run one after the other, in the order of their start. */
  async #sideBySide(parts: readonly Part[], scope: ModelScope): Promise<void> {
    const ends = await Promise.allSettled(parts.map(async (part) => await this.#part(part, scope)))
    const errors = ends.flatMap((end) => (end.status === 'rejected' ? [{ error: end.reason as unknown }] : []))
    const first = errors.find(({ error }) => !this.#isExpected(error)) ?? errors[0]
    if (first !== undefined) throw first.error
  }

  async #joined(step: Extract<Step, { do: 'joined' }>, scope: ModelScope): Promise<void> {
    const { datastore } = this.#run.open
    const around = datastore.currentTransaction
    const end = await settled(() =>
      datastore.transaction(async (tx) => {
        expect(tx, 'the transaction that was joined').toBe(around)
        await this.#steps(step.steps, scope)
        if (step.throws) throw this.#undo()
      }),
    )
    if (end.status === 'rejected' && !(this.#isExpected(end.reason) && step.caught)) throw end.reason
  }

  async #withoutAutoflush(steps: readonly Step[], scope: ModelScope): Promise<void> {
    const before = scope.autoflush
    scope.autoflush = false
    try {
      await this.#run.open.datastore.currentTransaction.noAutoflush(() => this.#steps(steps, scope))
    } finally {
      scope.autoflush = before
    }
  }

  /** What another connection sees of the user's rows and of the position, after the end of a transaction. */
  async #checkStored(): Promise<void> {
    const { database } = this.#run.open
    const { upstream } = this.#operations
    const owners = await database.query(`SELECT dog FROM owners WHERE name = '${upstream}' ORDER BY id`)
    const { rows, position } = this.#database.stored
    expect(
      owners.map((row) => row['dog']),
      'the rows that are stored',
    ).toEqual(rows)
    const [tracking] = await database.query(
      `SELECT notification_id AS id FROM notification_tracking WHERE application_name = '${upstream}'`,
    )
    expect(BigInt(Number(tracking?.['id'] ?? 0)), 'the position that is stored').toBe(position)
  }

  #undo(): Undo {
    const undo = new Undo('undo')
    this.#expect(undo)
    return undo
  }

  #expect(error: unknown): void {
    if (typeof error === 'object' && error !== null) this.#expected.add(error)
  }

  #isExpected(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#expected.has(error)
  }
}
