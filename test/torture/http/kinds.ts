/** The requests of a torture: how each kind is sent, and what may come of it. */

/**
 * How a client sends its request and reads the answer:
 *
 * - `plain`: to its end;
 * - `abort`: closes the connection at a random moment;
 * - `half`: closes it in the middle of the body;
 * - `slow`: reads the answer part by part, with pauses;
 * - `cut`: closes the connection after the first part of the answer;
 * - `pipelined`: together with a second request, on one connection;
 * - `oversized`, `invalid`, `garbage`: sends what no server takes.
 */
export type Sending = 'plain' | 'abort' | 'half' | 'slow' | 'cut' | 'pipelined' | 'oversized' | 'invalid' | 'garbage'

/** One kind of request. */
export interface RequestKind {
  readonly path: string
  readonly sending: Sending
  /** What the client may be answered; undefined for no answer. */
  readonly statuses: ReadonlyArray<number | undefined>
  /** Whether it may leave its row and its events behind. */
  readonly stores: boolean
  /** Whether the server may close the connection after it: no other request is sent there then. */
  readonly closes: boolean
}

const kind = (
  path: string,
  statuses: RequestKind['statuses'],
  { sending = 'plain', stores = statuses.includes(201), closes = sending !== 'plain' }: Partial<RequestKind> = {},
): RequestKind => ({ path, sending, statuses, stores, closes })

/** Those that are to succeed. */
const goodKinds: readonly RequestKind[] = [
  kind('/created', [201]),
  kind('/command', [201]),
  kind('/nested', [201]),
  kind('/streamed', [201]),
  kind('/raw', [201]),
  kind('/empty', [204], { stores: true }),
  kind('/retried', [201]),
  kind('/called-back', [201]),
  kind('/read', [200]),
  kind('/untouched', [200]),
]

/** Those that are not, or whose client misbehaves. */
const hostileKinds: readonly RequestKind[] = [
  kind('/throws', [500]),
  kind('/rejects-late', [500]),
  kind('/refuses', [422]),
  kind('/conflict', [409]),
  kind('/conflict-with-retries', [409]),
  kind('/raw-refuses', [500]),
  // Under a test runner, an escape that is found in time makes the commit fail.
  kind('/late-use', [201, 500]),
  // The same of what was never awaited: in an application it may have ended in time.
  kind('/forgotten-call', [500]),
  kind('/forgotten-command', [201, 500]),
  kind('/lost', [500]),
  kind('/nowhere', [404]),
  // What a failed statement leaves behind depends on the database.
  kind('/swallowed', [201, 500]),
  kind('/deadline', [503], { closes: true }),
  // Another transaction has the lock, or the network lets nothing through any more.
  kind('/lock-wait', [503], { closes: true }),
  kind('/frozen', [503], { closes: true }),
  kind('/bad-header', [500], { closes: true }),
  kind('/destroyed', [undefined], { closes: true }),
  // Express closes the connection of a handler that fails after it has answered, be it before the answer has left.
  kind('/sent-then-throws', [201, 500, undefined], { closes: true }),
  kind('/sent-twice', [201, 500, undefined], { closes: true }),
  kind('/refuses-then-sends', [500, undefined], { closes: true }),
  // The stream breaks while its response is held, or later.
  kind('/broken-stream', [201, 500, undefined], { closes: true }),
  kind('/never-answered', [undefined], { sending: 'abort' }),
  kind('/created', [201, undefined], { sending: 'abort' }),
  kind('/slow', [201, undefined], { sending: 'abort' }),
  kind('/finish', [201, undefined], { sending: 'abort' }),
  kind('/streamed', [201, undefined], { sending: 'abort' }),
  kind('/created', [undefined], { sending: 'half', stores: false }),
  kind('/large', [201], { sending: 'slow' }),
  kind('/large', [201], { sending: 'cut' }),
  kind('/created', [201], { sending: 'pipelined' }),
  // The connection may break while the body is still being sent.
  kind('/created', [413, undefined], { sending: 'oversized' }),
  kind('/created', [400], { sending: 'invalid' }),
  kind('/created', [400], { sending: 'garbage' }),
]

/** A request as the clients know it. */
export interface PlannedRequest {
  /** Unlike any other's: what it stores is found by it. */
  readonly name: string
  readonly kind: RequestKind
  readonly isGood: boolean
  /** From 0 up to 1: what is random in how it is sent and served. */
  readonly chance: number
}

/** In Hono there is nothing to write to below the framework, and an app chooses itself what limits bodies. */
const notInHono: readonly string[] = ['/raw', '/called-back', '/destroyed']
const isInHono = ({ path, sending }: RequestKind): boolean => !notInHono.includes(path) && sending !== 'oversized'

/** As many good requests as hostile ones, shuffled, as the random numbers say. */
export function planRequests(count: number, random: () => number, framework: string): PlannedRequest[] {
  const chosen = (kinds: readonly RequestKind[]): readonly RequestKind[] =>
    framework.startsWith('Hono') ? kinds.filter(isInHono) : kinds
  const [good, hostile] = [chosen(goodKinds), chosen(hostileKinds)]
  const planned: PlannedRequest[] = []
  const add = (isGood: boolean): void => {
    const kinds = isGood ? good : hostile
    const picked = kinds[Math.floor(random() * kinds.length)]
    if (picked === undefined) throw new Error('a random number was not below 1')
    planned.push({ name: `${isGood ? 'good' : 'hostile'} ${planned.length}`, kind: picked, isGood, chance: random() })
  }
  for (let n = 0; n < count; n += 1) {
    const goodFirst = random() < 0.5
    add(goodFirst)
    add(!goodFirst)
  }
  return planned
}
