/** Who orders pays a price that was shown: the present one, or, for ten minutes after a change, the one before. */
import { Application, defineEvent, facts, typed } from 'eventsourcing-prisma'

const PriceSet = defineEvent('PriceSet', typed<{ product: string; cents: number; at: number }>(), {
  tags: ({ product }) => ({ product }),
})
const ProductOrdered = defineEvent('ProductOrdered', typed<{ product: string; cents: number }>(), {
  tags: ({ product }) => ({ product }),
})

interface Prices {
  readonly present: number
  readonly before?: number
  readonly changedAt: number
}

// Orders are no part of it: they do not change the price, so two orders never conflict.
const prices = (product: string) =>
  facts({ product }, undefined as Prices | undefined, (when) => [
    when(PriceSet, (known, { cents, at }) => ({
      present: cents,
      changedAt: at,
      ...(known === undefined ? {} : { before: known.present }),
    })),
  ])

const graceMs = 10 * 60 * 1000

export class Products extends Application {
  async setPrice(product: string, cents: number, at: number): Promise<void> {
    await this.decide({ prices: prices(product) }, (known) =>
      known.prices?.present === cents ? [] : [PriceSet({ product, cents, at })],
    )
  }

  async order(items: ReadonlyArray<{ product: string; shown: number }>, now: number): Promise<void> {
    const byProduct = Object.fromEntries(items.map(({ product }) => [product, prices(product)]))
    await this.decide(byProduct, (known) =>
      items.map(({ product, shown }) => {
        const price = known[product]
        if (price === undefined) throw new Error(`There is no ${product}`)
        const isInGrace = price.before === shown && now - price.changedAt <= graceMs
        if (price.present !== shown && !isInGrace) throw new Error(`The price of ${product} has changed`)
        return ProductOrdered({ product, cents: shown })
      }),
    )
  }
}
