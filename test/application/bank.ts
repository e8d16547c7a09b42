/** The bank of the example in the contract: an application over the accounts of examples/stories. */
import { BankAccount } from '../../examples/stories/bank-account/class.js'
import { AggregateNotFoundError, Application } from '../../src/index.js'

/** The application's own error for an account that nobody has opened. */
export class AccountNotFoundError extends Error {
  override readonly name = 'AccountNotFoundError'
}

export class Bank extends Application {
  async open(owner: string): Promise<string> {
    const account = new BankAccount(owner)
    await this.save(account)
    return account.id
  }

  async credit(id: string, cents: number): Promise<void> {
    const account = await this.account(id)
    account.credit(cents)
    await this.save(account)
  }

  async balance(id: string): Promise<number> {
    return (await this.account(id)).balance
  }

  async account(id: string): Promise<BankAccount> {
    try {
      return await this.repository.get(BankAccount, id)
    } catch (error) {
      if (error instanceof AggregateNotFoundError) throw new AccountNotFoundError(id, { cause: error })
      throw error
    }
  }
}
