/** The process manager: a decider with one stream for each order. It is told what happens, and decides what follows from it. */
import { defineDecider, NAMESPACE_URL, uuid5 } from 'eventsourcing-prisma'

/** The stream of the fulfilment of an order: whoever knows the order knows it. */
export const fulfilmentOf = (order: string): string => uuid5(NAMESPACE_URL, `/orders/${order}/fulfilment`)

/** The stream of its payment. */
export const paymentOf = (order: string): string => uuid5(NAMESPACE_URL, `/orders/${order}/payment`)

interface Fulfilment {
  readonly step: 'none' | 'awaits payment' | 'done' | 'given up'
}

export const fulfilments = defineDecider({
  name: 'Fulfilment',
  initialState: (): Fulfilment => ({ step: 'none' }),
  evolve: {
    PaymentAwaited: (_state, _data: { order: string; cents: number }): Fulfilment => ({ step: 'awaits payment' }),
    Completed: (_state, _data: { order: string }): Fulfilment => ({ step: 'done' }),
    GivenUp: (_state, _data: { order: string }): Fulfilment => ({ step: 'given up' }),
    PaidTooLate: (state, _data: { order: string }): Fulfilment => state,
  },
  decide: {
    begin: ({ step }, order: string, cents: number) =>
      step === 'none' ? [{ type: 'PaymentAwaited', data: { order, cents } }] : [],
    paid({ step }, order: string) {
      if (step === 'given up') return [{ type: 'PaidTooLate', data: { order } }]
      return step === 'awaits payment' ? [{ type: 'Completed', data: { order } }] : []
    },
    giveUp: ({ step }, order: string) => (step === 'awaits payment' ? [{ type: 'GivenUp', data: { order } }] : []),
  },
})
