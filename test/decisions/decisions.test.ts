/** Decisions by tags: made on what is stored, and stored only while it is: on every database, and in memory. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  Aggregate,
  AppendConditionError,
  Application,
  ConcurrencyError,
  defineEvent,
  event,
  facts,
  NotSupportedError,
  typed,
} from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'
import { CourseDefined, CourseFull, CourseSchool, joined, StudentSubscribed, taken } from './school.js'

const Registered = defineEvent('Registered', typed<{ email: string }>(), { tags: ({ email }) => ({ email }) })

@event(Registered, 'email')
class Customer extends Aggregate {
  email: string

  constructor(email: string) {
    super()
    this.email = email
  }
}

const places = [...oneOfEach.map(({ name }) => ({ name })), { name: 'memory' }]

describe.each(places)('decisions by tags on $name', ({ name }) => {
  const kind = oneOfEach.find((database) => database.name === name)
  let open: OpenDatabase | undefined
  let school: CourseSchool
  beforeAll(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
    school = new CourseSchool({ name: '', ...(open === undefined ? {} : { datastore: open.datastore }) })
  })
  afterAll(async () => {
    await open?.close()
  })

  /** Each in a transaction of its own, where there are transactions. */
  const inTransaction = async <T>(work: () => Promise<T>): Promise<T> =>
    open === undefined ? await work() : await open.datastore.transaction(work)

  it('decides on what was decided before', async () => {
    const course = randomUUID()
    await school.define(course, 2)
    await school.subscribeStudent(course, 'ann')
    await school.subscribeStudent(course, 'ann')
    await school.subscribeStudent(course, 'bob')
    await expect(school.subscribeStudent(course, 'cid')).rejects.toBeInstanceOf(CourseFull)
    const values: unknown[] = []
    await school.decide({ taken: taken(course), ann: joined(course, 'ann'), cid: joined(course, 'cid') }, (known) => {
      values.push(known)
      return []
    })
    expect(values).toEqual([{ taken: 2, ann: true, cid: false }])
  })

  it('refuses a decision on what has changed', async () => {
    const course = randomUUID()
    await school.define(course, 1)
    const decided = Promise.allSettled([
      school.subscribeStudent(course, 'ann'),
      school.subscribeStudent(course, 'bob'),
      school.subscribeStudent(course, 'cid'),
    ])
    const errors = (await decided).flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []))
    expect(errors).toHaveLength(2)
    for (const error of errors) if (!(error instanceof CourseFull)) expect(error).toBeInstanceOf(AppendConditionError)
    let seats = 0
    await school.decide({ taken: taken(course) }, (known) => {
      seats = known.taken
      return []
    })
    expect(seats).toBe(1)
  })

  it('saves unless there is such an event, in order and at once', async () => {
    const email = `${randomUUID()}@example.org`
    const unless = { tags: { email }, types: [Registered] }
    const recordings = await school.save(new Customer(email), { unless })
    expect(recordings[0]?.notification?.id).toBeTypeOf('bigint')
    const error = await school.save(new Customer(email), { unless }).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(AppendConditionError)
    expect(error).toBeInstanceOf(ConcurrencyError)
    expect(error).toMatchObject({ code: 'ES_APPEND_CONDITION', tags: [`email:${email}`], types: ['Registered'] })
    await school.save(new Customer(email), { unless: { tags: { email }, types: ['Other'] } })
    await expect(school.save(new Customer(email), { unless: { tags: { email } } })).rejects.toThrow(email)
    const others = await Promise.allSettled(
      Array.from({ length: 5 }, () => {
        const other = `other ${email}`
        return inTransaction(() => school.save(new Customer(other), { unless: { tags: { email: other } } }))
      }),
    )
    expect(others.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('refuses what names no tag', async () => {
    const save = (tags: object): Promise<unknown> => school.save(new Customer('x'), { unless: { tags: tags as never } })
    await expect(save({})).rejects.toBeInstanceOf(TypeError)
    await expect(save({ email: undefined, kind: 'x' })).rejects.toThrow(/'email' has no value/)
    expect(() => facts({}, 0, (when) => [when(CourseDefined, () => 1)])).toThrow(TypeError)
    expect(() => facts({ course: 'x' }, 0, () => [])).toThrow(TypeError)
    const many = { slot: Array.from({ length: 21 }, (_, number) => number) }
    expect(() => facts(many, 0, (when) => [when(CourseDefined, () => 1)])).toThrow(/at most 20/)
  })
})

describe.each(oneOfEach)('decisions in a transaction on $name', (kind) => {
  let open: OpenDatabase
  let school: CourseSchool
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new CourseSchool({ name: '', datastore: open.datastore })
  })
  afterAll(async () => {
    await open.close()
  })

  it('sees what is pending, does not write it, and never conflicts with itself', async () => {
    const course = randomUUID()
    const { datastore } = open
    await datastore.transaction(async (tx) => {
      await school.define(course, 2)
      await school.subscribeStudent(course, 'ann')
      if (kind.provider === 'postgresql') expect(tx.state).toBe('open')
      await school.subscribeStudent(course, 'ann')
      await tx.flush()
      await school.subscribeStudent(course, 'bob')
      await datastore.transaction(async () => await school.subscribeStudent(course, 'bob'), { propagation: 'nested' })
      await expect(school.subscribeStudent(course, 'cid')).rejects.toBeInstanceOf(CourseFull)
    })
    await expect(school.subscribeStudent(course, 'cid')).rejects.toBeInstanceOf(CourseFull)
  })

  it('counts what was saved before in the transaction, pending or written', async () => {
    const email = randomUUID()
    const save = async (): Promise<unknown> =>
      await school.save(new Customer(email), { unless: { tags: { email }, types: [Registered] } })
    await open.datastore.transaction(async (tx) => {
      await save()
      await expect(save()).rejects.toBeInstanceOf(AppendConditionError)
      await tx.flush()
      await save()
      await expect(tx.flush()).rejects.toBeInstanceOf(AppendConditionError)
    })
    await expect(save()).rejects.toBeInstanceOf(AppendConditionError)
  })

  it('fails the commit of what was decided on less than there is', async () => {
    if (kind.provider === 'sqlite') return
    const course = randomUUID()
    await school.define(course, 5)
    const other = new CourseSchool({ name: '', datastore: open.datastore })
    const transaction = open.datastore.transaction(async () => {
      await school.subscribeStudent(course, 'ann')
      await open.datastore.transaction(() => other.subscribeStudent(course, 'bob'), { propagation: 'requiresNew' })
    })
    await expect(transaction).rejects.toBeInstanceOf(AppendConditionError)
    const unrelated = open.datastore.transaction(async () => {
      await school.subscribeStudent(course, 'ann')
      await open.datastore.transaction(() => other.define(randomUUID(), 1), { propagation: 'requiresNew' })
    })
    await unrelated
  })

  it('checks nothing where nothing is decided, and undoes what fails in a part alone', async () => {
    const course = randomUUID()
    await school.define(course, 1)
    await open.datastore.transaction(async () => {
      await school.decide({ taken: taken(course) }, () => [])
      const part = open.datastore.transaction(
        async () => {
          await school.subscribeStudent(course, 'ann')
          throw new Error('undone')
        },
        { propagation: 'nested' },
      )
      await expect(part).rejects.toThrow('undone')
      await school.subscribeStudent(course, 'bob')
    })
    await expect(school.subscribeStudent(course, 'ann')).rejects.toBeInstanceOf(CourseFull)
    const rows = await open.database.query(
      `SELECT tag FROM ${open.quoted('stored_event_tags')} WHERE notification_id NOT IN (SELECT id FROM ${open.quoted('stored_events')})`,
    )
    expect(rows).toEqual([])
  })

  it('locks from the read on', async () => {
    const course = randomUUID()
    await school.define(course, 8)
    const students = Array.from({ length: 8 }, (_, number) => `student ${number}`)
    await Promise.all(
      students.map((student) =>
        open.datastore.transaction(() => school.subscribeStudent(course, student, { lock: true })),
      ),
    )
    await school.subscribeStudent(course, 'student 0', { lock: true })
    await expect(school.subscribeStudent(course, 'one more', { lock: true })).rejects.toBeInstanceOf(CourseFull)
  })

  it.runIf(kind.provider === 'postgresql').each(['RepeatableRead', 'Serializable'] as const)(
    'refuses conditions at %s',
    async (isolationLevel) => {
      const transaction = open.datastore.transaction(() => school.define(randomUUID(), 1), { isolationLevel })
      await expect(transaction).rejects.toBeInstanceOf(NotSupportedError)
      await open.datastore.transaction(() => school.save(new Customer('free')), { isolationLevel })
    },
  )

  it('reads many events of a tag, and only the last where that is enough', async () => {
    const invoices = randomUUID()
    const InvoiceCreated = defineEvent('InvoiceCreated', typed<{ number: number }>(), { tags: () => ({ invoices }) })
    const count = 4_100
    const counted = facts({ invoices }, 0, (when) => [when(InvoiceCreated, (sum) => sum + 1)])
    const last = facts({ invoices }, 0, (when) => [when(InvoiceCreated, (_number, { number }) => number)], {
      onlyLast: true,
    })
    await school.decide({ last }, ({ last: before }) =>
      Array.from({ length: count }, (_, index) => InvoiceCreated({ number: before + index + 1 })),
    )
    const values: unknown[] = []
    await school.decide({ counted, last }, (known) => {
      values.push(known)
      return [InvoiceCreated({ number: known.last + 1 })]
    })
    await open.datastore.transaction(async (tx) => {
      await school.decide({ last }, (known) => [InvoiceCreated({ number: known.last + 1 })])
      await school.decide({ counted, last }, (known) => {
        values.push(known)
        return []
      })
      if (kind.provider !== 'postgresql') return
      // Neither the check nor a read goes through the whole table of events.
      await tx.flush()
      await school.decide({ counted }, () => [])
      const scans: unknown = await open.db
        .$queryRaw`SELECT seq_scan::int FROM pg_stat_xact_user_tables WHERE relname = 'stored_events'`
      expect(scans).toEqual([{ seq_scan: 0 }])
    })
    expect(values).toEqual([
      { counted: count, last: count },
      { counted: count + 2, last: count + 2 },
    ])
  })
})

describe('what a decision gives', () => {
  const school = new Application({ name: 'Decided' })

  it('is a list of events that definitions make, at once', async () => {
    const items = { taken: taken('c') }
    await expect(school.decide(items, () => undefined as never)).rejects.toBeInstanceOf(TypeError)
    await expect(school.decide(items, (async () => []) as never)).rejects.toThrow(/a promise/)
    const byHand = { type: 'StudentSubscribed', data: { course: 'c', student: 's' } }
    await expect(school.decide(items, () => [byHand])).rejects.toThrow(/definitions make/)
    const Personal = defineEvent('Personal', typed<{ name: string }>(), { personal: { name: true } })
    await expect(school.decide(items, () => [Personal({ name: 'x' })])).rejects.toThrow(/Name the field/)
  })

  it('is a stream of its own in the log', async () => {
    await school.decide({ taken: taken('c') }, () => [
      StudentSubscribed({ course: 'c', student: 's' }),
      StudentSubscribed({ course: 'c', student: 't' }),
    ])
    const { items } = await school.notificationLog.select(null, 10).then((all) => ({ items: all }))
    expect(items.map(({ topic, originatorVersion }) => [topic, originatorVersion])).toEqual([
      ['Facts.StudentSubscribed', 1],
      ['Facts.StudentSubscribed', 2],
    ])
    expect(new Set(items.map(({ originatorId }) => originatorId)).size).toBe(1)
  })
})
