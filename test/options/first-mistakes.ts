/** What people write in their first hour, with the message that they get: docs/first-mistakes.md is made of it. */
import { PrismaLibSql } from '@prisma/adapter-libsql'
import fastify from 'fastify'
import { transactions as middleware } from '../../adapters/express.js'
import { transactions } from '../../adapters/fastify.js'
import {
  Aggregate,
  Application,
  defineDecider,
  defineProjection,
  event,
  PrismaDatastore,
  ProjectionRunner,
} from '../../src/index.js'
import { withRollback } from '../../src/testing/index.js'
import { PrismaClient } from '../support/generated/sqlite/client.js'

/** One of them. */
export interface FirstMistake {
  /** As it is written. */
  readonly code: string
  /** Does that. */
  readonly run: () => unknown
  readonly message: string
}

@event('Registered', 'name')
class Dog extends Aggregate {
  readonly name: string
  constructor(name: string) {
    super()
    this.name = name
  }
}

class Dogs extends Application {}

/** What JavaScript takes, or what came as `any`. */
// oxlint-disable-next-line typescript/no-explicit-any -- the compiler would refuse most of them
type Untyped = any

const untyped = (value: unknown): Untyped => value

const adapter = new PrismaLibSql({ url: 'file::memory:' })
const prisma = new PrismaClient({ adapter: new PrismaLibSql({ url: 'file::memory:' }) })
const datastore = new PrismaDatastore({ adapter, client: (own) => new PrismaClient({ adapter: own }) })
const dogs = new Dogs({ store: 'memory' })
const id: Untyped = undefined

const makeDatastore = 'new PrismaDatastore({ adapter, client: (adapter) => new PrismaClient({ adapter }) })'
const whereDatastores =
  'Fastify: fastify.register(transactions, { datastore }); Express: app.use(transactions(datastore)).'

const setUp: readonly FirstMistake[] = [
  {
    code: 'new Dogs({ datastor })',
    run: () => new Dogs(untyped({ datastor: datastore })),
    message: 'Could not set up the application Dogs: there is no option `datastor`; did you mean `datastore`?',
  },
  {
    code: 'new Dogs(datastore)',
    run: () => new Dogs(untyped(datastore)),
    message:
      'Could not set up the application Dogs: its argument is a datastore, and has to be an object of options: { datastore }.',
  },
  {
    code: 'new Dogs({ datastore: prisma })',
    run: () => new Dogs({ datastore: untyped(prisma) }),
    message: `Could not set up the application Dogs: the option \`datastore\` is a PrismaClient; give a datastore: ${makeDatastore}.`,
  },
  {
    code: "new Dogs({ store: 'memory', datastore })",
    run: () => new Dogs({ store: 'memory', datastore }),
    message: 'Could not set up the application Dogs with both datastore and store: give one of them.',
  },
  {
    code: 'new Dogs({ datastore, cache: { maxsize: 100 } })',
    run: () => new Dogs({ datastore, cache: untyped({ maxsize: 100 }) }),
    message: 'Could not set up the application Dogs: there is no option `cache.maxsize`; did you mean `cache.maxSize`?',
  },
  {
    code: 'new Dogs({ datastore, snapshots: { every: 100 } })',
    run: () => new Dogs({ datastore, snapshots: untyped({ every: 100 }) }),
    message: 'Could not set up the application Dogs: the option `snapshots` is an object; give true or false.',
  },
  {
    code: "new Dogs({ datastore, env: { DOGS_CIFER_KEY: '…' } })",
    run: () => new Dogs({ datastore, env: { DOGS_CIFER_KEY: '…' } }),
    message:
      'Could not set up the application Dogs: there is no variable DOGS_CIFER_KEY; did you mean DOGS_CIPHER_KEY?',
  },
  {
    code: 'new Dogs({ datastore, env: { CREATE_TABLE: true } })',
    run: () => new Dogs({ datastore, env: untyped({ CREATE_TABLE: true }) }),
    message:
      "Could not set up the application Dogs: the variable CREATE_TABLE is the boolean true; variables are texts, so give 'true'.",
  },
  {
    code: 'new PrismaDatastore(prisma)',
    run: () => new PrismaDatastore(untyped(prisma)),
    message: 'Could not make a datastore: a PrismaClient was given as its options; give an object.',
  },
  {
    code: 'new PrismaDatastore({ client: () => prisma })',
    run: () => new PrismaDatastore(untyped({ client: () => prisma })),
    message:
      'Could not make a datastore without a driver adapter: give the option `adapter`, such as new PrismaPg({ connectionString }) of ' +
      '@prisma/adapter-pg, and make the client on it: client: (adapter) => new PrismaClient({ adapter }).',
  },
  {
    code: 'new PrismaDatastore({ adaptor })',
    run: () => new PrismaDatastore(untyped({ adaptor: adapter })),
    message: 'Could not make a datastore: there is no option `adaptor`; did you mean `adapter`?',
  },
  {
    code: 'new PrismaDatastore({ adapter: process.env.DATABASE_URL })',
    run: () => new PrismaDatastore({ adapter: untyped('postgresql://dogs:secret@localhost/dogs') }),
    message:
      'Could not make a datastore: the option `adapter` is a text; give a driver adapter, such as new PrismaPg({ connectionString }).',
  },
  {
    code: 'new PrismaDatastore({ adapter, client: prisma })',
    run: () => new PrismaDatastore({ adapter, client: untyped(prisma) }),
    message:
      'Could not make a datastore: the option `client` is a PrismaClient; give a function that makes it on the adapter that is ' +
      'passed: client: (adapter) => new PrismaClient({ adapter }).',
  },
  {
    code: 'new PrismaDatastore({ adapter, client: () => prisma })',
    run: () => new PrismaDatastore({ adapter, client: () => prisma }),
    message:
      'Could not join the PrismaClient to the transactions of its datastore: it was made on another adapter than that of the ' +
      'datastore. Make it on the one that is passed: client: (adapter) => new PrismaClient({ adapter }).',
  },
]

const environment: readonly FirstMistake[] = [
  {
    code: "new Dogs({ env: { PERSISTENCE_MODULE: 'eventsourcing-prisma' } })",
    run: async () => await new Dogs({ env: { PERSISTENCE_MODULE: 'eventsourcing-prisma', PRISMA_URL: '' } }).ready(),
    message:
      'Could not connect to a database: set one of DOGS_PRISMA_URL, PRISMA_URL to its URL, such as file:./dev.db.',
  },
  {
    code: "new Dogs({ env: { …, PRISMA_URL: 'sqlite://dogs.db' } })",
    run: async () => {
      const env = { PERSISTENCE_MODULE: 'eventsourcing-prisma', PRISMA_URL: 'sqlite://dogs.db' }
      await new Dogs({ env }).ready()
    },
    message:
      'Could not choose a driver adapter for the database URL: its scheme is none of file:, postgres:, postgresql:, mysql:, mariadb:.',
  },
  {
    code: "new Dogs({ datastore, env: { CREATE_TABLE: 'perhaps' } })",
    run: async () => await new Dogs({ datastore, env: { CREATE_TABLE: 'perhaps' } }).ready(),
    message:
      "The variable DOGS_CREATE_TABLE, CREATE_TABLE is 'perhaps': set it to one of y, yes, t, true, on, 1, n, no, f, false, off, 0",
  },
  {
    code: "new Dogs({ datastore, env: { CIPHER_KEY: 'secret' } })",
    run: async () => await new Dogs({ datastore, env: { CIPHER_KEY: 'secret' } }).ready(),
    message:
      'Cannot make a cipher: the value of DOGS_CIPHER_KEY, CIPHER_KEY has what is no key in base64; give 16, 24, 32 bytes',
  },
  {
    code: 'class d extends Application {}; new d({ datastore })',
    run: () => new (class d extends Application {})({ datastore }),
    message:
      'Could not set up the application d: a bundler seems to have shortened the name of its class, and its tables are named after it. Give ' +
      "the class a name that stays: `static override readonly name = 'TrainingSchool'`, or the option `name`.",
  },
  {
    code: 'new Dogs({ datastore }).repository.get(Dog, id)',
    run: async () => await new Dogs({ datastore }).repository.get(Dog, '4711'),
    message:
      'Could not read stream 4711: there is no table dogs_events for application Dogs: run npx eventsourcing-prisma init --app Dogs, then npx ' +
      'prisma migrate dev; in tests await application.recorder.createTable().',
  },
]

const use: readonly FirstMistake[] = [
  {
    code: 'dogs.repository.get(id)',
    run: () => untyped(dogs.repository).get('4711'),
    message:
      "Could not ask the repository: the first argument of get is the text '4711', and has to be a class or a decider, before the id: " +
      'repository.get(Dog, id).',
  },
  {
    code: 'dogs.repository.get(Dog, undefined)',
    run: () => dogs.repository.get(Dog, id),
    message:
      'Could not ask the repository for Dog: the id is undefined, and has to be a text. Does it come from a parameter of the ' +
      'request, or from a row, that is missing?',
  },
  {
    code: 'dogs.repository.get(Dogs, id)',
    run: () => dogs.repository.get(untyped(Dogs), '4711'),
    message: 'Could not get Dogs 4711: Dogs is no class that extends Aggregate.',
  },
  {
    code: 'dogs.repository.get(Dog, id, { versoin: 1 })',
    run: () => dogs.repository.get(Dog, '4711', untyped({ versoin: 1 })),
    message: 'Could not get Dog 4711: there is no option `versoin`; did you mean `version`?',
  },
  {
    code: 'dogs.save([rex, fido])',
    run: () => dogs.save(untyped([new Dog('Rex'), new Dog('Fido')])),
    message:
      'Could not save a list: give aggregates, what a decider has decided, or events, each as an argument of its own: save(dog, owner).',
  },
  {
    code: 'dogs.save(dogs.repository.get(Dog, id))',
    run: () => dogs.save(untyped(Promise.resolve(new Dog('Rex')))),
    message:
      'Could not save a promise that nobody has awaited: give aggregates, what a decider has decided, or events, each as an argument of ' +
      'its own: save(dog, owner).',
  },
  {
    code: "dogs.execute(Dog, id, 'rename', 'Rex')",
    run: () => untyped(dogs).execute(Dog, '4711', 'rename', 'Rex'),
    message:
      'Could not execute rename: the class Dog is no decider. Call the command methods of aggregates, then save them.',
  },
  {
    code: 'datastore.transaction([a, b])',
    run: () => datastore.transaction(untyped([])),
    message:
      'Could not begin a transaction: a list was given as its work; give a function, whose calls are in the transaction: ' +
      'datastore.transaction(async () => { … }).',
  },
  {
    code: 'datastore.transaction(work, { timeout: 10_000 })',
    run: () => datastore.transaction(async () => {}, untyped({ timeout: 10_000 })),
    message: 'Could not begin a transaction: there is no option `timeout`; did you mean `deadlineMs`?',
  },
  {
    code: "datastore.transaction(work, { retries: '3' })",
    run: () => datastore.transaction(async () => {}, untyped({ retries: '3' })),
    message: "Could not begin a transaction: the option `retries` is the text '3'; give a whole number from 0.",
  },
  {
    code: "datastore.transaction(work, { isolationLevel: 'serializable' })",
    run: () => datastore.transaction(async () => {}, untyped({ isolationLevel: 'serializable' })),
    message:
      "Could not begin a transaction with isolationLevel 'serializable': there is no such. Give one of ReadUncommitted, ReadCommitted, " +
      'RepeatableRead, Serializable.',
  },
  {
    code: 'defineDecider({ name, initial: () => 0, evolve, decide })',
    run: () => defineDecider(untyped({ name: 'Count', initial: () => 0, evolve: {}, decide: {} })),
    message:
      'Could not define a decider without `initialState`: give { name, initialState, evolve, decide }; `initial` is no part of one.',
  },
  {
    code: 'withRollback(async () => { … })',
    run: async () => await untyped(withRollback)(async () => {}),
    message: 'Could not use a function as a datastore: give a PrismaDatastore.',
  },
]

const servers: readonly FirstMistake[] = [
  {
    code: 'fastify.register(transactions(datastore))',
    run: () => fastify().register(untyped(transactions)(datastore)),
    message:
      'Could not register the plugin `transactions`: it was called. Pass it on: fastify.register(transactions, { datastore }).',
  },
  {
    code: 'fastify.register(transactions, { datastore: prisma })',
    run: async () => await fastify().register(transactions, { datastore: untyped(prisma) }),
    message: `Could not give requests their transactions: a PrismaClient is no datastore. Make one: ${makeDatastore}. ${whereDatastores}`,
  },
  {
    code: 'fastify.get(path, { config: { transaction: { readonly: true } } }, handler)',
    run: async () => {
      const server = fastify()
      await server.register(transactions, { datastore })
      server.get('/dogs', { config: { transaction: untyped({ readonly: true }) } }, async () => [])
    },
    message: 'Could not set up the transaction of GET /dogs: there is no option `readonly`; did you mean `readOnly`?',
  },
  {
    code: "fastify.register(transactions, { datastore, idempotency: { scop: 'public' } })",
    run: async () => await fastify().register(transactions, { datastore, idempotency: untyped({ scop: 'public' }) }),
    message:
      'Could not register the plugin `transactions`: there is no option `idempotency.scop`; did you mean `idempotency.scope`?',
  },
  {
    code: 'app.use(transactions({ datastore }))',
    run: () => middleware(untyped({ datastore })),
    message: `Could not give requests their transactions: an object is no datastore. Make one: ${makeDatastore}. ${whereDatastores}`,
  },
  {
    code: 'app.use(transactions(datastore, { readonly: true }))',
    run: () => middleware(datastore, untyped({ readonly: true })),
    message: 'Could not make the middleware `transactions`: there is no option `readonly`; did you mean `readOnly`?',
  },
  {
    code: "app.use(transactions(datastore, { idempotency: { scope: 'public', ttl: 5 } }))",
    run: () => middleware(datastore, { idempotency: untyped({ scope: 'public', ttl: 5 }) }),
    message:
      'Could not make the middleware `transactions`: there is no option `idempotency.ttl`; did you mean `idempotency.ttlMs`?',
  },
  {
    code: 'app.use(transactions(datastore, { idempotency: true }))',
    run: () => middleware(datastore, { idempotency: true }),
    message:
      'Could not use idempotency keys: nothing says whose they are, and a stored answer is for nobody else. Give `idempotency: { scope: ' +
      "(request) => request.user.id }`, or `scope: 'public'` where anybody may get the answers of anybody.",
  },
  {
    code: 'new ProjectionRunner({ app: dogs, projections })',
    run: () => new ProjectionRunner(untyped({ app: dogs, projections: [] })),
    message: 'Could not make a projection runner: there is no option `app`; did you mean `application`?',
  },
  {
    code: "defineProjection({ name: 'owners', handlers })",
    run: () => defineProjection(untyped({ name: 'owners', handlers: [] })),
    message: 'Could not define the projection owners: there is no option `handlers`; did you mean `on`?',
  },
]

export const firstMistakes: readonly FirstMistake[] = [...setUp, ...environment, ...use, ...servers]
