// @ts-check
/** A shopping cart in plain JavaScript, as Node runs it: the bodies of events are functions, `trigger` is what decorators do otherwise. */
import { Aggregate } from 'eventsourcing-prisma'

const maxItems = 3

/** @extends {Aggregate<{ ItemAdded: { item: string, quantity: number }, ItemRemoved: { item: string }, CheckedOut: object }>} */
export class ShoppingCart extends Aggregate {
  /** @type {Map<string, number>} */
  items = new Map()
  isCheckedOut = false

  static events = {
    /** @this {ShoppingCart} @param {{ item: string, quantity: number }} data */
    ItemAdded({ item, quantity }) {
      if (this.isCheckedOut) throw new Error('The cart is checked out')
      this.items.set(item, (this.items.get(item) ?? 0) + quantity)
      if (this.items.size > maxItems) throw new Error(`A cart has at most ${maxItems} items`)
    },
    /** @this {ShoppingCart} @param {{ item: string }} data */
    ItemRemoved({ item }) {
      if (!this.items.delete(item)) throw new Error(`There is no ${item} in the cart`)
    },
    /** @this {ShoppingCart} */
    CheckedOut() {
      if (this.items.size === 0) throw new Error('The cart is empty')
      this.isCheckedOut = true
    },
  }

  /** @param {string} item @param {number} quantity */
  addItem(item, quantity) {
    this.trigger('ItemAdded', { item, quantity })
  }

  /** @param {string} item */
  removeItem(item) {
    this.trigger('ItemRemoved', { item })
  }

  checkOut() {
    this.trigger('CheckedOut', {})
  }
}
