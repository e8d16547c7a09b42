/** Each story told by a class and by a decider: the same commands in the same order, and what comes of them. */

import { BankAccount } from '../../examples/stories/bank-account/class.js'
import { bankAccounts } from '../../examples/stories/bank-account/decider.js'
import { Cargo } from '../../examples/stories/cargo-voyage/class.js'
import { cargos } from '../../examples/stories/cargo-voyage/decider.js'
import { ShoppingCart } from '../../examples/stories/shopping-cart/class.js'
import { shoppingCarts } from '../../examples/stories/shopping-cart/decider.js'
import { ShoppingCart as PlainShoppingCart } from '../../examples/stories/shopping-cart/plain.js'
import { Dog } from '../../examples/stories/training-school/class.js'
import { dogs } from '../../examples/stories/training-school/decider.js'
import type { Aggregate, AggregateClass, Decider } from '../../src/index.js'

/** One command, by an aggregate, and by name for a decider. The first creates. */
export interface Step<A> {
  readonly command: string
  readonly args: readonly unknown[]
  readonly act: (aggregate: A) => unknown
  /** The event that comes of it. */
  readonly gives?: string
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
  readonly steps: readonly Step<Aggregate<object>>[]
  /** The state that it ends with: the members of the aggregate, and the state of the decider. */
  readonly ends: object
}

interface TypedStory<A extends Aggregate<object>> {
  readonly name: string
  readonly id: string
  readonly aggregateClass: AggregateClass<A>
  readonly decider: unknown
  readonly create: () => A
  readonly steps: readonly Step<A>[]
  readonly ends: object
}

// Stories of different classes in one list: each is consistent in itself.
function story<A extends Aggregate<object>>(typed: TypedStory<A>): Story {
  return typed as unknown as Story
}

const nothing = (): void => undefined
const firstFixedId = '00000000-0000-4000-8000-000000000001'
const deadline = new Date('2026-06-01T12:00:00Z')

const bankAccount = story<BankAccount>({
  name: 'bank account',
  id: firstFixedId,
  aggregateClass: BankAccount,
  decider: bankAccounts,
  create: () => new BankAccount('Ann'),
  steps: [
    { command: 'open', args: ['Ann'], act: nothing, gives: 'Opened' },
    { command: 'credit', args: [1000], act: (account) => account.credit(1000), gives: 'Transacted' },
    { command: 'credit', args: [1000], act: (account) => account.credit(1000), gives: 'Transacted' },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), gives: 'Transacted' },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), refusal: /has 500 cents/ },
    {
      command: 'setOverdraftLimit',
      args: [10_000],
      act: (account) => account.setOverdraftLimit(10_000),
      gives: 'OverdraftLimitChanged',
    },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), gives: 'Transacted' },
    { command: 'close', args: [], act: (account) => account.close(), gives: 'Closed' },
    { command: 'debit', args: [1500], act: (account) => account.debit(1500), refusal: /is closed/ },
  ],
  ends: { owner: 'Ann', balance: -1000, overdraftLimit: 10_000, isClosed: true },
})

const trainingSchool = story<Dog>({
  name: 'training school',
  id: Dog.createId('Fido'),
  aggregateClass: Dog,
  decider: dogs,
  create: () => new Dog('Fido'),
  steps: [
    { command: 'register', args: ['Fido'], act: nothing, gives: 'Registered' },
    { command: 'addTrick', args: ['roll over'], act: (dog) => dog.addTrick('roll over'), gives: 'TrickAdded' },
    { command: 'addTrick', args: ['roll over'], act: (dog) => dog.addTrick('roll over'), refusal: /Fido knows/ },
    {
      command: 'addTrick',
      args: ['play “dead” 🐈'],
      act: (dog) => dog.addTrick('play “dead” 🐈'),
      gives: 'TrickAdded',
    },
  ],
  ends: { name: 'Fido', tricks: ['roll over', 'play “dead” 🐈'] },
})

const toTokyo = [
  { from: 'Hamburg', to: 'Singapore', ship: 'Ever' },
  { from: 'Singapore', to: 'Tokyo', ship: 'Given' },
]
const toOsaka = [{ from: 'Hamburg', to: 'Osaka', ship: 'Fast' }]
const onward = [{ from: 'Singapore', to: 'Osaka', ship: 'Slow' }]

const cargoVoyage = story<Cargo>({
  name: 'cargo voyage',
  id: firstFixedId,
  aggregateClass: Cargo,
  decider: cargos,
  create: () => new Cargo('Hamburg', 'Tokyo', deadline),
  steps: [
    { command: 'book', args: ['Hamburg', 'Tokyo', deadline], act: nothing, gives: 'Booked' },
    { command: 'assignRoute', args: [toOsaka], act: (cargo) => cargo.assignRoute(toOsaka), refusal: /do not lead/ },
    { command: 'assignRoute', args: [toTokyo], act: (cargo) => cargo.assignRoute(toTokyo), gives: 'RouteAssigned' },
    ...handlings(['received', 'Hamburg'], ['loaded', 'Hamburg', 'Ever'], ['unloaded', 'Singapore']),
    {
      command: 'changeDestination',
      args: ['Osaka'],
      act: (cargo) => cargo.changeDestination('Osaka'),
      gives: 'DestinationChanged',
    },
    { command: 'assignRoute', args: [toTokyo], act: (cargo) => cargo.assignRoute(toTokyo), refusal: /to Osaka/ },
    { command: 'assignRoute', args: [onward], act: (cargo) => cargo.assignRoute(onward), gives: 'RouteAssigned' },
    ...handlings(['loaded', 'Singapore', 'Odd']),
  ],
  ends: {
    origin: 'Hamburg',
    destination: 'Osaka',
    arrivalDeadline: deadline,
    legs: onward,
    location: 'Singapore',
    ship: 'Odd',
    isMisdirected: true,
  },
})

function handlings(...all: ReadonlyArray<Parameters<Cargo['handle']>>): Step<Cargo>[] {
  return all.map((args) => ({ command: 'handle', args, act: (cargo) => cargo.handle(...args), gives: 'Handled' }))
}

/** What both classes of carts can do. */
type Cart = Pick<ShoppingCart, 'addItem' | 'removeItem' | 'checkOut'>

const cartSteps: readonly Step<Cart>[] = [
  { command: 'create', args: [], act: nothing, gives: 'Created' },
  { command: 'checkOut', args: [], act: (cart) => cart.checkOut(), refusal: /is empty/ },
  { command: 'addItem', args: ['bone', 2], act: (cart) => cart.addItem('bone', 2), gives: 'ItemAdded' },
  { command: 'addItem', args: ['ball', 1], act: (cart) => cart.addItem('ball', 1), gives: 'ItemAdded' },
  { command: 'addItem', args: ['bone', 1], act: (cart) => cart.addItem('bone', 1), gives: 'ItemAdded' },
  { command: 'addItem', args: ['lead', 1], act: (cart) => cart.addItem('lead', 1), gives: 'ItemAdded' },
  { command: 'addItem', args: ['bowl', 1], act: (cart) => cart.addItem('bowl', 1), refusal: /at most 3/ },
  { command: 'removeItem', args: ['bowl'], act: (cart) => cart.removeItem('bowl'), refusal: /no bowl/ },
  { command: 'removeItem', args: ['ball'], act: (cart) => cart.removeItem('ball'), gives: 'ItemRemoved' },
  { command: 'checkOut', args: [], act: (cart) => cart.checkOut(), gives: 'CheckedOut' },
  { command: 'addItem', args: ['bone', 1], act: (cart) => cart.addItem('bone', 1), refusal: /is checked out/ },
]

const cart = {
  id: firstFixedId,
  decider: shoppingCarts,
  steps: cartSteps,
  ends: {
    items: new Map([
      ['bone', 3],
      ['lead', 1],
    ]),
    isCheckedOut: true,
  },
}

export const stories: readonly Story[] = [
  bankAccount,
  trainingSchool,
  cargoVoyage,
  story<ShoppingCart>({
    ...cart,
    name: 'shopping cart',
    aggregateClass: ShoppingCart,
    create: () => new ShoppingCart(),
  }),
  story<PlainShoppingCart>({
    ...cart,
    name: 'shopping cart in plain JavaScript',
    aggregateClass: PlainShoppingCart,
    create: () => new PlainShoppingCart(),
  }),
]
