/** The shape of a generated PrismaClient, whichever generator and extensions made it; nothing here imports one. */
import { NotSupportedError, ProgrammingError } from '../errors.js'

/** What the library calls on a client. */
export interface PrismaClientLike {
  $transaction(work: (client: object) => Promise<unknown>, options?: object): Promise<unknown>
  $transaction(operations: readonly unknown[], options?: object): Promise<unknown[]>
}

/** The client that Prisma passes to the callback of `$transaction`: models, raw queries and extensions, without `$connect` and its like. */
export type TransactionClient<Client> = Client extends {
  /** Prisma's interactive transaction, whose callback tells the type. */
  $transaction(work: (client: infer Tx) => Promise<unknown>, options?: never): Promise<unknown>
}
  ? Tx
  : Client

/** Tells whether a value can be used as a PrismaClient. */
export function isPrismaClient(value: unknown): value is PrismaClientLike {
  return (
    typeof value === 'object' && value !== null && '$transaction' in value && typeof value.$transaction === 'function'
  )
}

/**
 * Whether all that an operation of a client does is Prisma's own: it has no extensions. Prisma tells that in a field of its own;
 * whatever does not have it counts as extended.
 */
export function isUnextended(client: object): boolean {
  if (!('_extensions' in client)) return false
  const { _extensions: extensions } = client
  if (typeof extensions !== 'object' || extensions === null || !('isEmpty' in extensions)) return false
  return typeof extensions.isEmpty === 'function' && Reflect.apply(extensions.isEmpty, extensions, []) === true
}

/** What a call on a client gives: it is carried out when it is awaited, or in the transaction that it is asked to be carried out in. */
export interface PrismaOperation extends PromiseLike<unknown> {
  requestTransaction(transaction: object): Promise<unknown>
}

/** Whether a value is what a call on some client has given; everything else has been carried out already. */
export function isPrismaOperation(value: unknown): value is PrismaOperation {
  return (
    typeof value === 'object' &&
    value !== null &&
    Reflect.get(value, Symbol.toStringTag) === 'PrismaPromise' &&
    'requestTransaction' in value &&
    typeof value.requestTransaction === 'function'
  )
}

/** The client that the extended ones have been made from, which has their engine and what all of them inherit. */
export function originalOf(client: object): object {
  const original: unknown = Reflect.get(client, '_originalClient')
  return typeof original === 'object' && original !== null ? original : client
}

/** Prisma's own `$transaction`, whatever extensions and subclasses have put before it. */
export function prismaTransaction(client: object): PrismaClientLike['$transaction'] {
  let found: unknown = Reflect.get(client, '$transaction')
  // Prisma's class is the last one.
  let prototype = Reflect.getPrototypeOf(originalOf(client))
  while (prototype !== null) {
    if (Object.hasOwn(prototype, '$transaction')) found = Reflect.get(prototype, '$transaction')
    prototype = Reflect.getPrototypeOf(prototype)
  }
  // What is called so is nothing else.
  return found as PrismaClientLike['$transaction']
}

/**
 * What Prisma knows an open transaction by, for operations that are to be carried out in it.
 *
 * @param client - which Prisma has passed to the callback of `$transaction`
 */
export async function prismaTransactionOf(client: object): Promise<object> {
  const make: unknown = Reflect.get(client, '_createPrismaPromise')
  if (typeof make !== 'function') throw unknownClient()
  const told: unknown = await Reflect.apply(make, client, [(transaction: unknown) => Promise.resolve(transaction)])
  if (typeof told !== 'object' || told === null) throw unknownClient()
  return told
}

function unknownClient(): NotSupportedError {
  return new NotSupportedError(
    'Could not join the PrismaClient to the transaction: this version of Prisma does not tell which transaction a client is in. Use one that eventsourcing-prisma supports.',
  )
}

/** What Prisma gives a transaction where the client says nothing, in milliseconds. */
export const prismaDefaults = { maxWait: 2_000, timeout: 5_000 } as const

/** Prisma's limits of a transaction. */
export interface PrismaTransactionOptions {
  readonly isolationLevel?: string
  /** Milliseconds that it may last. */
  readonly timeout?: number
  /** Milliseconds that it may take to begin. */
  readonly maxWait?: number
}

/** The driver adapter that a client was made on; undefined where Prisma does not tell. */
export function adapterOf(client: object): unknown {
  const config: unknown = Reflect.get(originalOf(client), '_engineConfig')
  return typeof config === 'object' && config !== null ? Reflect.get(config, 'adapter') : undefined
}

/** A client that joins nothing, since its statements never come by the datastore. */
export function strangerError(): ProgrammingError {
  return new ProgrammingError(
    'Could not join the PrismaClient to the transactions of its datastore: it was made on another adapter than that of the datastore. ' +
      'Make it on the one that is passed: client: (adapter) => new PrismaClient({ adapter }).',
  )
}

/** The option `transactionOptions` of a client; Prisma fills in its defaults. */
export function transactionOptionsOf(client: object): PrismaTransactionOptions {
  const config: unknown = Reflect.get(originalOf(client), '_engineConfig')
  const options: unknown = typeof config === 'object' && config !== null && Reflect.get(config, 'transactionOptions')
  if (typeof options !== 'object' || options === null) return {}
  const { isolationLevel, timeout, maxWait } = options as Readonly<Record<string, unknown>>
  return {
    ...(typeof isolationLevel === 'string' ? { isolationLevel } : {}),
    ...(typeof timeout === 'number' ? { timeout } : {}),
    ...(typeof maxWait === 'number' ? { maxWait } : {}),
  }
}
