/** The shape of a generated PrismaClient, whichever generator and extensions made it; nothing here imports one. */

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

/** Whether the `$transaction` of a client is Prisma's, and not one that has been put before it, with limits of its own, say. */
export function hasOriginalTransactions(client: PrismaClientLike): boolean {
  let original: unknown
  // Prisma's class is the last one; a client itself, being a proxy, hides of which class it is.
  const { constructor } = client as { readonly constructor?: { readonly prototype?: unknown } }
  let prototype = constructor?.prototype
  while (typeof prototype === 'object' && prototype !== null) {
    if (Object.hasOwn(prototype, '$transaction')) original = Reflect.get(prototype, '$transaction')
    prototype = Reflect.getPrototypeOf(prototype)
  }
  return Reflect.get(client, '$transaction') === original
}
