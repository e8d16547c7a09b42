/** The head of a response, who decides about it, and whether anybody waits for it. */
import type { ServerResponse } from 'node:http'
import { PartialCommitError } from '../src/index.js'

type HeaderValue = ReturnType<ServerResponse['getHeader']>

/** Goes back to what a response was, when what became of it is dropped. */
export class ResponseHead {
  readonly #response: ServerResponse
  /** Beside each other, without an object of them: few responses have many this early, and few are taken back. */
  readonly #namesBefore: readonly string[]
  readonly #valuesBefore: readonly HeaderValue[]
  readonly #statusBefore: number
  /** HTTP/2 has no status messages, and Node warns whoever looks at one. */
  readonly #hasMessage: boolean

  constructor(response: ServerResponse) {
    this.#response = response
    this.#namesBefore = response.getHeaderNames()
    this.#valuesBefore = this.#namesBefore.map((name) => copyOf(response.getHeader(name)))
    this.#statusBefore = response.statusCode
    this.#hasMessage = response.req.httpVersionMajor !== 2
  }

  /** Empty where nobody has set one. */
  get message(): string {
    // Typed as always there; it is not before somebody sets it.
    return this.#hasMessage ? (this.#response.statusMessage ?? '') : ''
  }

  setStatus(status: number, message: string): void {
    this.#response.statusCode = status
    if (this.#hasMessage && this.#response.statusMessage !== message) this.#response.statusMessage = message
  }

  /** Takes back the status, the headers and the trailers that were set since the beginning. */
  restore(): void {
    const response = this.#response
    if (hasUnsentHead(response)) takeBackHead(response)
    for (const name of response.getHeaderNames()) if (!this.#namesBefore.includes(name)) response.removeHeader(name)
    for (const [index, name] of this.#namesBefore.entries()) {
      const value = this.#valuesBefore[index]
      if (value !== undefined && response.getHeader(name) !== value) response.setHeader(name, copyOf(value))
    }
    // HTTP/1 begins them anew with each call; HTTP/2 cannot take one back.
    if (this.#hasMessage) response.addTrailers({})
    this.setStatus(this.#statusBefore, '')
  }
}

/** Who appends to a header with several values adds to the array of those. */
export function copyOf<Value>(value: Value | string[]): Value | string[] {
  return Array.isArray(value) ? [...value] : value
}

/** Whether `writeHead` was called, and nothing after it: Node keeps the head for the first byte of the body. */
export function hasUnsentHead(response: ServerResponse): boolean {
  return response.headersSent && Reflect.get(response, '_headerSent') === false
}

/** Node has no method for that; these are the fields in which it keeps what it has not sent (from 0.x to 24). */
function takeBackHead(response: ServerResponse): void {
  Reflect.set(response, '_header', null)
  // Chosen for a body whose length was not known, and for a status that has none; the next one may be another.
  response.chunkedEncoding = false
  Reflect.set(response, '_hasBody', response.req.method !== 'HEAD')
}

/** Who decides about a response. */
export interface ResponseOwner {
  /** What it is called in messages. */
  readonly name: string
  /**
   * Is asked at the first call that would send something. The response leaves when all have resolved and is dropped when one
   * rejects.
   *
   * @returns whether something has been committed
   */
  settle(status: number, isStream: boolean): Promise<boolean>
  /** Undoes what is not committed. Never rejects. */
  rollBack(): Promise<void>
  /** Runs `fn`, and all that it calls, inside the transaction. */
  run<T>(fn: () => T): T
  /** Whether nothing can come of another attempt: the request was answered, or its client has gone away. */
  readonly isOver: boolean
  /** Whether something was done in the transaction. */
  readonly isUsed: boolean
  /** Runs the handler again, after an attempt that came to nothing; undefined where it cannot be run again. */
  readonly rerun: (() => void) | undefined
  /** Begins another attempt, where the failure may pass. @returns whether the handler is to be run again */
  again(error: unknown): Promise<boolean>
  /** Begins another attempt, since another owner does. */
  join(): void
  /** Claims the idempotency key of the request, where it has one. @returns whether the handler is to be run */
  claim(): Promise<boolean>
  /** The response was dropped: another one is to be sent. */
  dropped(error: unknown): void
}

/** Why a response is dropped, and who sees to another one. */
interface Refusal {
  readonly owner: ResponseOwner
  readonly error: unknown
}

/** The owners of one response. */
export class ResponseOwners {
  /** By the datastore, so that who takes another's place takes its turn as well; undefined for one that has left. */
  readonly #owners = new Map<object, ResponseOwner | undefined>()

  /** @param datastore - whose transaction the owner is */
  add(datastore: object, owner: ResponseOwner): void {
    this.#owners.set(datastore, owner)
  }

  /** The owner of this datastore decides no more. */
  remove(datastore: object): void {
    this.#owners.set(datastore, undefined)
  }

  /** Those that have not left, in the order in which they were registered. */
  get all(): readonly ResponseOwner[] {
    return [...this.#owners.values()].filter((owner) => owner !== undefined)
  }

  /** Runs `fn` inside the transactions of all of them. */
  run<T>(fn: () => T): T {
    return this.all.reduceRight((inner, owner) => () => owner.run(inner), fn)()
  }

  /** @returns whether the handler is to be run, as all of them say */
  async claim(): Promise<boolean> {
    for (const owner of this.all) if (!(await owner.claim())) return false
    return true
  }

  /** Whether something was done in the transaction of one of them. */
  get areUsed(): boolean {
    return this.all.some(({ isUsed }) => isUsed)
  }

  /**
   * Ends the transactions one after the other. The first that fails is the last that is tried: those after it are rolled back.
   *
   * @returns why the response is to be dropped, undefined when it is to leave
   */
  async settle(status: number, isStream: boolean): Promise<Refusal | undefined> {
    const owners = this.all
    const committed: string[] = []
    for (const [index, owner] of owners.entries()) {
      try {
        if (await owner.settle(status, isStream)) committed.push(owner.name)
      } catch (error) {
        const others = owners.slice(index + 1)
        for (const other of others) await other.rollBack()
        const rolledBack = others.map(({ name }) => name)
        return {
          owner,
          error: committed.length === 0 ? error : partial(error, { committed, failed: owner.name, rolledBack }),
        }
      }
    }
    return undefined
  }
}

function partial(
  cause: unknown,
  names: { readonly committed: string[]; readonly failed: string; readonly rolledBack: string[] },
): PartialCommitError {
  return new PartialCommitError(
    `The request is stored in part: ${names.committed.join(', ')} has committed, and ${names.failed} could not, as its cause says. ` +
      'Nothing takes back what is committed: repeat what is missing, or undo what is there.',
    { ...names, cause },
  )
}

/** The client has gone away. */
export function goneAway(): Error {
  return new DOMException('The client closed the connection before it was answered.', 'AbortError')
}

/**
 * Why nobody waits for the answer of a request whose transaction is about to begin: no event tells of what has happened before.
 *
 * @param isOpen - whether nothing of a response is there
 * @returns undefined when somebody does
 */
export function whyNobodyWaits(response: ServerResponse, isOpen: boolean): Error | undefined {
  if (!isOpen) return new DOMException('The request had been answered before its transaction.', 'AbortError')
  return isDeserted(response) ? goneAway() : undefined
}

/** Whether a transaction of a request would come too late: it is answered, in part at least, or nobody waits for that. */
export function isPast(response: ServerResponse): boolean {
  return (response.headersSent && !hasUnsentHead(response)) || isDeserted(response)
}

/** A response that waits behind another one on its connection has no `close` when that is gone. */
function isDeserted(response: ServerResponse & { readonly stream?: { readonly destroyed: boolean } }): boolean {
  const { stream } = response
  // A response of HTTP/2 has no `destroyed` of its own.
  if (stream !== undefined) return stream.destroyed
  // Where a server is asked without a network, there may be no socket.
  const { socket } = response.req as { readonly socket?: { readonly destroyed?: boolean } }
  return response.destroyed || socket?.destroyed === true
}
