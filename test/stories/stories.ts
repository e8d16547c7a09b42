/** Each story told by a class and by a decider: the same commands in the same order. */

import { BankAccount } from '../../examples/stories/bank-account/class.js'
import { bankAccounts } from '../../examples/stories/bank-account/decider.js'
import { Cargo } from '../../examples/stories/cargo-voyage/class.js'
import { cargos } from '../../examples/stories/cargo-voyage/decider.js'
import { ShoppingCart } from '../../examples/stories/shopping-cart/class.js'
import { shoppingCarts } from '../../examples/stories/shopping-cart/decider.js'
import { ShoppingCart as PlainShoppingCart } from '../../examples/stories/shopping-cart/plain.js'
import { Dog } from '../../examples/stories/training-school/class.js'
import { dogs } from '../../examples/stories/training-school/decider.js'
import type { Aggregate, AggregateClass, Application, Decider } from '../../src/index.js'

/** One command, by an aggregate and by name for a decider. The first creates. */
export interface Step<A> {
  readonly command: string
  readonly args: readonly unknown[]
  readonly act: (aggregate: A) => unknown
  /** What the refusal says, where it is refused. */
  readonly refusal?: RegExp
}

/** A story. */
export interface Story {
  readonly name: string
  readonly id: string
  readonly aggregateClass: AggregateClass
  readonly decider: Decider<unknown, object, Record<string, unknown[]>>
  readonly create: () => Aggregate<object>
  readonly steps: readonly Step<never>[]
  /** What can be seen of an aggregate, and of a state. */
  readonly view: (told: never) => unknown
}

interface TypedStory<A extends Aggregate<object>> {
  readonly name: string
  readonly id: string
  readonly aggregateClass: AggregateClass<A>
  readonly decider: unknown
  readonly create: () => A
  readonly steps: readonly Step<A>[]
  readonly view: (told: never) => unknown
}

// Stories of different classes in one list: each is consistent in itself.
function story<A extends Aggregate<object>>(typed: TypedStory<A>): Story {
  return typed as unknown as Story
}

const firstFixedId = '00000000-0000-4000-8000-000000000001'
const deadline = new Date('2026-06-01T12:00:00Z')

const bankAccount = story<BankAccount>({
  name: 'bank account',
  id: firstFixedId,
  aggregateClass: BankAccount,
  decider: bankAccounts,
  create: () => new BankAccount('Ann'),
  steps: [
    { command: 'open', args: ['Ann'], act: () => undefined },
    { command: 'credit', args: [1000], act: (account) => account.credit(1000) },
    { command: 'credit', args: [1000], act: (account) => account.credit(1000) },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500) },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), refusal: /has 500 cents/ },
    { command: 'setOverdraftLimit', args: [10_000], act: (account) => account.setOverdraftLimit(10_000) },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500) },
    { command: 'close', args: [], act: (account) => account.close() },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), refusal: /is closed/ },
  ],
  view: ({ owner, balance, overdraftLimit, isClosed }: BankAccount) => ({ owner, balance, overdraftLimit, isClosed }),
})

const trainingSchool = story<Dog>({
  name: 'training school',
  id: Dog.createId('Fido'),
  aggregateClass: Dog,
  decider: dogs,
  create: () => new Dog('Fido'),
  steps: [
    { command: 'register', args: ['Fido'], act: () => undefined },
    { command: 'addTrick', args: ['roll over'], act: (dog) => dog.addTrick('roll over') },
    { command: 'addTrick', args: ['roll over'], act: (dog) => dog.addTrick('roll over'), refusal: /Fido knows/ },
    { command: 'addTrick', args: ['play “dead” 🐈'], act: (dog) => dog.addTrick('play “dead” 🐈') },
  ],
  view: ({ name, tricks }: Dog) => ({ name, tricks }),
})

const toTokyo = [
  { from: 'Hamburg', to: 'Singapore', ship: 'Ever' },
  { from: 'Singapore', to: 'Tokyo', ship: 'Given' },
]
const toOsaka = [{ from: 'Hamburg', to: 'Osaka', ship: 'Fast' }]

const cargoVoyage = story<Cargo>({
  name: 'cargo voyage',
  id: firstFixedId,
  aggregateClass: Cargo,
  decider: cargos,
  create: () => new Cargo('Hamburg', 'Tokyo', deadline),
  steps: [
    { command: 'book', args: ['Hamburg', 'Tokyo', deadline], act: () => undefined },
    { command: 'assignRoute', args: [toOsaka], act: (cargo) => cargo.assignRoute(toOsaka), refusal: /do not lead/ },
    { command: 'assignRoute', args: [toTokyo], act: (cargo) => cargo.assignRoute(toTokyo) },
    { command: 'handle', args: ['received', 'Hamburg'], act: (cargo) => cargo.handle('received', 'Hamburg') },
    {
      command: 'handle',
      args: ['loaded', 'Hamburg', 'Ever'],
      act: (cargo) => cargo.handle('loaded', 'Hamburg', 'Ever'),
    },
    { command: 'handle', args: ['unloaded', 'Singapore'], act: (cargo) => cargo.handle('unloaded', 'Singapore') },
    {
      command: 'handle',
      args: ['loaded', 'Singapore', 'Odd'],
      act: (cargo) => cargo.handle('loaded', 'Singapore', 'Odd'),
    },
    { command: 'changeDestination', args: ['Osaka'], act: (cargo) => cargo.changeDestination('Osaka') },
  ],
  view: ({ id: _id, ...told }: Cargo & { id?: string }) => ({
    ...told,
    arrivalDeadline: told.arrivalDeadline.getTime(),
  }),
})

const cartSteps: readonly Step<ShoppingCart>[] = [
  { command: 'create', args: [], act: () => undefined },
  { command: 'checkOut', args: [], act: (cart) => cart.checkOut(), refusal: /is empty/ },
  { command: 'addItem', args: ['bone', 2], act: (cart) => cart.addItem('bone', 2) },
  { command: 'addItem', args: ['ball', 1], act: (cart) => cart.addItem('ball', 1) },
  { command: 'addItem', args: ['bone', 1], act: (cart) => cart.addItem('bone', 1) },
  { command: 'addItem', args: ['lead', 1], act: (cart) => cart.addItem('lead', 1) },
  { command: 'addItem', args: ['bowl', 1], act: (cart) => cart.addItem('bowl', 1), refusal: /at most 3/ },
  { command: 'removeItem', args: ['bowl'], act: (cart) => cart.removeItem('bowl'), refusal: /no bowl/ },
  { command: 'removeItem', args: ['ball'], act: (cart) => cart.removeItem('ball') },
  { command: 'checkOut', args: [], act: (cart) => cart.checkOut() },
  { command: 'addItem', args: ['bone', 1], act: (cart) => cart.addItem('bone', 1), refusal: /is checked out/ },
]

const cart = {
  id: firstFixedId,
  decider: shoppingCarts,
  steps: cartSteps,
  view: ({ items, isCheckedOut }: { items: Map<string, number> | object; isCheckedOut: boolean }) => ({
    items: items instanceof Map ? Object.fromEntries<unknown>(items) : items,
    isCheckedOut,
  }),
}

const shoppingCart = story<ShoppingCart>({
  ...cart,
  name: 'shopping cart',
  aggregateClass: ShoppingCart,
  create: () => new ShoppingCart(),
})

const plainShoppingCart = story<ShoppingCart>({
  ...cart,
  name: 'shopping cart in plain JavaScript',
  // Of the same shape, and with the same name.
  aggregateClass: PlainShoppingCart as unknown as AggregateClass<ShoppingCart>,
  create: () => new PlainShoppingCart() as unknown as ShoppingCart,
})

export const stories: readonly Story[] = [bankAccount, trainingSchool, cargoVoyage, shoppingCart, plainShoppingCart]

/** Does one step by the class: gets the aggregate, acts, saves. */
export async function stepByClass(application: Application, told: Story, index: number): Promise<void> {
  const step = told.steps[index] as Step<Aggregate<object>> | undefined // what the class of the story is
  if (index === 0) {
    await application.save(told.create())
    return
  }
  const aggregate = await application.repository.get(told.aggregateClass, told.id)
  await refusedOrDone(step, async () => {
    step?.act(aggregate)
    await application.save(aggregate)
  })
}

/** Does one step by the decider. */
export async function stepByDecider(application: Application, told: Story, index: number): Promise<void> {
  const step = told.steps[index]
  await refusedOrDone(step, async () => {
    await application.execute(told.decider, told.id, step?.command ?? '', ...(step?.args ?? []))
  })
}

async function refusedOrDone(step: { readonly refusal?: RegExp } | undefined, act: () => Promise<void>): Promise<void> {
  let refusal: unknown
  try {
    await act()
  } catch (error) {
    refusal = error
  }
  const expected = step?.refusal
  if (expected === undefined) {
    if (refusal !== undefined) throw new Error('it was refused', { cause: refusal })
  } else if (!(refusal instanceof Error) || !expected.test(refusal.message)) {
    throw new Error(`expected a refusal that says ${String(expected)}`, { cause: refusal })
  }
}
