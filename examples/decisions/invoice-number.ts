/** Invoices of a year are numbered without a gap: all want the same number, so they wait in line for it. */
import { Application, defineEvent, facts, typed } from 'eventsourcing-prisma'

const InvoiceCreated = defineEvent(
  'InvoiceCreated',
  typed<{ year: number; number: number; customer: string; cents: number }>(),
  { tags: ({ year, customer }) => ({ invoices: year, customer }) },
)

const lastNumber = (year: number) =>
  facts({ invoices: year }, 0, (when) => [when(InvoiceCreated, (_last, { number }) => number)], { onlyLast: true })

export class Invoices extends Application {
  async create(year: number, customer: string, cents: number): Promise<number> {
    let number = 0
    await this.decide(
      { last: lastNumber(year) },
      ({ last }) => {
        number = last + 1
        return [InvoiceCreated({ year, number, customer, cents })]
      },
      { lock: true },
    )
    return number
  }
}
