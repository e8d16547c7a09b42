/** What transactions mean, in a few lists: no database, no promises, nothing that waits. */

/** An event as the model knows it. */
export interface ModelEvent {
  readonly label: string
  /** Each has a log of its own. */
  readonly table: string
  readonly stream: string
  readonly version: number
}

/** What is stored, as somebody sees it. It is replaced, never changed, so a rollback is to forget the new one. */
export interface Stored {
  /** Those of one table are in the order of its notification ids. */
  readonly log: readonly ModelEvent[]
  readonly rows: readonly string[]
  /** The last notification of the upstream application that was processed. */
  readonly position: bigint
}

/** Why the database has to refuse something. */
export type Reason =
  /** The events do not follow what is stored. */
  | 'conflict'
  /** The events contradict each other, whatever is stored. */
  | 'inconsistent'
  | 'processed'
  | 'notUnique'
  | 'rollbackOnly'

/** A refusal. */
export class Refusal extends Error {
  readonly reason: Reason

  constructor(reason: Reason) {
    super(`The model expects a refusal: ${reason}.`)
    this.reason = reason
  }
}

/** What one lane has stored. Other lanes write to the streams that are contended: there the database tells who was first. */
export class ModelDatabase {
  stored: Stored = { log: [], rows: [], position: 0n }
  /** The labels of all events that were ever written, rolled back or not. */
  readonly written: Set<string> = new Set()
  readonly isContended: (stream: string) => boolean
  readonly wasWritten: (event: ModelEvent) => boolean
  readonly Scope: typeof ModelScope

  constructor({ isContended, wasWritten, Scope }: Pick<ModelDatabase, 'isContended' | 'wasWritten' | 'Scope'>) {
    this.isContended = isContended
    this.wasWritten = wasWritten
    this.Scope = Scope
  }

  begin(autoflush: boolean): ModelScope {
    return new this.Scope(this, undefined, autoflush)
  }
}

/** A transaction, or a nested part of one. */
export class ModelScope {
  autoflush: boolean
  /** The hooks that have to run at the end, known then. */
  due: readonly string[] = []
  readonly #database: ModelDatabase
  readonly #parent: ModelScope | undefined
  #pending: readonly ModelEvent[] = []
  #afterCommit: readonly string[] = []
  #afterRollback: readonly string[] = []
  /** Undefined until the first statement. */
  #stored: Stored | undefined
  #canOnlyRollBack = false

  constructor(database: ModelDatabase, parent: ModelScope | undefined, autoflush: boolean) {
    this.#database = database
    this.#parent = parent
    this.autoflush = autoflush
  }

  nested(): ModelScope {
    return new this.#database.Scope(this.#database, this, this.autoflush)
  }

  /** What has been written, as this scope sees it. */
  get stored(): Stored {
    return this.#stored ?? this.#parent?.stored ?? this.#database.stored
  }

  /** A stream with the events that are pending here or around; these come after stored ones of the same version. */
  stream(stream: string): ModelEvent[] {
    const events = this.#events().filter((event) => event.stream === stream)
    return events.sort((a, b) => a.version - b.version)
  }

  save(events: readonly ModelEvent[]): void {
    this.#pending = [...this.#pending, ...events]
  }

  insert(events: readonly ModelEvent[]): void {
    this.flush()
    if (events.length > 0) this.#write(events)
  }

  /** Events and tracking, or none of both. */
  insertWithTracking(events: readonly ModelEvent[], id: bigint): void {
    const part = this.nested()
    try {
      part.track(id)
      part.insert(events)
    } catch (error) {
      part.rollback()
      throw error
    }
    part.commit()
  }

  track(id: bigint): void {
    this.#open()
    if (id <= this.stored.position) throw new Refusal('processed')
    this.#stored = { ...this.stored, position: id }
  }

  /** Whether it can be written or not, it is pending no more. */
  flush(): void {
    const events = this.#pending
    this.#pending = []
    if (events.length > 0) this.#write(events)
  }

  addRow(row: string): void {
    this.#open()
    if (this.stored.rows.includes(row)) throw new Refusal('notUnique')
    this.#stored = { ...this.stored, rows: [...this.stored.rows, row] }
  }

  readStream(stream: string): ModelEvent[] {
    if (this.autoflush && this.#pending.some((event) => event.stream === stream)) this.flush()
    this.#open()
    return this.stream(stream)
  }

  readLog(table: string): readonly ModelEvent[] {
    if (this.autoflush) this.flush()
    this.#open()
    return this.stored.log.filter((event) => event.table === table)
  }

  readRows(): readonly string[] {
    this.#open()
    return this.stored.rows
  }

  readPosition(): bigint {
    this.#open()
    return this.stored.position
  }

  addHooks(afterCommit: string, afterRollback: string): void {
    this.#afterCommit = [...this.#afterCommit, afterCommit]
    this.#afterRollback = [...this.#afterRollback, afterRollback]
  }

  rollbackOnly(): void {
    this.#canOnlyRollBack = true
  }

  commit(): void {
    try {
      if (this.#canOnlyRollBack) throw new Refusal('rollbackOnly')
      this.flush()
    } catch (error) {
      this.rollback()
      throw error
    }
    if (this.#parent === undefined) {
      this.#database.stored = this.stored
      this.due = this.#afterCommit
    } else this.#parent.adopt(this)
  }

  rollback(): void {
    this.#pending = []
    this.due = this.#afterRollback
  }

  /** Takes over what a nested part has done. */
  adopt(part: ModelScope): void {
    if (part.#stored !== undefined) this.#stored = part.#stored
    this.#afterCommit = [...this.#afterCommit, ...part.#afterCommit]
    this.#afterRollback = [...this.#afterRollback, ...part.#afterRollback]
  }

  #events(): ModelEvent[] {
    if (this.#stored !== undefined || this.#parent === undefined) return [...this.stored.log, ...this.#pending]
    return [...this.#parent.#events(), ...this.#pending]
  }

  /** The first statement: what is pending outside of a nested part is written before it, so that it stays when the part fails. */
  #open(): void {
    if (this.#stored !== undefined) return
    if (this.#parent !== undefined) {
      this.#parent.flush()
      this.#parent.#open()
    }
    this.#stored = this.stored
  }

  #write(events: readonly ModelEvent[]): void {
    this.#open()
    const refusal = this.#refusalOf(events)
    if (refusal !== undefined) throw refusal
    for (const { label } of events) this.#database.written.add(label)
    this.#stored = { ...this.stored, log: [...this.stored.log, ...events] }
  }

  #refusalOf(events: readonly ModelEvent[]): Refusal | undefined {
    const { isContended, wasWritten } = this.#database
    const taken = new Set(this.stored.log.map((event) => placeOf(event)))
    const isFirst = (event: ModelEvent): boolean => events.find(({ stream }) => stream === event.stream) === event
    const isKnown = ({ stream }: ModelEvent): boolean => !isContended(stream)
    const follows = (event: ModelEvent): boolean => event.version === 1 || taken.has(placeOf(event, -1))
    const fits = (event: ModelEvent): boolean => !taken.has(placeOf(event)) && follows(event)
    if (!events.filter(isFirst).filter(isKnown).every(fits)) {
      // Of several tables the first that is written tells what is wrong with it.
      return new Refusal(events.every(({ table }) => table === events[0]?.table) ? 'conflict' : 'inconsistent')
    }
    for (const event of events) {
      if (taken.has(placeOf(event))) return new Refusal('inconsistent')
      taken.add(placeOf(event))
    }
    if (!events.filter((event) => isKnown(event) || !isFirst(event)).every(follows)) return new Refusal('inconsistent')
    // Others may have been first where they write too; and what they have stored may come before.
    return events.every((event) => isKnown(event) || wasWritten(event)) ? undefined : new Refusal('conflict')
  }
}

function placeOf({ stream, version }: ModelEvent, distance: number = 0): string {
  return `${version + distance} ${stream}`
}
