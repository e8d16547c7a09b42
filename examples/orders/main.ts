/**
 * `npm run demo:orders`: a shop and its payments as two services, each with a database of its own, and a broker between them. A process manager of the
 * shop leads every order to its payment, or gives it up when that does not come in time. What happens is printed as it happens.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import {
  AggregateNotFoundError,
  type Application,
  defineReaction,
  NAMESPACE_URL,
  on,
  onTimer,
  PrismaDatastore,
  ProjectionRunner,
  readEvent,
  uuid5,
} from 'eventsourcing-prisma'
import { type CloudEvent, Inbox, Relay } from 'eventsourcing-prisma/relay'
import { fulfilmentOf, fulfilments, paymentOf } from '../stories/order-fulfilment/fulfilment.js'
import { orders, payments } from '../stories/order-fulfilment/orders.js'
import { Payments, Shop } from '../stories/order-fulfilment/shop.js'
import { openPost } from './broker.js'

const patienceMs = 1_500
const begun = performance.now()
const names = new Map<string, string>()
const folder = mkdtempSync(join(tmpdir(), 'orders-'))

/** What the services tell each other: the type of a message, and the order that it is about. */
interface Told {
  readonly order: string
  readonly cents?: number
}

function say(who: string, text: string): void {
  console.log(`${((performance.now() - begun) / 1_000).toFixed(2).padStart(5)} s  ${who.padEnd(9)} ${text}`)
}

function newDatastore(name: string): PrismaDatastore {
  return new PrismaDatastore({ adapter: new PrismaLibSql({ url: `file:${join(folder, `${name}.db`)}` }) })
}

const post = await openPost((text) => say('', text))
const shopStore = newDatastore('shop')
const paymentStore = newDatastore('payments')
const shop = new Shop({ datastore: shopStore })
const tills = new Payments({ datastore: paymentStore })

/** The shop's process manager acts on the shop alone; what concerns payments is told to them by the relay. */
const fulfilment = defineReaction({
  name: 'fulfilment',
  from: 'start',
  on: [
    on(orders, 'Placed', async ({ originatorId: order, data }) => {
      await shop.execute(fulfilments, fulfilmentOf(order), 'begin', order, data.cents)
    }),
    on(fulfilments, 'PaymentAwaited', async ({ data: { order }, timestamp }) => {
      const at = new Date(timestamp.getTime() + patienceMs)
      await shop.timers.set({ id: order, at, topic: 'payment is late', data: order })
    }),
    onTimer<string>('payment is late', async ({ data: order }) => {
      await shop.execute(fulfilments, fulfilmentOf(order), 'giveUp', order)
    }),
    on(fulfilments, 'Completed', async ({ data: { order } }) => {
      await shop.timers.clear(order)
      await shop.execute(orders, order, 'ship')
    }),
    on(fulfilments, 'GivenUp', async ({ data: { order } }) => {
      await shop.execute(orders, order, 'cancel', 'it was not paid in time')
    }),
  ],
})

const fromShop = new Relay({
  name: 'to-payments',
  application: shop,
  datastore: shopStore,
  to: post.to('shop'),
  map(event) {
    const awaited = readEvent(fulfilments, 'PaymentAwaited', event)
    if (awaited !== undefined) return { type: 'payment.awaited', data: awaited.data }
    const late = readEvent(fulfilments, 'PaidTooLate', event)
    return late && { type: 'payment.too-late', data: late.data }
  },
})
const fromPayments = new Relay({
  name: 'to-shop',
  application: tills,
  datastore: paymentStore,
  to: post.to('payments'),
  map(event) {
    const made = readEvent(payments, 'Made', event)
    return made && { type: 'payment.made', data: made.data }
  },
})

/** Does the work of a message once, however often it comes. */
function receiver(who: string, inbox: Inbox, work: (event: CloudEvent, told: Told) => Promise<void>) {
  return async (event: CloudEvent): Promise<void> => {
    const told = event.data as Told // what the other relay's map gives
    const isNew = await inbox.once(event, async () => await work(event, told))
    if (!isNew) say(who, `has had message ${event.id} (${event.type}) before, and passes over it`)
  }
}

const shopInbox = new Inbox({ application: shop, datastore: shopStore })
const paymentInbox = new Inbox({ application: tills, datastore: paymentStore })
const runner = new ProjectionRunner({ application: shop, datastore: shopStore, projections: [fulfilment] })
for (const each of [shop.recorder, tills.recorder, runner, fromShop, fromPayments, shopInbox, paymentInbox]) {
  await each.createTable?.()
}
await post.consume(
  'shop',
  receiver('payments', paymentInbox, async ({ type }, { order, cents = 0 }) => {
    if (type === 'payment.awaited') await tills.execute(payments, paymentOf(order), 'request', order, cents)
    else await tills.execute(payments, paymentOf(order), 'refund')
  }),
)
await post.consume(
  'payments',
  receiver('shop', shopInbox, async (_event, { order }) => {
    await shop.execute(fulfilments, fulfilmentOf(order), 'paid', order)
  }),
)

const stop = new AbortController()
const printing = [print('shop', shop), print('payments', tills)]
await Promise.all([runner.start(), fromShop.start(), fromPayments.start()])

say('', `Three orders: Ann pays at once, Bob never, Cleo when it is too late. The shop waits for ${patienceMs} ms.`)
const [ann, bob, cleo] = [orderOf('Ann', 1_200), orderOf('Bob', 700), orderOf('Cleo', 2_500)]
for (const { id, customer, cents } of [ann, bob, cleo]) await shop.place(id, customer, cents)
await until(async () => (await tills.statusOf(ann.id)) === 'requested')
await tills.pay(ann.id)
await until(async () => (await shop.statusOf(cleo.id)) === 'cancelled')
await until(async () => (await tills.statusOf(cleo.id)) === 'requested')
await tills.pay(cleo.id)
await until(async () => (await tills.statusOf(cleo.id)) === 'refunded')
await until(async () => (await shop.statusOf(bob.id)) === 'cancelled')

const ends = await Promise.all(
  [ann, bob, cleo].map(async ({ id, customer }) => ({
    customer,
    order: await shop.statusOf(id),
    payment: await tills.statusOf(id),
  })),
)
console.table(ends)
stop.abort()
await Promise.all([runner.stop(), fromShop.stop(), fromPayments.stop(), ...printing])
await post.close()
await Promise.all([shopStore.close(), paymentStore.close()])
rmSync(folder, { recursive: true, force: true })

function orderOf(customer: string, cents: number): { id: string; customer: string; cents: number } {
  const id = uuid5(NAMESPACE_URL, `/orders/of/${customer}`)
  for (const stream of [id, fulfilmentOf(id), paymentOf(id)]) names.set(stream, `${customer}'s`)
  return { id, customer, cents }
}

/** Prints the events of a service as they are stored. */
async function print(who: string, application: Application): Promise<void> {
  for await (const { event } of application.subscribe({ signal: stop.signal })) {
    say(who, `stores ${event.topic.padEnd(26)} of ${names.get(event.originatorId) ?? event.originatorId} order`)
  }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000
  while (!(await isSo().catch(notYet))) {
    if (performance.now() > deadline) throw new Error('The orders did not come to their ends within 30 seconds.')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** An order or a payment that nobody has made yet. */
function notYet(error: unknown): false {
  if (error instanceof AggregateNotFoundError) return false
  throw error
}
