/** Dogs of a training school as a decider. */
import { defineDecider } from 'eventsourcing-prisma'

export const dogs = defineDecider({
  name: 'Dog',
  initialState: () => ({ name: '', tricks: [] as readonly string[] }),
  evolve: {
    Registered: (state, data: { name: string }) => ({ ...state, name: data.name }),
    TrickAdded: (state, data: { trick: string }) => ({ ...state, tricks: [...state.tricks, data.trick] }),
  },
  decide: {
    register: (_state, name: string) => [{ type: 'Registered', data: { name } }],
    addTrick(state, trick: string) {
      if (state.tricks.includes(trick)) throw new Error(`${state.name} knows how to ${trick}`)
      return [{ type: 'TrickAdded', data: { trick } }]
    },
  },
})
