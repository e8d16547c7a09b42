/** A shop and its payments, two applications on one database, and the reactions that lead an order from one to the other. */
import { Application, defineReaction, on, onTimer, type Projection } from 'eventsourcing-prisma'
import { fulfilmentOf, fulfilments, paymentOf } from './fulfilment.js'
import { orders, payments } from './orders.js'

export class Shop extends Application {
  async place(order: string, customer: string, cents: number): Promise<void> {
    await this.execute(orders, order, 'place', customer, cents)
  }

  async statusOf(order: string): Promise<string> {
    return (await this.repository.get(orders, order)).state.status
  }
}

export class Payments extends Application {
  async pay(order: string): Promise<void> {
    await this.execute(payments, paymentOf(order), 'make', order)
  }

  async statusOf(order: string): Promise<string> {
    return (await this.repository.get(payments, paymentOf(order))).state.status
  }
}

/** What the shop's runner has: from what happens to the process manager, and from what that decides to all others. */
export function fulfilment(shop: Shop, paymentsOf: Payments, patienceMs: number): Projection {
  const timerOf = (order: string): string => `payment of ${order}`
  return defineReaction({
    name: 'fulfilment',
    from: 'start',
    on: [
      on(orders, 'Placed', async ({ originatorId: order, data }) => {
        await shop.execute(fulfilments, fulfilmentOf(order), 'begin', order, data.cents)
      }),
      on(fulfilments, 'PaymentAwaited', async ({ data: { order, cents }, timestamp }) => {
        await paymentsOf.execute(payments, paymentOf(order), 'request', order, cents)
        const at = new Date(timestamp.getTime() + patienceMs)
        await shop.timers.set({ id: timerOf(order), at, topic: 'payment is late', data: order })
      }),
      onTimer<string>('payment is late', async ({ data: order }) => {
        await shop.execute(fulfilments, fulfilmentOf(order), 'giveUp', order)
      }),
      on(fulfilments, 'Completed', async ({ data: { order } }) => {
        await shop.timers.clear(timerOf(order))
        await shop.execute(orders, order, 'ship')
      }),
      on(fulfilments, 'GivenUp', async ({ data: { order } }) => {
        await shop.execute(orders, order, 'cancel', 'it was not paid in time')
      }),
      on(fulfilments, 'PaidTooLate', async ({ data: { order } }) => {
        await paymentsOf.execute(payments, paymentOf(order), 'refund')
      }),
    ],
  })
}

/** What the runner of the payments has: it tells the process manager of payments. */
export function paid(shop: Shop): Projection {
  return defineReaction({
    name: 'paid',
    from: 'start',
    on: [
      on(payments, 'Made', async ({ data: { order } }) => {
        await shop.execute(fulfilments, fulfilmentOf(order), 'paid', order)
      }),
    ],
  })
}
