/** A unit of work: the whole of a transaction, or a nested part of one that can fail alone. */
import { CommitUnknownError } from '../errors.js'
import { Calls, type Operation, Operations, reportUnfinished, runningWork, untilQuiet } from './calls.js'
import type { ConnectionSource, LoneStatements, Statements, TransactionConnection } from './connection.js'
import { Buffers, Failure, Hooks, type PendingWork, type Run, Savepoints } from './endings.js'
import { ScopeLock } from './locks.js'
import { closedError, type TransactionState } from './options.js'
import { type Reading, Session, type SessionOptions, type Work } from './session.js'
import type { Ending } from './telemetry.js'

/** What an outermost scope is made from. */
export interface ScopeOptions extends SessionOptions {
  readonly autoflush: boolean
}

/** Where a nested scope is. */
interface Place<Connection extends TransactionConnection> {
  readonly parent: Scope<Connection>
  /** Of its savepoint. */
  readonly name: string
  /** Called once, at the end. */
  readonly leaveParent: () => void
}

/** Takes statements one at a time, keeps what is to be flushed, and ends exactly once. */
export abstract class Scope<Connection extends TransactionConnection> {
  readonly session: Session<Connection>
  readonly parent: Scope<Connection> | undefined
  readonly hooks: Hooks = new Hooks()
  /** Called back once the deadline has passed and the rollback is done. */
  readonly onExpired: Array<(error: Error) => void> = []
  /** Called back once the scope has ended, however it did. */
  readonly onEnded: Array<() => void> = []
  /** What it can only roll back for. */
  readonly failure: Failure = new Failure()
  /** The operations of guests in it. */
  readonly operations: Operations = new Operations()
  /** The calls of applications and recorders in it. */
  readonly calls: Calls = new Calls()
  /** What is saved in it and not written yet. */
  readonly buffers: Buffers<Connection> = new Buffers()
  autoflush: boolean
  /** The `$transaction` of a client that it belongs to, as that says; a part belongs to that of the whole unless it has its own. */
  owner: object | undefined
  /** As user code sees it, once that has asked: a `WeakMap` would keep every scope until the next full garbage collection. */
  view: object | undefined
  /** Whether its end has come: `ended` is so from when a rollback begins, and nothing can be done in it. Written by this class only. */
  isDone = false
  readonly #source: ConnectionSource<Connection>
  readonly #name: string
  readonly #lock = new ScopeLock()
  #savepoints: Savepoints<Connection> | undefined
  #state: TransactionState = 'idle'
  #committing: Promise<void> | undefined
  #rollingBack: Promise<void> | undefined
  #nestedCount = 0
  #part: Scope<Connection> | undefined

  /** @param given - of a whole, or where a part is. Nothing is sent to the database yet */
  constructor(source: ConnectionSource<Connection>, given: ScopeOptions | Place<Connection>) {
    this.#source = source
    const parent = 'parent' in given ? given.parent : undefined
    this.parent = parent
    this.owner = parent?.owner
    this.autoflush = 'parent' in given ? given.parent.autoflush : given.autoflush
    this.#name = 'parent' in given ? given.name : 'es'
    this.session = 'parent' in given ? given.parent.session : new Session(source, given, () => void this.#expire())
  }

  /** Ends it well in the database: undefined where nothing is open there. Called at most once, as `undo` is. */
  protected abstract end(): Promise<void> | undefined

  /** @param reason - why, for those who trace it */
  protected abstract undo(reason: unknown): Promise<void>

  /** It has ended: what is around it goes on. */
  protected abstract left(ending: Ending): void

  /** It has ended well, and so have its listeners. @returns undefined where nobody is to be waited for */
  protected abstract stored(): Promise<void> | undefined

  /** A part of this scope that can be undone alone. Waits while another one is open here; meanwhile this scope's own statements wait. */
  async nested(): Promise<Scope<Connection>> {
    const inside = this.operations.around
    if (!this.#tryEnter(true, inside)) await this.#wait(true, inside)
    this.#nestedCount += 1
    this.#part = new Part(this.#source, {
      parent: this,
      name: `${this.#name}_${this.#nestedCount}`,
      leaveParent: () => {
        this.#part = undefined
        this.#lock.leave(true)
      },
    })
    return this.#part
  }

  /** The nested scope that is open in this one, or in that, and so on; this one when there is none. No other has statements to send. */
  get innermost(): Scope<Connection> {
    return this.#part?.innermost ?? this
  }

  /** Those of guests in it. */
  get savepoints(): Savepoints<Connection> {
    return (this.#savepoints ??= new Savepoints((work) => this.execute(work), this.failure))
  }

  /** Which one this is, for messages. */
  get title(): string {
    return this.session.life.title
  }

  get state(): TransactionState {
    return this.#state
  }

  get ended(): boolean {
    return this.#state === 'committed' || this.#state === 'rolledBack'
  }

  /** Whether nothing can be done in it any more: it has ended, or what is around it has. */
  get isOver(): boolean {
    return this.#state === 'committed' || this.#state === 'rolledBack' || (this.parent ?? this.session.life).isOver
  }

  /** @throws `TransactionClosedError` or `TransactionTimeoutError` when nothing can be done in this scope any more */
  assertUsable(): void {
    const { life } = this.session
    if (performance.now() >= life.openUntil) life.assertOpen()
    if (this.#state !== 'committed' && this.#state !== 'rolledBack' && this.parent?.isOver !== true) return
    throw closedError('A statement was sent', this.title)
  }

  /** An operation has failed after it had written something: that is in the transaction, which can only roll back. */
  failHalfWay(error: unknown): void {
    this.failure.record(error, this.savepoints.depth, halfWay)
  }

  /** The database has ended the transaction: neither this scope nor those around it can commit. */
  doom(error: unknown): void {
    this.failure.record(error, 0)
    this.session.lose(error)
    this.parent?.doom(error)
  }

  /**
   * Runs one piece of work on the connection when it is its turn.
   *
   * @param reading - the same, where it only reads: as long as nothing else was done it may be sent without a transaction around it
   */
  async execute<T>(work: Work<Connection, T>, reading?: Reading<Connection, T>): Promise<T> {
    const inside = this.operations.around
    if (!this.#tryEnter(false, inside)) await this.#wait(false, inside)
    try {
      return await this.runInTurn(work, reading)
    } finally {
      this.#lock.leave(false)
    }
  }

  /**
   * Runs an operation of a guest, which sends its statements by `runInTurn`: side by side with others, but not with a nested scope.
   * When it fails after an error of ours, it rejects with that.
   */
  async operation<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    const { operations } = this
    operations.start(operation)
    let isIn = false
    try {
      const hasToWait = !this.#tryEnter(false, operation.outer)
      if (hasToWait) await this.#wait(false, operation.outer)
      isIn = true
      // It may have ended meanwhile.
      if (hasToWait) this.assertUsable()
      return await operations.inside(operation, work)
    } catch (error) {
      throw operation.failure ?? error
    } finally {
      operations.end(operation)
      if (isIn) this.#lock.leave(false)
    }
  }

  /** As `execute`, for who holds the turn already: with `isOfGuest` an operation, in whatever context it sends the work. */
  runInTurn<T>(work: Work<Connection, T>, reading?: Reading<Connection, T>, isOfGuest: boolean = false): Promise<T> {
    if (this.#state === 'idle') this.#state = 'open'
    return this.session.use(work, reading, this, isOfGuest)
  }

  /** Writes what is pending. When that fails, nothing of it is stored or pending any more. */
  async flush(): Promise<void> {
    this.assertUsable()
    if (this.buffers.empty) return
    if (this.buffers.needsPreparation) await this.#prepare()
    const inside = this.operations.around
    if (!this.#tryEnter(true, inside)) await this.#wait(true, inside)
    try {
      await this.flushInTurn()
    } finally {
      this.#lock.leave(true)
    }
  }

  /** As `flush`, for who holds the turn already. */
  async flushInTurn(unwritten: ReadonlyArray<PendingWork<Connection>> = this.buffers.unwritten): Promise<void> {
    if (unwritten.length === 0) return
    const run: Run<Connection> = (work) => this.runInTurn(work)
    const host = { run, savepoint: `${this.#name}_flush`, doom: (error: unknown) => this.doom(error) }
    await this.session.options.telemetry.flush(this.session, unwritten, () => this.buffers.flush(unwritten, host))
  }

  /**
   * Ends the scope well: flushes, then COMMIT or the release of the savepoint. If any of that fails it has rolled back when this rejects.
   *
   * @param isFromInside - whether what asks for it runs in a part of the scope, which ends later
   */
  async commit(isFromInside: boolean = false): Promise<void> {
    // Work that ends when the signal aborts comes here while the deadline is rolling back.
    if (this.#rollingBack !== undefined) await this.#rollingBack
    let isIn = false
    try {
      this.assertUsable()
      if (this.buffers.needsPreparation) await this.#prepare()
      const isFree = (isFromInside || this.calls.running.size === 0) && this.#lock.tryEnter(true, undefined)
      const running = isFree ? undefined : await this.#enterLast(isFromInside)
      isIn = true
      if (this.failure.isQuiet) return await this.rollback()
      if (this.failure.isThere) this.failure.assertCommittable()
      reportUnfinished(this, running)
      const storing = this.store()
      if (storing !== undefined) await storing
      this.#end('committed')
    } catch (error) {
      // Nobody knows what became of it, so neither kind of hook may run.
      if (error instanceof CommitUnknownError) this.#end('rolledBack', 'commitUnknown')
      else await this.rollback(error)
      throw error
    } finally {
      if (isIn) this.#lock.leave(true)
    }
    const following = this.stored()
    if (following !== undefined) await following
  }

  /**
   * Undoes everything of this scope; harmless when it has ended. What the database has begun to commit is its to finish.
   *
   * @param reason - why, for those who trace it
   */
  async rollback(reason?: unknown): Promise<void> {
    if (this.#committing !== undefined) await this.#committing.catch(ignore)
    if (this.#rollingBack === undefined && this.ended) return
    this.#rollingBack ??= this.#rollBack(reason)
    await this.#rollingBack
  }

  /** Writes what is pending, and ends it well in the database. */
  protected store({ unwritten }: Pick<Buffers<Connection>, 'unwritten'> = this.buffers): Promise<void> | undefined {
    if (unwritten.length > 0) return this.flushInTurn(unwritten).then(() => this.#storeWritten())
    return this.#storeWritten()
  }

  #storeWritten(): Promise<void> | undefined {
    this.assertUsable()
    if (this.failure.isThere) this.failure.assertCommittable()
    this.#state = 'committing'
    const ending = this.end()
    if (ending === undefined) {
      this.#state = 'committed'
      return undefined
    }
    // At once: a rollback that is asked for meanwhile has waited for that, too.
    return (this.#committing = ending.then(() => void (this.#state = 'committed')))
  }

  /** Sends the one statement that there is to send, without a transaction around it: it is the commit as well. */
  protected storeAlone(lone: LoneStatements<Connection>, pending: PendingWork<Connection>): Promise<void> {
    this.failure.assertCommittable()
    const { telemetry } = this.session.options
    const write = async (run: Run<Statements<Connection>>): Promise<void> => {
      this.#state = 'committing'
      await (this.#committing = telemetry.flush(this.session, [pending], async () =>
        (await pending.flush(run)).stored(),
      ))
      this.#state = 'committed'
    }
    return this.session.writeAlone(lone, write, this)
  }

  /**
   * Takes the place for the commit, after what runs: of that nobody may know, except where the commit is asked for inside of a part.
   *
   * @returns what ran
   */
  async #enterLast(isFromInside: boolean): Promise<string | undefined> {
    const isBusy = !isFromInside && this.calls.running.size > 0
    let running = isBusy ? await untilQuiet(this, this.#part !== undefined) : undefined
    if (this.#lock.tryEnter(true, undefined)) return running
    if (!isFromInside) running ??= runningWork(this, this.#part !== undefined)
    await this.#wait(true, undefined)
    return running
  }

  /** What is done before pending events are written sends statements in turns of its own. */
  async #prepare(): Promise<void> {
    if (this.failure.isQuiet) return
    this.failure.assertCommittable()
    await this.buffers.prepare()
  }

  /** Called by the session with what has failed. */
  failed(error: unknown, isOfGuest: boolean, wasAlone: boolean): void {
    const damage = this.session.hasEndedInDatabase ? 'transaction' : this.#source.damageOf(error)
    if (damage === 'scope' && !wasAlone) this.failure.record(error, this.savepoints.depth)
    if (damage === 'transaction' && !wasAlone) this.doom(error)
    this.operations.recordFailure(
      (damage === 'transaction' ? this.#source.lossOf(error) : undefined) ?? error,
      isOfGuest,
    )
  }

  async #rollBack(reason: unknown): Promise<void> {
    this.#state = 'rolledBack'
    this.buffers.clear()
    await this.undo(reason)
    this.#end('rolledBack')
    await this.hooks.rolledBack()
  }

  /** Waits for the operations in it, and in its parts, that nobody has awaited. */
  protected async idle(): Promise<void> {
    await this.operations.idle()
    if (this.#part !== undefined) await this.#part.idle()
  }

  /** Takes a place in this scope, if one is free; from here on the deadline runs. */
  #tryEnter(alone: boolean, inside: Operation | undefined): boolean {
    this.assertUsable()
    this.session.life.startDeadline()
    return this.#lock.tryEnter(alone, inside)
  }

  async #wait(alone: boolean, inside: Operation | undefined): Promise<void> {
    await this.#lock.enter({ alone, inside, signal: () => this.session.life.endSignal })
  }

  #end(state: 'committed' | 'rolledBack', ending: Ending = state): void {
    this.#state = state
    this.isDone = true
    this.left(ending)
    for (const listener of this.onEnded) listener()
    if (ending === 'commitUnknown') this.hooks.skipped()
  }

  async #expire(): Promise<void> {
    const error = this.session.life.ended
    await this.rollback(error)
    if (error !== undefined) for (const listener of this.onExpired) listener(error)
  }
}

/** The whole of a transaction: begun by the session at its first statement. */
export class Whole<Connection extends TransactionConnection> extends Scope<Connection> {
  protected override store(): Promise<void> | undefined {
    const { session } = this
    return session.guests.size > 0 ? session.dismissGuests(true).then(() => this.#storeAtOnce()) : this.#storeAtOnce()
  }

  #storeAtOnce(): Promise<void> | undefined {
    const { session } = this
    const lone = session.options.beginsWithWrite ? session.lone : undefined
    const { unwritten } = this.buffers
    const [pending] = unwritten
    const isOneStatement = lone !== undefined && unwritten.length === 1 && pending?.isOneStatement === true
    return isOneStatement ? this.storeAlone(lone, pending) : super.store({ unwritten })
  }

  protected override end(): Promise<void> | undefined {
    return this.session.commit()
  }

  protected override undo(reason: unknown): Promise<void> {
    return this.session.rollback(reason)
  }

  protected override left(ending: Ending): void {
    this.session.options.telemetry.ended(this.session, ending)
  }

  protected override stored(): Promise<void> | undefined {
    return this.hooks.committed()
  }
}

/** A nested part. It keeps its parent to itself for as long as it is open. */
class Part<Connection extends TransactionConnection> extends Scope<Connection> {
  readonly #place: Place<Connection>
  #setting: Promise<void> | undefined
  /** Whether its savepoint is set. */
  #isSet = false

  constructor(source: ConnectionSource<Connection>, place: Place<Connection>) {
    super(source, place)
    this.#place = place
  }

  override get title(): string {
    return `a nested part of ${super.title}`
  }

  override runInTurn<T>(work: Work<Connection, T>, _reading?: unknown, isOfGuest: boolean = false): Promise<T> {
    // The session has begun when the savepoint is set.
    return this.#isSet ? super.runInTurn(work, undefined, isOfGuest) : this.#runFirst(work, isOfGuest)
  }

  async #runFirst<T>(work: Work<Connection, T>, isOfGuest: boolean): Promise<T> {
    try {
      this.assertUsable()
      // Where it fails, the next statement tries again: what was pending outside is gone then.
      await (this.#setting ??= this.#set().finally(() => void (this.#setting = undefined)))
    } catch (error) {
      this.failed(error, isOfGuest, false)
      throw error
    }
    return await super.runInTurn(work, undefined, isOfGuest)
  }

  async #set(): Promise<void> {
    const { parent, name } = this.#place
    // What is pending outside must not be undone together with this scope, so it is written before the savepoint.
    await parent.flushInTurn()
    await parent.runInTurn((connection) => connection.savepoint(name))
    this.#isSet = true
  }

  protected override end(): Promise<void> | undefined {
    const { parent, name } = this.#place
    return this.#isSet ? parent.runInTurn((connection) => connection.release(name)) : undefined
  }

  protected override async undo(): Promise<void> {
    const { parent, name } = this.#place
    // What has ended around it has undone this, too.
    if (this.#isSet && !parent.isOver) {
      try {
        await parent.runInTurn((connection) => connection.rollbackTo(name))
      } catch (error) {
        // Some failures make the server end the whole transaction, and its savepoints with it.
        if (!parent.isOver) parent.doom(error)
      }
    }
    // What an operation sends that nobody has awaited comes to the innermost scope: it has to be refused by this one.
    await this.idle()
  }

  protected override left(): void {
    this.#place.leaveParent()
  }

  protected override stored(): undefined {
    this.#place.parent.hooks.adopt(this.hooks)
  }
}

const halfWay =
  'The transaction can only roll back: an operation in it failed half-way, and a commit would store what it had written before that. ' +
  'Let that error propagate, or run the operation that may fail in a nested transaction.'

function ignore(): void {}
