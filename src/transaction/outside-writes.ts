/** Writes that happen outside of any transaction, and do not say that they mean it. */
import { NoTransactionError } from '../errors.js'
import { callSite } from './call-site.js'
import { areRequestsServed, watchServedRequests } from './served-requests.js'

/** `allow`: they are stored; `warn`: they are, with a process warning for each place; `refuse`: they fail. */
export type Outside = 'allow' | 'warn' | 'refuse'

/** What is asked about the code that writes. */
interface Surroundings {
  /** Whether it is in a transaction, or has stepped out of one on purpose. */
  readonly isPlaced: boolean
  /** Whether a transaction may still be begun, such as that of a request. */
  readonly isExpecting: boolean
}

/** More places than this are not told of. */
const mostPlaces = 500

/** Those of one datastore. */
export class OutsideWrites {
  readonly #name: string
  readonly #surroundings: Surroundings
  readonly #outside: Outside
  /** Whether they are told of only while requests are served: nobody has set the option. */
  readonly #isByDefault: boolean
  readonly #told = new Set<string>()

  /**
   * @param name - what the datastore is called in messages
   * @param outside - undefined for `warn` while this process serves requests, but in production
   */
  constructor(name: string, surroundings: Surroundings, outside: Outside | undefined) {
    this.#name = name
    this.#surroundings = surroundings
    this.#isByDefault = outside === undefined
    this.#outside = outside ?? (process.env['NODE_ENV'] === 'production' ? 'allow' : 'warn')
    if (this.#isByDefault && this.#outside === 'warn') watchServedRequests()
  }

  /** Whether anything would come of a `check`. */
  get areWatched(): boolean {
    return this.#outside !== 'allow'
  }

  /**
   * To be called for each write that no transaction of the datastore contains.
   *
   * @param attempted - what is written
   * @throws `NoTransactionError` where they are refused
   */
  check(attempted: string): void {
    if (!this.areWatched || this.#surroundings.isPlaced) return
    const isQuiet = this.#isByDefault && !areRequestsServed() && !this.#surroundings.isExpecting
    if (!isQuiet) this.#report(attempted.length > 120 ? `${attempted.slice(0, 117)}...` : attempted)
  }

  #report(attempted: string): void {
    const site = callSite()
    const what = `${attempted}${site === undefined ? '' : ` (${site})`}`
    const name = this.#name
    if (this.#outside === 'refuse') {
      throw new NoTransactionError(`Could not write outside of any transaction of ${name}: ${what}. ${whatToDo}`)
    }
    const place = site ?? attempted
    if (this.#told.has(place) || this.#told.size >= mostPlaces) return
    this.#told.add(place)
    process.emitWarning(
      `Written outside of any transaction of ${name}, so that it is stored at once, whatever comes of the rest: ${what}. ${whatToDo}`,
      { code: 'ES_OUTSIDE' },
    )
  }
}

const whatToDo =
  'In a request: use the middleware of the transactions above the route, for this datastore too; what calls back from a shared ' +
  'queue or connection has lost the transaction, so await it, or bind the callback (AsyncResource.bind). ' +
  'Elsewhere: begin one with datastore.transaction(), or say that it is meant with datastore.outside().'
