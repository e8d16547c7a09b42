/** A name that nobody else has; who changes it, or closes the account, gives it back. */
import { Application, defineEvent, facts, typed } from 'eventsourcing-prisma'

const AccountRegistered = defineEvent('AccountRegistered', typed<{ username: string }>(), {
  tags: ({ username }) => ({ username }),
})
const UsernameChanged = defineEvent('UsernameChanged', typed<{ from: string; to: string }>(), {
  tags: ({ from, to }) => ({ username: [from, to] }),
})
const AccountClosed = defineEvent('AccountClosed', typed<{ username: string }>(), {
  tags: ({ username }) => ({ username }),
})

const isTaken = (username: string) =>
  facts({ username }, false, (when) => [
    when(AccountRegistered, () => true),
    when(UsernameChanged, (_taken, { to }) => to === username),
    when(AccountClosed, () => false),
  ])

export class Accounts extends Application {
  async register(username: string): Promise<void> {
    await this.decide({ taken: isTaken(username) }, ({ taken }) => {
      if (taken) throw new Error(`The name ${username} is taken`)
      return [AccountRegistered({ username })]
    })
  }

  async rename(from: string, to: string): Promise<void> {
    await this.decide({ own: isTaken(from), taken: isTaken(to) }, ({ own, taken }) => {
      if (!own) throw new Error(`Nobody has the name ${from}`)
      if (taken) throw new Error(`The name ${to} is taken`)
      return [UsernameChanged({ from, to })]
    })
  }

  async closeAccount(username: string): Promise<void> {
    await this.decide({ own: isTaken(username) }, ({ own }) => (own ? [AccountClosed({ username })] : []))
  }
}
