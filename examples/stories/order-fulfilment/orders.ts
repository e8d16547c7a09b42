/** Orders and payments, as deciders: each knows its own rules, and nothing of the other. */
import { defineDecider } from 'eventsourcing-prisma'

interface Order {
  readonly status: 'new' | 'placed' | 'shipped' | 'cancelled'
}

export const orders = defineDecider({
  name: 'Order',
  initialState: (): Order => ({ status: 'new' }),
  evolve: {
    Placed: (_state, _data: { customer: string; cents: number }): Order => ({ status: 'placed' }),
    Shipped: (): Order => ({ status: 'shipped' }),
    Cancelled: (_state, _data: { reason: string }): Order => ({ status: 'cancelled' }),
  },
  decide: {
    place({ status }, customer: string, cents: number) {
      if (status !== 'new') throw new Error('The order is placed already')
      return [{ type: 'Placed', data: { customer, cents } }]
    },
    ship: ({ status }) => (status === 'placed' ? [{ type: 'Shipped', data: {} }] : []),
    cancel: ({ status }, reason: string) => (status === 'placed' ? [{ type: 'Cancelled', data: { reason } }] : []),
  },
})

interface Payment {
  readonly status: 'new' | 'requested' | 'made' | 'refunded'
  readonly cents: number
}

export const payments = defineDecider({
  name: 'Payment',
  initialState: (): Payment => ({ status: 'new', cents: 0 }),
  evolve: {
    Requested: (_state, { cents }: { order: string; cents: number }): Payment => ({ status: 'requested', cents }),
    Made: (state, _data: { order: string }): Payment => ({ ...state, status: 'made' }),
    Refunded: (state): Payment => ({ ...state, status: 'refunded' }),
  },
  decide: {
    request: ({ status }, order: string, cents: number) =>
      status === 'new' ? [{ type: 'Requested', data: { order, cents } }] : [],
    make({ status }, order: string) {
      if (status === 'new') throw new Error('Nobody has asked for this payment')
      return status === 'requested' ? [{ type: 'Made', data: { order } }] : []
    },
    refund: ({ status }) => (status === 'made' ? [{ type: 'Refunded', data: {} }] : []),
  },
})
