/** What the bench of decisions saves and decides. */
import {
  Aggregate,
  Application,
  defineEvent,
  event,
  type Facts,
  facts,
  type Recording,
  typed,
} from 'eventsourcing-prisma'

const Written = defineEvent('Written', typed<{ text: string }>())
const Tagged = defineEvent('Tagged', typed<{ text: string }>(), {
  tags: ({ text }) => ({ note: text, kind: `k${text}` }),
})

@event(Written, 'text')
export class Note extends Aggregate {
  constructor(_text: string) {
    super()
  }
}

@event(Tagged, 'text')
export class TaggedNote extends Aggregate {
  constructor(_text: string) {
    super()
  }
}

const CourseDefined = defineEvent('CourseDefined', typed<{ course: string; capacity: number }>(), {
  tags: ({ course }) => ({ course }),
})
const StudentSubscribed = defineEvent('StudentSubscribed', typed<{ course: string; student: string }>(), {
  tags: ({ course, student }) => ({ course, student }),
})
const InvoiceCreated = defineEvent('InvoiceCreated', typed<{ invoices: string; number: number }>(), {
  tags: ({ invoices }) => ({ invoices }),
})

const capacity = (course: string): Facts<number> =>
  facts({ course }, 10, (when) => [when(CourseDefined, (_seats, data) => data.capacity)])
const taken = (course: string): Facts<number> =>
  facts({ course }, 0, (when) => [when(StudentSubscribed, (seats) => seats + 1)])
const courses = (student: string): Facts<number> =>
  facts({ student }, 0, (when) => [when(StudentSubscribed, (known) => known + 1)])
const joined = (course: string, student: string): Facts<boolean> =>
  facts({ course, student }, false, (when) => [when(StudentSubscribed, () => true)])
const lastStudent = (course: string): Facts<string> =>
  facts({ course }, '', (when) => [when(StudentSubscribed, (_last, { student }) => student)], { onlyLast: true })
const lastNumber = (invoices: string): Facts<number> =>
  facts({ invoices }, 0, (when) => [when(InvoiceCreated, (_last, { number }) => number)], { onlyLast: true })

export class DecidingApplication extends Application {
  saveUnless(text: string): Promise<Recording[]> {
    return this.save(new TaggedNote(text), { unless: { tags: { note: text }, types: [Tagged] } })
  }

  /** A course of ten seats, which nobody else takes. */
  subscribeStudent(course: string, student: string): Promise<Recording[]> {
    const items = {
      seats: capacity(course),
      taken: taken(course),
      courses: courses(student),
      joined: joined(course, student),
    }
    return this.decide(items, (known) =>
      known.joined || known.taken >= known.seats || known.courses >= 10 ? [] : [StudentSubscribed({ course, student })],
    )
  }

  createInvoice(invoices: string, lock: boolean): Promise<Recording[]> {
    return this.decide({ last: lastNumber(invoices) }, ({ last }) => [InvoiceCreated({ invoices, number: last + 1 })], {
      lock,
    })
  }

  async lastInvoice(invoices: string): Promise<number> {
    let number = 0
    await this.decide({ last: lastNumber(invoices) }, ({ last }) => {
      number = last
      return []
    })
    return number
  }

  /** Asks nobody. */
  fill(course: string, count: number): Promise<Recording[]> {
    return this.decide({}, () =>
      Array.from({ length: count }, (_, number) => StudentSubscribed({ course, student: `s${number}` })),
    )
  }

  /** Counts all who have joined. */
  join(course: string, student: string): Promise<Recording[]> {
    return this.decide({ taken: taken(course) }, () => [StudentSubscribed({ course, student })])
  }

  joinAfterLast(course: string, student: string): Promise<Recording[]> {
    return this.decide({ last: lastStudent(course) }, () => [StudentSubscribed({ course, student })])
  }
}
