/** The handlers of a torture: those that do right, and those that do all that a handler should not. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { ConcurrencyError, type PrismaDatastore } from '../../../src/index.js'
import { Dog, TrainingSchool } from '../../application/dogs.js'
import { Signal } from '../../http/listening.js'
import type { Exchange, Route } from '../../http/servers.js'
import type { TestClient } from '../../prisma/open-database.js'

type Handle = Route['handle']

/** What a client sends. */
interface Sent {
  readonly name: string
  readonly chance: number
}

/** A name that is registered before the run: who registers it again meets a conflict. */
export const takenName = 'taken'

/** On the way to a server, the connection freezes on which this is sent. */
export const freezingSql = "SELECT 'frozen'"

const large = 'x'.repeat(1_000_000)

/** All routes, on one datastore. */
export class TortureRoutes {
  readonly #datastore: PrismaDatastore<TestClient>
  readonly #rival: PrismaDatastore<TestClient>
  readonly #school: TrainingSchool
  #lockedId = 0
  readonly #waiting: Array<() => void> = []

  /** @param rival - another datastore on the same database, which gets into the way */
  constructor(datastore: PrismaDatastore<TestClient>, rival: PrismaDatastore<TestClient>) {
    this.#datastore = datastore
    this.#rival = rival
    this.#school = new TrainingSchool({ name: 'TrainingSchool', datastore })
  }

  async prepare(): Promise<void> {
    await this.#datastore.outside(async () => {
      await this.#school.register(takenName)
      this.#lockedId = (await this.#datastore.client.owner.create({ data: { name: 'Ann', dog: takenName } })).id
    })
    // It calls back from one place for all requests, as a connection to a cache does.
    setInterval(() => {
      for (const call of this.#waiting.splice(0)) call()
    }, 2)
  }

  get routes(): Route[] {
    return [...this.#good(), ...this.#failing(), ...this.#answeringBadly(), ...this.#losing()]
  }

  #good(): Route[] {
    const retried: Handle = async (exchange) => {
      await this.#store(exchange)
      if (this.#datastore.currentTransaction.attempt === 1) throw conflict()
      exchange.send(201)
    }
    const nested: Handle = async (exchange) => {
      const { name } = await this.#store(exchange)
      const undone = this.#datastore.transaction(
        async () => {
          await this.#row(`nested ${name}`)
          throw new Error('undone')
        },
        { propagation: 'nested' },
      )
      await undone.catch(ignore)
      exchange.send(201)
    }
    return [
      route(
        '/created',
        this.#storing((exchange) => exchange.send(201, { made: true })),
      ),
      route(
        '/streamed',
        this.#storing((exchange) => exchange.stream(201, Readable.from(['a', 'b', 'c']))),
      ),
      route(
        '/raw',
        this.#storing((exchange) => exchange.raw().writeHead(201).end('{}')),
      ),
      route(
        '/empty',
        this.#storing((exchange) => exchange.send(204)),
      ),
      route(
        '/large',
        this.#storing((exchange) => exchange.send(201, large)),
      ),
      route('/command', async (exchange) => {
        const { name } = sentBy(exchange)
        await this.#school.register(name)
        await this.#row(name)
        await this.#school.addTrick(name, 'sit')
        exchange.send(201)
      }),
      route('/nested', nested),
      route('/retried', retried, { retries: 3 }),
      route('/read', async ({ send }) => {
        await this.#datastore.client.owner.findFirst()
        await this.#school.getTricks(takenName)
        send(200, {})
      }),
      route('/untouched', async ({ send }) => send(200, {})),
    ]
  }

  #failing(): Route[] {
    const conflicting: Handle = async (exchange) => {
      const { name } = sentBy(exchange)
      await this.#row(name)
      await this.#school.register(takenName)
      exchange.send(201)
    }
    const slow: Handle = async (exchange) => {
      const { name, chance } = sentBy(exchange)
      await this.#school.save(trained(name))
      await delay(chance * 10)
      await this.#row(name)
      await delay((1 - chance) * 10)
      exchange.send(201)
    }
    const late: Handle = async (exchange) => {
      await this.#store(exchange)
      await delay(60)
      exchange.send(201)
    }
    const rejecting: Handle = async (exchange) => {
      await this.#store(exchange)
      await delay(5)
      throw new Error('too late for more')
    }
    const lockWait: Handle = async (exchange) => {
      // By its key: MariaDB locks what is beside a row that is found otherwise.
      const change = { where: { id: this.#lockedId }, data: { name: 'Bea' } }
      const isLocked = new Signal()
      const isOver = new Signal()
      // Elsewhere, since SQLite refuses what would wait for a transaction around it.
      const rival = this.#elsewhere(() =>
        this.#rival.transaction(async ({ client }) => {
          await client.owner.update(change)
          isLocked.give()
          await isOver.given
        }),
      )
      await Promise.race([isLocked.given, rival])
      try {
        await this.#datastore.client.owner.update(change)
      } finally {
        isOver.give()
        await rival
      }
      exchange.send(201)
    }
    const frozen: Handle = async (exchange) => {
      await this.#store(exchange)
      await this.#datastore.client.$queryRawUnsafe(freezingSql)
      // Where there is no network, it is just late.
      await delay(200)
      exchange.send(201)
    }
    return [
      // On SQLite it waits for its turn.
      route('/lock-wait', lockWait, { deadlineMs: 50, maxWaitMs: 50 }),
      route('/frozen', frozen, { deadlineMs: 50 }),
      route('/throws', this.#storing(fail)),
      route('/rejects-late', rejecting),
      route(
        '/refuses',
        this.#storing(({ send }) => send(422, {})),
      ),
      route('/conflict', conflicting),
      route('/conflict-with-retries', conflicting, { retries: 2 }),
      route('/deadline', late, { deadlineMs: 20 }),
      route('/slow', slow),
      route('/finish', slow, { onAbort: 'finish' }),
      route('/swallowed', async (exchange) => {
        const { name } = await this.#store(exchange)
        await this.#row(name).catch(ignore)
        exchange.send(201)
      }),
    ]
  }

  #answeringBadly(): Route[] {
    const sentThenThrows: Handle = async (exchange) => {
      await this.#store(exchange)
      exchange.send(201)
      fail()
    }
    const lateUse: Handle = async (exchange) => {
      const { name } = await this.#store(exchange)
      exchange.send(201)
      await this.#row(`late ${name}`).catch(ignore)
      await this.#school.register(`late ${name}`).catch(ignore)
    }
    return [
      route('/sent-then-throws', sentThenThrows),
      route('/late-use', lateUse),
      route(
        '/destroyed',
        this.#storing(({ raw }) => raw().destroy()),
      ),
      route(
        '/raw-refuses',
        this.#storing(({ raw }) => raw().writeHead(500).end('{}')),
      ),
      route(
        '/never-answered',
        this.#storing(({ raw }) => raw().writeHead(201)),
      ),
      route(
        '/sent-twice',
        this.#storing(({ send }) => [201, 500].forEach((status) => send(status, {}))),
      ),
      route(
        '/refuses-then-sends',
        this.#storing(({ send }) => [500, 201].forEach((status) => send(status, {}))),
      ),
      route(
        '/bad-header',
        this.#storing(({ send }) => send(201, {}, { 'x-name': 'a\nb' })),
      ),
      route(
        '/broken-stream',
        this.#storing(({ raw }) => pipeline(breaking(), raw().writeHead(201)).catch(ignore)),
      ),
    ]
  }

  /** Handlers that lose their transaction, and those that lose a call in it. */
  #losing(): Route[] {
    const calledBack: Handle = async (exchange) => {
      const response = exchange.raw()
      const { req: request } = response
      await new Promise<void>((resolve, reject) => {
        // Where the stream of the request calls from, there is no transaction; who listens to it has one.
        request.once('called back', () => void this.#store(exchange).then(() => resolve(), reject))
        this.#waiting.push(() => request.emit('called back'))
      })
      response.writeHead(201).end('{}')
    }
    const lost: Handle = async (exchange) => {
      await this.#elsewhere(() => this.#store(exchange))
      exchange.send(201)
    }
    const forgottenCall: Handle = async (exchange) => {
      const { name } = await this.#store(exchange)
      void this.#datastore.client.owner.create({ data: { name: 'Ann', dog: `forgotten ${name}` } })
      exchange.send(201)
    }
    const forgottenCommand: Handle = async (exchange) => {
      const { name } = sentBy(exchange)
      void this.#school.save(trained(name))
      await this.#row(name)
      exchange.send(201)
    }
    return [
      route('/called-back', calledBack),
      route('/lost', lost),
      route('/forgotten-call', forgottenCall),
      route('/forgotten-command', forgottenCommand),
    ]
  }

  /** Runs work outside of the request. */
  async #elsewhere<T>(work: () => Promise<T>): Promise<T> {
    return await new Promise<T>((resolve, reject) => this.#waiting.push(() => void work().then(resolve, reject)))
  }

  /** A handler that stores its row and its events, and then answers. */
  #storing(answer: (exchange: Exchange) => unknown): Handle {
    return async (exchange) => {
      await this.#store(exchange)
      answer(exchange)
    }
  }

  async #store(exchange: Exchange): Promise<Sent> {
    const sent = sentBy(exchange)
    await this.#school.save(trained(sent.name))
    await this.#row(sent.name)
    return sent
  }

  async #row(dog: string): Promise<void> {
    await this.#datastore.client.owner.create({ data: { name: 'Ann', dog } })
  }
}

function route(path: string, handle: Handle, transaction?: Exclude<Route['transaction'], false>): Route {
  return { method: 'POST', path, handle, ...(transaction === undefined ? {} : { transaction }) }
}

function sentBy({ body }: Exchange): Sent {
  return { name: String(body['name']), chance: Number(body['chance']) }
}

function trained(name: string): Dog {
  const dog = new Dog(name)
  dog.addTrick('sit')
  return dog
}

async function* breaking(): AsyncGenerator<string> {
  yield 'the first part'
  await delay(1)
  fail()
}

function fail(): never {
  throw new Error('the handler fails')
}

function conflict(): ConcurrencyError {
  return new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })
}

function ignore(): void {}
