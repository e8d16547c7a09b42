/** Datastores whose transactions do not keep their promise: they show that the torture run finds it. */
import { setTimeout as delay } from 'node:timers/promises'
import type { RouteTransactionOptions, TransactionalDatastore } from '../../../adapters/http.js'
import type { ManagedTransaction, TransactionHost } from '../../../src/index.js'
import type { Mutation } from './plan.js'

type Ends = Pick<ManagedTransaction, 'commit' | 'rollback'>

/** What the adapters are to begin transactions on. */
export function mutated(datastore: TransactionalDatastore, mutation: Mutation | undefined): TransactionalDatastore {
  if (mutation === undefined) return datastore
  const endsOf = endings[mutation]()
  return {
    name: datastore.name,
    outside: (fn) => datastore.outside(fn),
    begin(options?: RouteTransactionOptions, host?: TransactionHost) {
      // A route with a deadline of its own is answered at it: it neither waits for ours nor is it broken.
      if (options?.deadlineMs !== undefined) return datastore.begin(options, host)
      return withEnds(datastore.begin({ ...options, begin: 'first-statement', deadlineMs }, host), endsOf)
    },
  }
}

type EndsOf = (managed: ManagedTransaction) => Partial<Ends>

/** Beyond the end of the run: at the deadline a transaction that was forgotten would be rolled back after all. */
const deadlineMs = 600_000
/** Fewer than there are connections, so that the run goes on. Each has one, since it begins with its first statement. */
const forgotten = 3

const endings: Readonly<Record<Mutation, () => EndsOf>> = {
  'answer before the commit': () => (managed) => ({
    async commit() {
      void delay(5)
        .then(() => managed.commit())
        .catch(() => undefined)
    },
  }),
  'commit what failed': () => (managed) => ({
    rollback: async () => await managed.commit().catch(() => managed.rollback()),
  }),
  'forget to roll back'() {
    let count = 0
    return (managed) => ({
      async rollback() {
        if (managed.transaction.state === 'open') count += 1
        if (managed.transaction.state !== 'open' || count > forgotten) await managed.rollback()
      },
    })
  },
}

function withEnds(managed: ManagedTransaction, endsOf: EndsOf): ManagedTransaction {
  const ends = new Map<string | symbol, unknown>(Object.entries(endsOf(managed)))
  return new Proxy(managed, {
    get(target, property) {
      const value: unknown = ends.get(property) ?? Reflect.get(target, property)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
