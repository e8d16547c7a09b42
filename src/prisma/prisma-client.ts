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

/** Whether a client comes from `$extends`: Prisma takes `$on` from it. */
export function isExtended(client: PrismaClientLike): boolean {
  return !('$on' in client) || typeof client.$on !== 'function'
}
