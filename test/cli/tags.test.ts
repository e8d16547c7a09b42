/** `tags backfill`: events that were stored before their definitions had tags get them, also where it is interrupted or others write. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/program.js'
import {
  Aggregate,
  AppendConditionError,
  Application,
  defineDecider,
  defineEvent,
  event,
  secret,
  typed,
} from '../../src/index.js'
import { registerModule } from '../../src/persistence/configured.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

@event('Opened', 'title')
class Before extends Aggregate {
  static readonly topic = 'Course'
  static readonly tags: object = {}

  title: string

  constructor(title: string) {
    super()
    this.title = title
  }
}

@event('Opened', 'title')
class Course extends Aggregate {
  static readonly topic = 'Course'
  static readonly tags = { Opened: ({ title }: { title: string }) => ({ title: title.toLowerCase(), all: 'courses' }) }

  title: string

  constructor(title: string) {
    super()
    this.title = title
  }
}

const Joined = defineEvent('Joined', typed<{ email: string }>())
const JoinedWithTags = defineEvent('Joined', typed<{ email: string }>(), {
  tags: ({ email }) => ({ email: secret(email) }),
})
const Paid = defineEvent('Paid', typed<{ cents: number }>())
const members = defineDecider([Joined, Paid], {
  name: 'Member',
  initialState: () => 0,
  evolve: { Joined: () => 1, Paid: (state) => state + 1 },
  decide: { join: (_state, email: string) => [Joined({ email }), Paid({ cents: 100 })] },
})

async function backfill(...kinds: readonly string[]): Promise<{ code: number; out: string[]; err: string[] }> {
  const [out, err]: [string[], string[]] = [[], []]
  const output = { print: (line: string) => void out.push(line), complain: (line: string) => void err.push(line) }
  const code = await run(['tags', 'backfill', '--application', 'backfilled#school', '--kind', ...kinds], output)
  return { code, out, err }
}

describe.each(oneOfEach)('tags backfill on $name', (kind) => {
  let open: OpenDatabase
  let school: Application
  beforeAll(async () => {
    open = await openDatabase(kind)
    school = new Application({ name: '', datastore: open.datastore, env: { TAG_KEY: 'sixteen letters!' } })
    registerModule('backfilled', { school, Course, JoinedWithTags, nothing: {} })
  })
  afterAll(async () => {
    await open.close()
  })

  const tagRows = async (): Promise<string[]> => {
    const rows = await open.database.query(`SELECT tag FROM ${open.quoted('stored_event_tags')}`)
    return rows.map(({ tag }) => String(tag)).sort()
  }

  it('adds what is missing, goes on where it was interrupted, and lets others write', async () => {
    const titles = Array.from({ length: 1_010 }, (_, number) => `Title ${number}`)
    for (let start = 0; start < titles.length; start += 505)
      await school.save(...titles.slice(start, start + 505).map((title) => new Before(title)))
    await school.execute(members, randomUUID(), 'join', 'ann@example.org')
    expect(await tagRows()).toEqual([])
    // The connection is lost in the middle of the log.
    const { recorder } = school
    const add = recorder.addTags?.bind(recorder)
    let pages = 0
    const addTags: typeof add = async (tagged) => {
      pages += 1
      if (pages === 2) throw new Error('gone')
      await add?.(tagged)
    }
    registerModule('backfilled', {
      school: {
        eventStore: () => school.eventStore(),
        recorder: { addTags, selectNotifications: recorder.selectNotifications.bind(recorder) },
      },
      Course,
      JoinedWithTags,
    })
    expect(await backfill('backfilled#Course')).toMatchObject({ code: 1, err: [expect.stringMatching(/gone/)] })
    expect(await tagRows()).toHaveLength(1_000)
    registerModule('backfilled', { school, Course, JoinedWithTags, nothing: {} })
    const others = Array.from({ length: 20 }, (_, number) => `Beside ${number}`)
    const [done] = await Promise.all([
      backfill('backfilled#Course', 'backfilled#JoinedWithTags'),
      (async () => {
        for (const title of others) {
          await open.datastore.transaction(() => school.save(new Course(title), { unless: { tags: { title } } }))
        }
      })(),
    ])
    expect([done.code, done.err]).toEqual([0, []])
    const tagged = [...titles, ...others].flatMap((title) => [`title:${title.toLowerCase()}`, 'all:courses'])
    const rows = await tagRows()
    expect(rows.filter((tag) => !tag.startsWith('email:'))).toEqual(tagged.toSorted())
    expect(rows.filter((tag) => tag.startsWith('email:'))).toEqual([expect.not.stringMatching(/ann/)])
    const again = await backfill('backfilled#Course', 'backfilled#JoinedWithTags')
    expect(again).toEqual({ code: 0, out: ['1032 events read, 1031 of them have tags'], err: [] })
    expect(await tagRows()).toEqual(rows)
    const taken = school.save(new Course('Title 7'), { unless: { tags: { title: 'title 7' }, types: ['Opened'] } })
    await expect(taken).rejects.toBeInstanceOf(AppendConditionError)
    const log = await school.recorder.selectNotifications(null, 2_000, { tags: ['all:courses'] })
    expect(log).toHaveLength(1_030)
  })

  it('says what is no application, and no class, decider or definition', async () => {
    const refused = [
      await backfill('backfilled#nothing'),
      await run(['tags', 'backfill', '--application', 'backfilled#nothing', '--kind', 'backfilled#Course'], {
        print: () => undefined,
        complain: () => undefined,
      }),
    ]
    expect(refused).toMatchObject([{ code: 1, err: [expect.stringMatching(/backfilled#nothing is not a class/)] }, 1])
  })
})
