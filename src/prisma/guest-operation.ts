/** A call on a PrismaClient that is carried out by the guest client when it is awaited. */
import { ProgrammingError } from '../errors.js'

/** Property by property, what was called: `db.owner.findUnique({…}).toys()` is three steps. */
export interface Step {
  readonly property: string
  /** Undefined for a property that was only read. */
  readonly args?: readonly unknown[]
}

/** Carries out one operation on the guest client, opening the guest at its first use. */
export type OnGuest = (operation: (client: object) => unknown) => Promise<unknown>

const operations = new WeakMap<object, readonly Step[]>()

/**
 * Makes an operation that behaves as Prisma's do: it starts when it is awaited, runs once however often it is awaited,
 * can go on to a relation, and can be an element of `$transaction([…])`.
 */
export function guestOperation(onGuest: OnGuest, steps: readonly Step[]): object {
  let result: Promise<unknown> | undefined
  const run = (): Promise<unknown> => (result ??= onGuest((client) => replay(client, steps)))
  const operation = new Proxy(Object.create(null) as object, {
    get(_target, property) {
      switch (property) {
        case 'then':
          return (...handlers: Parameters<Promise<unknown>['then']>) => run().then(...handlers)
        case 'catch':
          return (...handlers: Parameters<Promise<unknown>['catch']>) => run().catch(...handlers)
        case 'finally':
          return (...handlers: Parameters<Promise<unknown>['finally']>) => run().finally(...handlers)
        case Symbol.toStringTag:
          return 'PrismaPromise'
        case 'requestTransaction':
          return refuse
        default:
          if (typeof property === 'symbol') return undefined
          return (...args: unknown[]) => guestOperation(onGuest, [...steps, { property, args }])
      }
    },
  })
  operations.set(operation, steps)
  return operation
}

/** Turns operations that were made in a transaction into operations of its guest client; leaves others as they are. */
export function asGuestOperation(client: object, operation: unknown): unknown {
  const steps = typeof operation === 'object' && operation !== null ? operations.get(operation) : undefined
  return steps === undefined ? operation : replay(client, steps)
}

function replay(client: object, steps: readonly Step[]): unknown {
  let value: unknown = client
  for (const { property, args } of steps) {
    // Prisma's clients are proxies: what they have shows only when it is asked for.
    const owner = value as Record<string, unknown>
    const member = owner[property]
    value = args === undefined ? member : (member as (...args: unknown[]) => unknown).apply(owner, [...args])
  }
  return value
}

function refuse(): never {
  throw new ProgrammingError(
    'An operation that was made inside a transaction was given to the $transaction of a client that is not in it. Use datastore.client (or tx.client) for both.',
  )
}
