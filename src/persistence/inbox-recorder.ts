/** The port of what keeps which messages were processed. */

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
