/** A shopping cart as a decider. */
import { defineDecider } from 'eventsourcing-prisma'

const maxItems = 3

interface Cart {
  readonly items: Readonly<Record<string, number>>
  readonly isCheckedOut: boolean
}

export const shoppingCarts = defineDecider({
  name: 'ShoppingCart',
  initialState: (): Cart => ({ items: {}, isCheckedOut: false }),
  evolve: {
    Created: (state) => state,
    ItemAdded: (state, { item, quantity }: { item: string; quantity: number }) => ({
      ...state,
      items: { ...state.items, [item]: (state.items[item] ?? 0) + quantity },
    }),
    ItemRemoved(state, data: { item: string }) {
      const { [data.item]: _removed, ...items } = state.items
      return { ...state, items }
    },
    CheckedOut: (state) => ({ ...state, isCheckedOut: true }),
  },
  decide: {
    create: (_state) => [{ type: 'Created', data: {} }],
    addItem({ items, isCheckedOut }, item: string, quantity: number) {
      if (isCheckedOut) throw new Error('The cart is checked out')
      if (!(item in items) && Object.keys(items).length === maxItems) {
        throw new Error(`A cart has at most ${maxItems} items`)
      }
      return [{ type: 'ItemAdded', data: { item, quantity } }]
    },
    removeItem({ items }, item: string) {
      if (!(item in items)) throw new Error(`There is no ${item} in the cart`)
      return [{ type: 'ItemRemoved', data: { item } }]
    },
    checkOut({ items }) {
      if (Object.keys(items).length === 0) throw new Error('The cart is empty')
      return [{ type: 'CheckedOut', data: {} }]
    },
  },
})
