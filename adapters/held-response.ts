/** Holds what a handler sends until the transactions have ended that decide about it: status line, headers and body leave after that, or never. */
import type { ServerResponse } from 'node:http'
import { PartialCommitError, ProgrammingError } from '../src/index.js'
import {
  assertChunk,
  assertHead,
  hasUnsentHead,
  headersIn,
  headersSentError,
  type ResponseHead,
  type SendingCall,
  tellUnsent,
  type WholeResponse,
} from './response-parts.js'

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
    const committed: ResponseOwner[] = []
    for (const [index, owner] of owners.entries()) {
      try {
        if (await owner.settle(status, isStream)) committed.push(owner)
      } catch (error) {
        const others = owners.slice(index + 1)
        for (const other of others) await other.rollBack()
        const refused = committed.length === 0 ? error : partial(error, { committed, failed: owner, others })
        return { owner, error: refused }
      }
    }
    return undefined
  }
}

function partial(
  cause: unknown,
  owners: { readonly committed: ResponseOwner[]; readonly failed: ResponseOwner; readonly others: ResponseOwner[] },
): PartialCommitError {
  const namesOf = (list: readonly ResponseOwner[]): string[] => list.map(({ name }) => name)
  const failed = owners.failed.name
  const names = { committed: namesOf(owners.committed), failed, rolledBack: namesOf(owners.others) }
  return new PartialCommitError(
    `The request is stored in part: ${names.committed.join(', ')} has committed, and ${names.failed} could not, as its cause says. ` +
      'Nothing takes back what is committed: repeat what is missing, or undo what is there.',
    { ...names, cause },
  )
}

type Method = (...args: unknown[]) => unknown
type Sending = SendingCall['method']

const sending: readonly Sending[] = ['writeHead', 'write', 'end', 'flushHeaders']
/** What Node's own methods send a head by; HTTP/2 has none. */
const implicitHead = '_implicitHeader'
const ofHeaders = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader'] as const
type OfHeaders = (typeof ofHeaders)[number]

/** Stands before the methods of a response that send something. Works for HTTP/1 and for Node's compatible HTTP/2 responses. */
export class HeldResponse {
  readonly owners: ResponseOwners = new ResponseOwners()
  /** Set where the owners are asked when all of the response is there, up to a limit. */
  whole: WholeResponse | undefined
  readonly #response: ServerResponse
  /** What others have put on the response before; the rest comes from its prototype. */
  #ownBefore: Map<string, Method> | undefined
  readonly #head: ResponseHead
  #state: 'open' | 'holding' | 'passing' | 'over' = 'open'
  #calls: SendingCall[] = []
  /** Whether a head counts as sent. Like the next one it is read often, so it is a field: only this class writes it. */
  hasHead = false
  /** Whether the end counts as sent. */
  hasEnded = false
  #wasDropped = false
  #mustDrain = false
  #heldBytes = 0
  /** Changes when a response is dropped, so that who still writes it cannot write into the next one. */
  #turn = 0

  private constructor(response: ServerResponse, head: ResponseHead) {
    this.#response = response
    this.#head = head
    // A response that has begun is not to be held any more.
    if (response.headersSent && !hasUnsentHead(response)) this.#state = 'passing'
    else this.hasHead = response.headersSent
    for (const [name, method] of methods) {
      // What a response has under these names are methods.
      if (Object.hasOwn(response, name))
        (this.#ownBefore ??= new Map()).set(name, Reflect.get(response, name) as Method)
      if (name in response) Reflect.set(response, name, method)
    }
    ;(response as Held)[heldBy] = this
    Object.defineProperties(response, views)
  }

  /**
   * Lets an owner decide about a response.
   *
   * @param datastore - whose transaction the owner is; another owner of the same datastore is replaced
   * @param head - what it was before; what is piped into it has been watched since then
   */
  static hold(response: ServerResponse, datastore: object, owner: ResponseOwner, head: ResponseHead): HeldResponse {
    const held = (response as Partial<Held>)[heldBy] ?? new HeldResponse(response, head)
    held.owners.add(datastore, owner)
    return held
  }

  /** Whether nobody has asked yet to send anything. */
  get isOpen(): boolean {
    return this.#state === 'open' && this.whole?.hasBegun !== true
  }

  /** What would send the response. */
  get calls(): readonly SendingCall[] {
    return this.#calls
  }

  /** Whether a response is there and waits for the end of the transactions. */
  get isSettling(): boolean {
    return this.#state === 'holding'
  }

  /** Whether the answer in place of a dropped response is complete: what is sent now is lost. */
  get isOver(): boolean {
    return this.#state === 'over'
  }

  /** Forgets what was sent so far, and takes back the status and the headers that were set since the beginning. */
  drop(): void {
    const response = this.#response
    this.#turn += 1
    for (const { args } of this.#calls) tellUnsent(args)
    this.#calls = []
    this.#state = 'open'
    this.hasHead = this.hasEnded = this.#mustDrain = false
    this.#heldBytes = 0
    this.whole?.clear()
    this.#wasDropped = true
    // From here on the methods are ours alone: what others have put around them was for the response that is gone.
    const turn = this.#turn
    for (const name of sending) Reflect.set(response, name, (...args: unknown[]) => this.send(name, turn, args))
    this.#head.restore()
  }

  /** Answers past everybody else, where the framework cannot. */
  answer(status: number, headers: Readonly<Record<string, string>>, body: string): void {
    if (!this.isOpen) this.drop()
    const response = this.#response
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    this.#head.setStatus(status, '')
    this.#state = 'passing'
    response.end(body)
    this.#finish()
  }

  /** What is sent from here on is lost. */
  #finish(): void {
    this.#state = 'over'
    this.hasHead = this.hasEnded = true
  }

  /** @param turn - in which the method was taken from the response */
  send(method: Sending, turn: number, args: unknown[]): unknown {
    if (turn !== this.#turn || this.#state === 'over') {
      tellUnsent(args)
      return method === 'write' ? true : this.#response
    }
    if (this.#state === 'passing') {
      const result = this.#call(method, args)
      // Who still works on a response that was dropped must not disturb the one that was sent in its place.
      if (method === 'end' && this.#wasDropped) this.#finish()
      return result
    }
    // A second end is nothing to wait for, as in Node; neither is what comes after it.
    if (this.hasEnded) return method === 'write' ? false : this.#response
    return method === 'writeHead' ? this.#holdHead(args) : this.#hold(method, args)
  }

  #hold(method: Exclude<Sending, 'writeHead'>, args: unknown[]): unknown {
    if (method === 'flushHeaders') {
      // Middlewares still change the head of what is sent as a whole.
      if (this.whole !== undefined) return this.#response
      // As Node does it: a middleware that compresses learns by this that there is a body to compress.
      if (!this.hasHead) this.#response.writeHead(this.#response.statusCode)
    }
    assertChunk(method, args)
    if (!this.hasHead) assertHead([this.#response.statusCode, this.#head.message])
    this.#calls.push({ method, args })
    this.hasEnded = method === 'end'
    if (this.#state === 'open' && this.whole?.waitsAfter(method, args) === true) {
      this.hasHead = true
      return method === 'write' ? true : this.#response
    }
    if (this.#state === 'open') void this.#settle(method !== 'end', this.#head.message)
    return method === 'write' ? this.#hasRoomFor(args[0]) : this.#response
  }

  /**
   * Who writes much is to wait for `drain`: a large body is not to be kept in memory. Who writes little goes on, as in Node: a
   * compressor before ours emits `drain` by itself, and only for more than that.
   */
  #hasRoomFor(chunk: unknown): boolean {
    // What is written is text or bytes.
    this.#heldBytes += (chunk as string | Uint8Array).length
    if (this.#heldBytes < this.#response.writableHighWaterMark) return true
    this.#mustDrain = true
    return false
  }

  /** Nothing leaves by this alone. */
  #holdHead(args: unknown[]): unknown {
    const [status] = args
    if (this.hasHead) {
      // Middlewares that change bodies ask for the implicit head again and again.
      if (args.length === 1) return this.#response
      throw headersSentError('write')
    }
    assertHead(typeof args[1] === 'string' ? args : [status, this.#head.message, ...args.slice(1)])
    this.#calls.push({ method: 'writeHead', args })
    this.hasHead = true
    this.#response.statusCode = Number(status)
    return this.#response
  }

  /** Asks the owners, and releases the response or drops it. */
  async #settle(isStream: boolean, message: string): Promise<void> {
    const { statusCode } = this.#response
    const turn = this.#turn
    this.#state = 'holding'
    this.hasHead = true
    const refusal = await this.owners.settle(statusCode, isStream)
    // Dropped meanwhile, and perhaps another response is under way.
    if (turn !== this.#turn) return
    if (refusal === undefined) return this.#release(statusCode, message)
    this.drop()
    refusal.owner.dropped(refusal.error)
  }

  #release(status: number, message: string): void {
    const calls = this.#calls
    this.#calls = []
    this.hasHead = this.hasEnded = false
    this.#state = 'passing'
    this.#stepAside()
    // Whoever has set another status since then was too late.
    this.#head.setStatus(status, message)
    let isFull = false
    try {
      for (const { method, args } of calls) isFull = this.#call(method, args) === false
    } catch (error) {
      process.emitWarning(`A response could not be sent after its transaction had ended. ${String(error)}`, {
        code: 'ES_RESPONSE_UNSENT',
      })
      this.#response.destroy()
    }
    if (this.#wasDropped && calls.at(-1)?.method === 'end') this.#finish()
    if (this.#mustDrain && !isFull) this.#response.emit('drain')
  }

  /** From here on the methods of Node do: those of ours would only pass on what they are called with. Not after a response that was dropped. */
  #stepAside(): void {
    if (this.#wasDropped) return
    const response = this.#response
    for (const [name, method] of methods) {
      // Others may have put theirs around it.
      if (Reflect.get(response, name) !== method) continue
      Reflect.set(response, name, this.#ownBefore?.get(name) ?? Reflect.get(Object.getPrototypeOf(response), name))
    }
  }

  /** Changes a header of a response that is held: where its head was written with headers, among those. */
  amend(name: string, change: (known: unknown) => string | string[]): void {
    const index = this.#calls.findIndex(({ method }) => method === 'writeHead')
    const [status, message] = this.#calls[index]?.args ?? []
    const given = headersIn(this.#calls[index]?.args ?? [])
    // Node takes a head that is whole as it is; with one header that was set before, it sets all the others by their names.
    if (given.length === 0) {
      this.#call('setHeader', [name, change(this.#response.getHeader(name))])
      return
    }
    const headers: unknown[] = []
    let known: unknown[] | undefined
    for (const [each, value] of given) {
      if (each.toLowerCase() === name) (known ??= []).push(value)
      else headers.push(each, value)
    }
    headers.push(name, change(known === undefined ? this.#response.getHeader(name) : known.flat()))
    const args = typeof message === 'string' ? [status, message, headers] : [status, headers]
    this.#calls[index] = { method: 'writeHead', args }
  }

  /** Refuses a change that comes too late, as Node does. */
  changeHeaders(method: OfHeaders, args: unknown[]): unknown {
    if (this.#state === 'over') return this.#response
    if (this.hasHead) throw headersSentError(method === 'removeHeader' ? 'remove' : 'set')
    return this.#call(method, args)
  }

  /** @throws `ProgrammingError` when a method of Node that was taken from the response before it was held is to send it */
  sendImplicitHead(): void {
    if (this.#state === 'open' || this.#state === 'holding') {
      // What was set for it is not for the answer of the error handlers.
      if (this.#state === 'open') this.drop()
      throw new ProgrammingError(
        'Could not hold the response for its transaction: a middleware sends it by a method that it took from the response ' +
          'before the first use of the database. Use that middleware before the one of the transactions.',
      )
    }
    this.#call(implicitHead, [])
  }

  #call(method: Sending | OfHeaders | typeof implicitHead, args: readonly unknown[]): unknown {
    const response = this.#response
    const original = this.#ownBefore?.get(method) ?? Reflect.get(Object.getPrototypeOf(response), method)
    return Reflect.apply(original as Method, response, args)
  }
}

const heldBy: unique symbol = Symbol('held by')

/**
 * What is put on every response: the same functions for all, since V8 would make a hidden class for each response that has
 * functions of its own.
 */
const methods = new Map<string, Method>([
  [implicitHead, sendImplicitHead],
  ...sending.map((name) => [name, sendingMethod(name)] as const),
  ...ofHeaders.map((name) => [name, headerMethod(name)] as const),
])
const views: PropertyDescriptorMap = {
  headersSent: view('headersSent', (held) => held.hasHead),
  writableEnded: view('writableEnded', (held) => held.hasEnded),
}

/** A response that has the functions below, which nobody but `HeldResponse` puts there. */
interface Held extends ServerResponse {
  [heldBy]: HeldResponse
}

function sendingMethod(name: Sending): Method {
  return function (this: Held, ...args) {
    return this[heldBy].send(name, 0, args)
  }
}

function sendImplicitHead(this: Held): void {
  this[heldBy].sendImplicitHead()
}

function headerMethod(name: OfHeaders): Method {
  return function (this: Held, ...args) {
    return this[heldBy].changeHeaders(name, args)
  }
}

/** What is held counts as sent for those who look before they send something else. */
function view(name: string, isHeld: (held: HeldResponse) => boolean): PropertyDescriptor {
  function get(this: Held): unknown {
    return isHeld(this[heldBy]) || Reflect.get(Object.getPrototypeOf(this), name, this)
  }
  return { get, configurable: true, enumerable: false }
}
