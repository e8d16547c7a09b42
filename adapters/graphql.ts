/** GraphQL: rolls back the request of an operation that failed, although the server answers 200. */
import type { RollbackOnlyOptions } from '../src/index.js'

/** What an operation has come to, in any GraphQL server. */
interface OperationResult {
  readonly errors?: readonly unknown[] | undefined
}

/** A plugin of Apollo Server 4 and 5, by shape. */
export interface ApolloPlugin {
  /** Called by Apollo Server for each operation. */
  requestDidStart(): Promise<{
    /** Called when all of its answer is there. */
    willSendResponse(context: {
      readonly response: {
        readonly body:
          | { readonly kind: 'single'; readonly singleResult: OperationResult }
          | { readonly kind: 'incremental'; readonly initialResult: OperationResult }
      }
    }): Promise<void>
  }>
}

/**
 * Lets Apollo Server roll back what an operation did that has errors; the answer stays as it is. Operations of one batch
 * share their transaction, so one that fails undoes all.
 *
 * What is deferred (`@defer`) comes after the commit.
 *
 * @param datastores - whose transactions the middleware or plugin of the framework begins
 * @see https://www.apollographql.com/docs/apollo-server/integrations/plugins
 *
 * @example
 * new ApolloServer({ typeDefs, resolvers, plugins: [apolloTransactions(datastore)] })
 */
export function apolloTransactions(...datastores: readonly OutcomeDatastore[]): ApolloPlugin {
  return {
    async requestDidStart() {
      return {
        async willSendResponse({ response: { body } }) {
          undoFailed(datastores, body.kind === 'single' ? body.singleResult : body.initialResult)
        },
      }
    },
  }
}

/** A plugin of GraphQL Yoga 5, and of any other server with Envelop's plugins, by shape. */
export interface YogaPlugin {
  /** Called for each operation that is executed. */
  onExecute(): {
    /** Called with what the operation has come to. */
    onExecuteDone(done: { readonly result: unknown }): void
  }
}

/**
 * Lets GraphQL Yoga roll back what an operation did that has errors; the answer stays as it is. Operations of one batch
 * share their transaction, so one that fails undoes all.
 *
 * Subscriptions and deferred parts are answered piece by piece: they come after the commit.
 *
 * @param datastores - whose transactions the middleware or plugin of the framework begins
 * @see https://the-guild.dev/graphql/envelop/docs/plugins/lifecycle
 *
 * @example
 * createYoga({ schema, plugins: [yogaTransactions(datastore)] })
 */
export function yogaTransactions(...datastores: readonly OutcomeDatastore[]): YogaPlugin {
  return {
    onExecute() {
      return {
        onExecuteDone({ result }) {
          // One that is answered piece by piece is an async iterable, which has no errors of its own.
          undoFailed(datastores, result as OperationResult)
        },
      }
    },
  }
}

/** A hook `onResolution` of Mercurius, by shape. */
export type MercuriusHook = (execution: OperationResult) => Promise<void>

/**
 * Lets Mercurius roll back what an operation did that has errors; the answer stays as it is. Operations of one batch share
 * their transaction, so one that fails undoes all.
 *
 * @param datastores - whose transactions the plugin of Fastify begins
 * @see https://mercurius.dev/#/docs/hooks
 *
 * @example
 * fastify.graphql.addHook('onResolution', mercuriusTransactions(datastore))
 */
export function mercuriusTransactions(...datastores: readonly OutcomeDatastore[]): MercuriusHook {
  return async (execution) => undoFailed(datastores, execution)
}

function undoFailed(datastores: readonly OutcomeDatastore[], { errors }: OperationResult): void {
  if (errors !== undefined && errors.length > 0) undo(datastores)
}

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
function undo(datastores: readonly OutcomeDatastore[]): void {
  for (const datastore of datastores) datastore.tryCurrentTransaction?.rollbackOnly({ answer: 'keep' })
}
