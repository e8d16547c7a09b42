/** A second client like the user's, on the same connections and in the same transactions, whose tables are elsewhere. */
import { ProgrammingError } from '../errors.js'
import { type AdapterHost, JoiningAdapterFactory } from './adapter.js'
import type { PrismaDatastoreOptions } from './datastore-options.js'
import { JoiningClients } from './joining-clients.js'
import { isPrismaClient, type PrismaClientLike } from './prisma-client.js'
import { ShadowAdapterFactory } from './shadow-adapter.js'

/** What a shadow's client needs of its datastore. */
export interface ShadowClientHost extends AdapterHost {
  readonly clients: JoiningClients
  /** The user's client. */
  bound(): PrismaClientLike | undefined
}

type Options<Client extends object> = Pick<
  PrismaDatastoreOptions<Client>,
  'adapter' | 'client' | 'deadlineMs' | 'maxWaitMs'
>

/** What makes such clients; undefined where the datastore was not told how to make one. */
export function newShadowClient<Client extends object>(
  options: Options<Client>,
  host: ShadowClientHost,
): ((shadow: string, quoted: string) => ShadowClient) | undefined {
  const { client: newClient } = options
  if (newClient === undefined) return undefined
  return (shadow, quoted) => {
    const joining = new JoiningClients(host.transactions, options)
    const inner = new JoiningAdapterFactory(options.adapter, { ...host, guestOpening: joining.opening })
    const adapter = new ShadowAdapterFactory(inner, { schema: shadow, quoted })
    return new ShadowClient({ host, joining, adapter, client: newClient(adapter) })
  }
}

interface ShadowParts {
  readonly host: ShadowClientHost
  readonly joining: JoiningClients
  readonly adapter: ShadowAdapterFactory
  readonly client: object
}

interface ModelDelegate {
  findFirst(): PromiseLike<unknown>
}

/** The client of one shadow. */
export class ShadowClient {
  readonly #parts: ShadowParts
  readonly #ambient: object

  constructor(parts: ShadowParts) {
    this.#parts = parts
    const { client, joining } = parts
    if (!isPrismaClient(client)) throw new ProgrammingError('The option `client` of the datastore has made no client.')
    this.#ambient = joining.join(client)
  }

  /** Runs work whose calls of the user's client are made on this one. */
  async within<T>(work: () => Promise<T>): Promise<T> {
    const { host } = this.#parts
    const base = host.bound()
    if (base === undefined) throw new ProgrammingError('The datastore has no client.')
    return await host.clients.redirect({ base, client: this.#ambient }, work)
  }

  /**
   * The statement by which Prisma reads a model: it tells the table.
   *
   * @throws `ProgrammingError` where the client has no such model
   */
  async statementOf(model: string): Promise<string> {
    const { client, adapter } = this.#parts
    const delegate: unknown = Reflect.get(client, `${model.charAt(0).toLowerCase()}${model.slice(1)}`)
    if (!isDelegate(delegate)) {
      throw new ProgrammingError(`Could not make a shadow of the model '${model}': the client has none of that name.`)
    }
    const [sql = ''] = await adapter.statementsOf(async () => await delegate.findFirst())
    return sql
  }

  /** Ends it; the connections stay. */
  async close(): Promise<void> {
    const { joining, client } = this.#parts
    await joining.close()
    const disconnect: unknown = Reflect.get(client, '$disconnect')
    if (typeof disconnect === 'function') await Reflect.apply(disconnect, client, [])
  }
}

function isDelegate(value: unknown): value is ModelDelegate {
  return typeof value === 'object' && value !== null && 'findFirst' in value && typeof value.findFirst === 'function'
}
