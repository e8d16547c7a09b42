/** tRPC: each procedure is a part of the request's transaction that is undone alone when it fails, in a batch as well. */
import type { RollbackOnlyOptions, TransactionOptions } from '../src/index.js'

/** What the middleware needs of a datastore. */
export interface ProcedureDatastore {
  /** Runs work in a transaction. */
  transaction<T>(
    work: (tx: { rollbackOnly(options?: RollbackOnlyOptions): void }) => Promise<T>,
    options?: TransactionOptions,
  ): Promise<T>
}

/** What a procedure has come to. */
export interface ProcedureResult {
  /** Whether it has succeeded. */
  readonly ok: boolean
}

/** A middleware of tRPC 11, by shape. */
export type ProcedureMiddleware = <Result extends ProcedureResult>(call: {
  readonly next: () => Promise<Result>
}) => Promise<Result>

/**
 * Runs a procedure in a part of the request's transaction. When it fails, the part is undone and the answer tells the error,
 * whatever the other procedures of a batch do: their results are stored. Outside of a request it runs in a transaction of its own.
 *
 * A batch that is streamed (`httpBatchStreamLink`) is answered before all of its procedures have ended, so it is committed
 * too early for them: use `httpBatchLink` or `httpLink`.
 *
 * @param datastore - whose transactions the middleware or plugin of the framework begins
 * @see https://trpc.io/docs/server/middlewares
 *
 * @example
 * const mutation = t.procedure.use(trpcTransactions(datastore))
 */
export function trpcTransactions(datastore: ProcedureDatastore): ProcedureMiddleware {
  return async ({ next }) =>
    await datastore.transaction(
      async (part) => {
        const result = await next()
        if (!result.ok) part.rollbackOnly({ answer: 'keep' })
        return result
      },
      { propagation: 'nested' },
    )
}
