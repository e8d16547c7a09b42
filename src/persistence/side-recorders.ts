/** The ports of what stands beside the events: timers, and messages that were processed. */

/** A timer as it is stored. */
export interface StoredTimer {
  /** Chosen by who sets it: a second one with the same id takes the place of the first. */
  readonly id: string
  /** What it is for: by it a handler takes it. */
  readonly topic: string
  /** When it is due. */
  readonly dueAt: Date
  /** Its data, as the application's mapper writes them. */
  readonly state: Uint8Array
}

/** A timer that is due, in the hands of who handles it. */
export interface DueTimer extends StoredTimer {
  /** How often handlers have failed on it. */
  readonly attempts: number
  /** Another one each time that it is set, or taken: who has an older one changes nothing. */
  readonly epoch: bigint
}

/** A timer that has not been handled. */
export interface PendingTimer extends Omit<StoredTimer, 'state'> {
  /** When it is tried next; undefined for one that was put aside, which is tried no more until `retry`. */
  readonly nextAt: Date | undefined
  /** How often handlers have failed on it. */
  readonly attempts: number
  /** Why it failed the last time. */
  readonly error: string | undefined
}

/** What becomes of a timer on which its handler has failed. */
export interface TimerFailure {
  /** How often it has been tried. */
  readonly attempts: number
  /** Milliseconds until it is tried again; undefined puts it aside. */
  readonly delayMs: number | undefined
  /** Why. */
  readonly error: string
}

/** Which timers to look at. */
export interface SelectTimersOptions {
  /** Default all. */
  readonly topics?: readonly string[] | undefined
  /** Default 100. */
  readonly limit?: number | undefined
  /** Only those that were put aside; default false. */
  readonly parked?: boolean | undefined
}

/** Keeps the timers of one application. The database's clock tells what is due. */
export interface TimerRecorder {
  /** Makes the table; harmless where it exists. */
  createTable(): Promise<void>
  /** Stores a timer, or takes the place of the one with its id; in the current transaction where there is one. */
  setTimer(timer: StoredTimer): Promise<void>
  /** Deletes a timer; in the current transaction where there is one. @returns whether it was there */
  clearTimer(id: string): Promise<boolean>
  /**
   * Takes timers that are due and that nobody else has, deletes them, and runs work, all in one transaction of its own: of all that happens, or
   * nothing. Whoever else asks meanwhile is given others.
   *
   * @param topics - of the timers
   * @param limit - how many at most; the work is not run where there is none
   * @returns how many there were
   */
  fireTimers(
    topics: readonly string[],
    limit: number,
    work: (timers: readonly DueTimer[]) => Promise<void>,
  ): Promise<number>
  /** Takes a timer that is due for so long, for work outside of transactions: nobody else is given it meanwhile. */
  reserveTimer(topics: readonly string[], forMs: number): Promise<DueTimer | undefined>
  /** Keeps a timer that was reserved for so long from now on. @returns false where it was set anew, or taken by somebody else */
  extendTimer(timer: Pick<DueTimer, 'id' | 'epoch'>, forMs: number): Promise<boolean>
  /** Deletes a timer that was reserved, unless it was set anew meanwhile. */
  finishTimer(timer: Pick<DueTimer, 'id' | 'epoch'>): Promise<void>
  /** Notes that a handler has failed, unless the timer was set anew meanwhile. */
  failTimer(timer: Pick<DueTimer, 'id' | 'epoch'>, failure: TimerFailure): Promise<void>
  /** Milliseconds until the next of these is due, 0 or less for one that is; undefined where there is none. Outside of the current transaction. */
  nextTimerInMs(topics: readonly string[]): Promise<number | undefined>
  /** Timers that were not handled, those that are due first before others. */
  selectTimers(options?: SelectTimersOptions): Promise<PendingTimer[]>
  /** Lets timers that were put aside be tried again, now. @param only - those with this id, or of these topics. @returns how many */
  retryTimers(only: { readonly id?: string; readonly topics?: readonly string[] }): Promise<number>
  /** Calls the listener soon after a timer was set, perhaps more often, perhaps not at all. @returns what ends that */
  onSet(listener: () => void): () => void
  /** Whether others that set timers tell this one of them: it need not ask for them so often then. */
  readonly isTold: boolean
  /** Whether the work that has failed so may succeed when it is repeated. */
  mayPass(error: unknown): boolean
}

/** What tells a message from all others. */
export interface InboxMessage {
  /** Where it comes from. */
  readonly source: string
  /** Its id there. */
  readonly id: string
}

/** Keeps which messages an application has processed. */
export interface InboxRecorder {
  /** Makes the table; harmless where it exists. */
  createTable(): Promise<void>
  /**
   * Runs work in the current transaction, or in one of its own, unless the message is there: both are stored, or nothing. Of two at the same
   * time, the second waits for the first, and runs where that has failed.
   *
   * @returns whether it has run
   */
  once(message: InboxMessage, work: () => Promise<unknown>): Promise<boolean>
  /**
   * The same for a source whose messages come in order, by how far it has come.
   *
   * @param position - beyond the one before
   */
  inOrder(source: string, position: bigint, work: () => Promise<unknown>): Promise<boolean>
  /** Deletes messages that were received so long ago. @returns how many there were */
  sweep(olderThanMs: number): Promise<number>
}
