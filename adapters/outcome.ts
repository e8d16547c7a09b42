/** What a failure reported inside a successful response does to the transaction of its request. */
import type { RollbackOnlyOptions } from '../src/index.js'

/** What these plugins need of a datastore. */
export interface OutcomeDatastore {
  /** Undefined outside of a transaction. */
  readonly tryCurrentTransaction:
    | {
        /** Lets it end in a rollback. */
        rollbackOnly(options?: RollbackOnlyOptions): void
      }
    | undefined
}

/** Rolls the current transactions back, and keeps the answer. */
export function undo(datastores: readonly OutcomeDatastore[]): void {
  for (const datastore of datastores) datastore.tryCurrentTransaction?.rollbackOnly({ answer: 'keep' })
}
