/** A shopping cart as a decider. */
import { defineDecider } from 'eventsourcing-prisma'

const maxItems = 3

interface Cart {
  readonly items: ReadonlyMap<string, number>
  readonly isCheckedOut: boolean
}

export const shoppingCarts = defineDecider({
  name: 'ShoppingCart',
  initialState: (): Cart => ({ items: new Map(), isCheckedOut: false }),
  evolve: {
    Created: (state) => state,
    ItemAdded: (state, { item, quantity }: { item: string; quantity: number }) => ({
      ...state,
      items: new Map(state.items).set(item, (state.items.get(item) ?? 0) + quantity),
    }),
    ItemRemoved: (state, data: { item: string }) => ({
      ...state,
      items: new Map([...state.items].filter(([item]) => item !== data.item)),
    }),
    CheckedOut: (state) => ({ ...state, isCheckedOut: true }),
  },
  decide: {
    create: (_state) => [{ type: 'Created', data: {} }],
    addItem({ items, isCheckedOut }, item: string, quantity: number) {
      if (isCheckedOut) throw new Error('The cart is checked out')
      if (!items.has(item) && items.size === maxItems) throw new Error(`A cart has at most ${maxItems} items`)
      return [{ type: 'ItemAdded', data: { item, quantity } }]
    },
    removeItem({ items }, item: string) {
      if (!items.has(item)) throw new Error(`There is no ${item} in the cart`)
      return [{ type: 'ItemRemoved', data: { item } }]
    },
    checkOut({ items }) {
      if (items.size === 0) throw new Error('The cart is empty')
      return [{ type: 'CheckedOut', data: {} }]
    },
  },
})
