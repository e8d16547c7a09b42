/** The transactions of a request of Express. */
import type { Request } from 'express'
import type { ServedRequest } from './deferred-request.js'
import type { TransactionalDatastore } from './http.js'

const key: symbol = Symbol('eventsourcing-prisma')

/** One for each datastore. */
type RequestTransactions = Map<TransactionalDatastore, ServedRequest<Request>>

/** Undefined before the first: they are on the request, since a `WeakMap` would keep requests alive for long. */
export function transactionsOf(request: Request): RequestTransactions | undefined {
  // Nobody else has the key.
  return Reflect.get(request, key) as RequestTransactions | undefined
}

/** Gives a request another one. */
export function addTransaction(
  request: Request,
  datastore: TransactionalDatastore,
  transaction: ServedRequest<Request>,
): void {
  const all: RequestTransactions = transactionsOf(request) ?? new Map()
  Reflect.set(request, key, all.set(datastore, transaction))
}
