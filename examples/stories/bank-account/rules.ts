/** What both styles of the bank account refuse, and why. */

/** More was to be taken from an account than is there. */
export class InsufficientFundsError extends Error {
  override readonly name = 'InsufficientFundsError'
}

/** Something was to be done with a closed account. */
export class AccountClosedError extends Error {
  override readonly name = 'AccountClosedError'
}

/** What is known of an account. Amounts are in cents. */
export interface AccountBalance {
  readonly balance: number
  readonly overdraftLimit: number
  readonly isClosed: boolean
}

/** @throws `AccountClosedError` */
export function assertOpen({ isClosed }: AccountBalance): void {
  if (isClosed) throw new AccountClosedError('The account is closed')
}

/** @throws `AccountClosedError`, `InsufficientFundsError` */
export function assertCovers(account: AccountBalance, cents: number): void {
  assertOpen(account)
  if (account.balance + account.overdraftLimit < cents) {
    throw new InsufficientFundsError(`The account has ${account.balance} cents, and ${cents} were to be taken`)
  }
}
