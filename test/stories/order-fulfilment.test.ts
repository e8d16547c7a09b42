/** The story of an order: a process manager leads it to its payment, or gives it up when that does not come in time. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { fulfilment, Payments, paid, Shop } from '../../examples/stories/order-fulfilment/shop.js'
import { ProjectionRunner } from '../../src/index.js'
import { Dog } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const waiting = { timeout: 25_000 }

describe.each([...oneOfEach, undefined].map((kind) => ({ kind, name: kind?.name ?? 'memory' })))(
  'the story of an order on $name',
  ({ kind }) => {
    let open: OpenDatabase | undefined
    let shop: Shop
    let payments: Payments
    let order: string
    beforeEach(async () => {
      open = kind === undefined ? undefined : await openDatabase(kind)
      const store = open === undefined ? { store: 'memory' as const } : { datastore: open.datastore }
      shop = new Shop(store)
      payments = new Payments(store)
      if (open !== undefined) await Promise.all([shop.recorder.createTable(), payments.recorder.createTable()])
      order = Dog.createId('an order')
    })
    afterEach(async () => await open?.close())

    async function runnersOf(patienceMs: number): Promise<readonly ProjectionRunner[]> {
      const database = open === undefined ? {} : { datastore: open.datastore }
      const reactions = [fulfilment(shop, payments, patienceMs)]
      const runners = [
        new ProjectionRunner({ application: shop, projections: reactions, ...database }),
        new ProjectionRunner({ application: payments, projections: [paid(shop)], ...database }),
      ]
      for (const runner of runners) {
        await runner.createTable()
        onTestFinished(() => runner.stop())
      }
      return runners
    }

    /** Lets both go on until neither has anything left to do. */
    async function settle(runners: readonly ProjectionRunner[]): Promise<void> {
      for (let round = 0; round < 4; round += 1) for (const runner of runners) await runner.runOnce()
    }

    const topics = async (): Promise<string[]> =>
      (await shop.recorder.selectNotifications(null, 100)).map(({ topic }) => topic)

    it('ships what is paid in time, and forgets the timer', async () => {
      const runners = await runnersOf(3_600_000)
      await shop.place(order, 'ann', 1_200)
      await settle(runners)
      expect([await shop.statusOf(order), await payments.statusOf(order)]).toEqual(['placed', 'requested'])
      expect(await shop.timers.pending()).toHaveLength(1)
      await payments.pay(order)
      await settle(runners)
      expect(await shop.statusOf(order)).toBe('shipped')
      expect(await shop.timers.pending()).toEqual([])
      const all = ['Order.Placed', 'Fulfilment.PaymentAwaited', 'Fulfilment.Completed', 'Order.Shipped']
      expect(await topics()).toEqual(all)
    })

    it('gives up what is not paid in time, and refunds what is paid too late', async () => {
      const runners = await runnersOf(-1_000)
      await shop.place(order, 'ann', 1_200)
      await settle(runners)
      expect(await shop.statusOf(order)).toBe('cancelled')
      await payments.pay(order)
      await settle(runners)
      expect([await shop.statusOf(order), await payments.statusOf(order)]).toEqual(['cancelled', 'refunded'])
    })

    it('goes by itself while the runners run', async () => {
      const runners = await runnersOf(1_000)
      for (const runner of runners) await runner.start()
      const other = Dog.createId('another order')
      await shop.place(order, 'ann', 1_200)
      await shop.place(other, 'bob', 700)
      await vi.waitFor(async () => expect(await payments.statusOf(order)).toBe('requested'), waiting)
      await payments.pay(order)
      await vi.waitFor(async () => {
        // Where the machine is slow it is paid too late.
        expect([await shop.statusOf(order), await payments.statusOf(order)].join()).toMatch(
          /shipped|cancelled,refunded/,
        )
        expect(await shop.statusOf(other)).toBe('cancelled')
      }, waiting)
      const last = (await shop.recorder.selectNotifications(null, 100)).at(-1)
      expect(last?.metadata).toMatchObject({ causationId: expect.stringMatching(/^Shop\//) })
    })
  },
)
