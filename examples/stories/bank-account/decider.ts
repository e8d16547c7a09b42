/** A bank account as a decider: commands give events, and each event gives the next state. */
import { defineDecider } from 'eventsourcing-prisma'
import { type AccountBalance, assertCovers, assertOpen } from './rules.js'

interface Account extends AccountBalance {
  readonly owner: string
}

export const bankAccounts = defineDecider({
  name: 'BankAccount',
  initialState: (): Account => ({ owner: '', balance: 0, overdraftLimit: 0, isClosed: false }),
  evolve: {
    Opened: (state, data: { owner: string }) => ({ ...state, owner: data.owner }),
    Transacted: (state, data: { cents: number }) => ({ ...state, balance: state.balance + data.cents }),
    OverdraftLimitChanged: (state, data: { cents: number }) => ({ ...state, overdraftLimit: data.cents }),
    Closed: (state) => ({ ...state, isClosed: true }),
  },
  decide: {
    open: (_state, owner: string) => [{ type: 'Opened', data: { owner } }],
    credit(state, cents: number) {
      assertOpen(state)
      return [{ type: 'Transacted', data: { cents } }]
    },
    debit(state, cents: number) {
      assertCovers(state, cents)
      return [{ type: 'Transacted', data: { cents: -cents } }]
    },
    setOverdraftLimit(state, cents: number) {
      assertOpen(state)
      return [{ type: 'OverdraftLimitChanged', data: { cents } }]
    },
    close: (_state) => [{ type: 'Closed', data: {} }],
  },
})
