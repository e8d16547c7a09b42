/** A bank account as a class: public methods decide, decorated ones are the events. */
import { Aggregate, event } from 'eventsourcing-prisma'
import { type AccountBalance, assertCovers, assertOpen } from './rules.js'

@event('Opened', 'owner')
export class BankAccount extends Aggregate implements AccountBalance {
  readonly owner: string
  balance = 0
  overdraftLimit = 0
  isClosed = false

  constructor(owner: string) {
    super()
    this.owner = owner
  }

  credit(cents: number): void {
    assertOpen(this)
    this.transact(cents)
  }

  debit(cents: number): void {
    assertCovers(this, cents)
    this.transact(-cents)
  }

  setOverdraftLimit(cents: number): void {
    assertOpen(this)
    this.changeOverdraftLimit(cents)
  }

  @event('Closed') close(): void {
    this.isClosed = true
  }

  @event('Transacted', 'cents') protected transact(cents: number): void {
    this.balance += cents
  }

  @event('OverdraftLimitChanged', 'cents') protected changeOverdraftLimit(cents: number): void {
    this.overdraftLimit = cents
  }
}
