/** A shopping cart as a class: the decorated methods are the commands themselves, since what they refuse leaves no trace. */
import { Aggregate, event } from 'eventsourcing-prisma'

const maxItems = 3

export class ShoppingCart extends Aggregate {
  readonly items = new Map<string, number>()
  isCheckedOut = false

  @event('ItemAdded', 'item', 'quantity') addItem(item: string, quantity: number): void {
    if (this.isCheckedOut) throw new Error('The cart is checked out')
    this.items.set(item, (this.items.get(item) ?? 0) + quantity)
    if (this.items.size > maxItems) throw new Error(`A cart has at most ${maxItems} items`)
  }

  @event('ItemRemoved', 'item') removeItem(item: string): void {
    if (!this.items.delete(item)) throw new Error(`There is no ${item} in the cart`)
  }

  @event('CheckedOut') checkOut(): void {
    if (this.items.size === 0) throw new Error('The cart is empty')
    this.isCheckedOut = true
  }
}
