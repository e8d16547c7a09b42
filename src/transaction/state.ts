/** The states of a unit of work. */

/** Where a unit of work is: `idle` until its first statement; the last two are final. */
export type TransactionState = 'idle' | 'open' | 'committing' | 'committed' | 'rolledBack'
