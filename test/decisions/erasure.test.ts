/** Tags and persons who are forgotten: what docs/erasure.md says of them. */
import { expect, it } from 'vitest'
import {
  Aggregate,
  AppendConditionError,
  Application,
  defineEvent,
  EnvironmentError,
  type Erased,
  event,
  facts,
  isErased,
  secret,
  typed,
} from '../../src/index.js'
import { inMemory } from '../../src/testing/index.js'

const Registered = defineEvent('Registered', typed<{ email: string }>(), {
  personal: { email: true },
  tags: ({ email }) => ({ email: secret(email) }),
})
const Open = defineEvent('Open', typed<{ email: string }>(), {
  personal: { email: true },
  tags: ({ email }) => ({ email: email as string }),
})

@event(Registered, 'email')
class Customer extends Aggregate {
  readonly email: string | Erased

  constructor(email: string | Erased) {
    super()
    this.email = email
  }

  @event(Open, 'email')
  tell(_email: string | Erased): void {}
}

const env = { TAG_KEY: 'sixteen letters!' }
const registered = (email: string) =>
  facts({ email: secret(email) }, [] as unknown[], (when) => [
    when(Registered, (all, { email: stored }) => [...all, isErased(stored)]),
  ])

it('keeps an HMAC of a secret value, by which the value stays taken when its person is forgotten', async () => {
  const shop = inMemory(Application, { env })
  const email = 'ann@example.org'
  const unless = { tags: { email: secret(email) }, types: [Registered] }
  const ann = new Customer(email)
  await shop.save(ann, { unless })
  expect(
    JSON.stringify(await shop.recorder.selectNotifications(null, 10), (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    ),
  ).not.toContain('ann@')
  const known: unknown[] = []
  const look = async (): Promise<void> => {
    await shop.decide({ all: registered(email) }, ({ all }) => {
      known.push(all)
      return []
    })
  }
  await look()
  await shop.forget(ann.id)
  await look()
  expect(known).toEqual([[false], [true]])
  await expect(shop.save(new Customer(email), { unless })).rejects.toBeInstanceOf(AppendConditionError)
  // Another key finds nothing.
  const other = new Application({ store: 'memory', env: { TAG_KEY: 'sixteen others!!' } })
  const [mine, others] = [await shop.eventStore(), await other.eventStore()]
  const tag = { name: 'email', value: secret(email) }
  expect(mine.tagTexts.of([tag])).not.toEqual(others.tagTexts.of([tag]))
})

it('refuses personal values in the clear, and secret ones without a key', async () => {
  expect(() => new Customer('ann@example.org').tell('ann@example.org')).toThrow(/in the clear/)
  const saved = inMemory(Application).save(new Customer('ann@example.org'))
  await expect(saved).rejects.toBeInstanceOf(EnvironmentError)
})
