/** An order that is sent twice is placed once: the client makes the id of the order, and sends it again with it. */
import { Aggregate, Application, defineEvent, event, typed } from 'eventsourcing-prisma'

const OrderPlaced = defineEvent('OrderPlaced', typed<{ item: string; attempt: string }>(), {
  tags: ({ attempt }) => ({ attempt }),
})

@event(OrderPlaced, 'item', 'attempt')
class Order extends Aggregate {
  readonly item: string

  constructor(item: string, _attempt: string) {
    super()
    this.item = item
  }
}

export class Orders extends Application {
  async place(item: string, attempt: string): Promise<string> {
    const order = new Order(item, attempt)
    await this.save(order, { unless: { tags: { attempt }, types: [OrderPlaced] } })
    return order.id
  }
}
