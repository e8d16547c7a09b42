/** A person who is forgotten while a command is under way does not come back with what the command has read. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decide } from '../../src/domain/decider.js'
import { Aggregate, Application, ConcurrencyError, defineDecider, event, isErased } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

class Customer extends Aggregate {
  static readonly snapshots = {}
  static readonly personal = { Named: { name: true }, Shipped: { label: true } } as const
  name: unknown
  label: unknown
  @event('Named', 'name') rename(name: string): void {
    this.name = name
  }
  @event('Shipped', 'label') ship(label: string): void {
    this.label = label
  }
  @event('Pinged') ping(): void {}
}

const customers = defineDecider({
  name: 'CustomerDecider',
  personal: { Named: { name: 'who' } },
  initialState: (): { readonly name: unknown } => ({ name: undefined }),
  evolve: { Named: (_state, { name }: { who: string; name: unknown }) => ({ name }) },
  decide: { rename: (_state, who: string, name: string) => [{ type: 'Named', data: { who, name } }] },
})

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let shop: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    shop = new Application({ name: 'Shop', datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
    await shop.ready()
  })
  afterAll(async () => {
    await open.close()
  })

  async function ann(): Promise<Customer> {
    const customer = new Customer()
    customer.rename('Ann Secret')
    await shop.save(customer)
    return customer
  }

  const loads: ReadonlyArray<[string, (saved: Customer) => Promise<Customer>]> = [
    ['loaded', async ({ id }) => await shop.repository.get(Customer, id)],
    [
      'loaded from a snapshot',
      async ({ id }) => {
        await shop.takeSnapshot(Customer, id)
        return await shop.repository.get(Customer, id)
      },
    ],
    ['saved before', async (saved) => await Promise.resolve(saved)],
  ]

  it.each(loads)('what was %s is not stored under a new key', async (_name, load) => {
    const inFlight = await load(await ann())
    const { id } = inFlight
    expect(inFlight.name).toBe('Ann Secret')
    await shop.forget(id)
    inFlight.ship(`To: ${String(inFlight.name)}`)
    const saving = shop.save(inFlight)
    await expect(saving).rejects.toThrow(ConcurrencyError)
    await expect(saving).rejects.toThrow(`the person '${id}', whose data were read before, was forgotten meanwhile`)
    const after = await shop.repository.get(Customer, id)
    expect([isErased(after.name), after.label, after.version]).toEqual([true, undefined, 2])
    // Loaded after it, the person may begin anew.
    after.rename('Ann Again')
    await shop.save(after)
    const again = await shop.repository.get(Customer, id)
    expect([again.name, again.version]).toEqual(['Ann Again', 3])
  })

  it('what has no personal data in it goes on, and the first data of a person make a key', async () => {
    const inFlight = await shop.repository.get(Customer, (await ann()).id)
    await shop.forget(inFlight.id)
    inFlight.ping()
    await shop.save(inFlight)
    const fresh = new Customer()
    await shop.save(fresh)
    fresh.rename('Bob')
    fresh.rename('Bob Secret')
    await shop.save(fresh)
    expect((await shop.repository.get(Customer, fresh.id)).name).toBe('Bob Secret')
  })

  it('a decision on what was read is refused as well', async () => {
    const [id, who] = [crypto.randomUUID(), crypto.randomUUID()]
    await shop.execute(customers, id, 'rename', who, 'Cid Secret')
    const read = await shop.repository.get(customers, id)
    await shop.forget(who)
    const decision = decide(customers, read, { name: 'rename', args: [who, `${String(read.state.name)} again`] })
    await expect(shop.save(decision)).rejects.toThrow(ConcurrencyError)
    await shop.execute(customers, id, 'rename', who, 'Cid Anew')
    expect((await shop.repository.get(customers, id)).state.name).toBe('Cid Anew')
  })

  // Elsewhere a transaction does not see what another one deletes: it stores with the old key, and the data are erased at once.
  if (kind.provider !== 'postgresql') return
  it('a transaction with retries runs again, and sees that the person is forgotten', async () => {
    const { id } = await ann()
    const labels: string[] = []
    const forget = async (): Promise<boolean> => await shop.forget(id)
    await open.datastore.transaction(
      async () => {
        const customer = await shop.repository.get(Customer, id)
        if (labels.length === 0) await open.datastore.transaction(forget, { propagation: 'requiresNew' })
        customer.ship(String(customer.name))
        labels.push(String(customer.name))
        await shop.save(customer)
      },
      { retries: 1 },
    )
    expect(labels).toEqual(['Ann Secret', '[erased]'])
  })
})
