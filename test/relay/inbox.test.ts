/** An inbox on every database: the work of a message is done once, however often it comes. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DataError, NotSupportedError, ProgrammingError } from '../../src/index.js'
import { Inbox } from '../../src/relay/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let school: TrainingSchool
  let inbox: Inbox
  beforeEach(async () => {
    open = await openDatabase(kind)
    school = new TrainingSchool({ datastore: open.datastore })
    inbox = new Inbox({ application: school, datastore: open.datastore })
    await inbox.createTable()
  })
  afterEach(async () => {
    await open.close()
  })

  const message = (id: string): { source: string; id: string } => ({ source: 'Shop', id })
  const noted = async (): Promise<number> =>
    Number((await open.database.query('SELECT COUNT(*) AS n FROM trainingschool_inbox'))[0]?.['n'])

  it('does the work of a message once, and says whether it did', async () => {
    expect(await inbox.once(message('1'), () => school.register('Fido'))).toBe(true)
    expect(await inbox.once(message('1'), () => school.register('Rex'))).toBe(false)
    expect(await inbox.once({ source: 'Kennels', id: '1' }, () => school.register('Max'))).toBe(true)
    expect((await school.repository.get(Dog, Dog.createId('Fido'))).name).toBe('Fido')
    await expect(school.repository.get(Dog, Dog.createId('Rex'))).rejects.toThrow(/Rex|not found|no/i)
    expect(await noted()).toBe(2)
  })

  it('notes nothing where the work fails, and does it when the message comes again', async () => {
    const failing = inbox.once(message('1'), async () => {
      await school.register('Fido')
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await noted()).toBe(0)
    expect(await inbox.once(message('1'), () => school.register('Fido'))).toBe(true)
  })

  it('belongs to the transaction around it', async () => {
    const undone = open.datastore.transaction(async () => {
      expect(await inbox.once(message('1'), () => school.register('Fido'))).toBe(true)
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await noted()).toBe(0)
  })

  it('does the work of messages that come at the same time once', async () => {
    let runs = 0
    const all = Array.from({ length: 24 }, (_, index) =>
      inbox.once(message(String(index % 3)), async () => {
        runs += 1
        await school.register(`dog ${index}`)
      }),
    )
    const ran = (await Promise.all(all)).filter((each) => each)
    expect([ran.length, runs, await noted()]).toEqual([3, 3, 3])
  })

  it('tells sources and ids apart that differ in case and in spaces', async () => {
    for (const id of ['a', 'A', 'a ', 'ä']) expect(await inbox.once(message(id), () => undefined)).toBe(true)
    expect(await noted()).toBe(4)
  })

  it('follows a source that comes in order by its position alone', async () => {
    const at = async (position: bigint): Promise<boolean> =>
      await inbox.inOrder({ source: 'Shop', position }, () => undefined)
    expect([await at(1n), await at(2n), await at(2n), await at(1n), await at(7n)]).toEqual([
      true,
      true,
      false,
      false,
      true,
    ])
    const failing = inbox.inOrder({ source: 'Shop', position: 8n }, () => Promise.reject(new Error('no')))
    await expect(failing).rejects.toThrow('no')
    expect(await at(8n)).toBe(true)
    expect(await noted()).toBe(0)
  })

  it('forgets what is older than asked for, and nothing else', async () => {
    for (const id of ['1', '2', '3']) await inbox.once(message(id), () => undefined)
    expect(await inbox.sweep({ olderThanMs: 60_000 })).toBe(0)
    expect(await noted()).toBe(3)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await inbox.sweep({ olderThanMs: 5 })).toBe(3)
    expect(await noted()).toBe(0)
    await expect(inbox.sweep({ olderThanMs: Number.NaN })).rejects.toThrow(ProgrammingError)
  })

  it('refuses what its columns cannot have', async () => {
    const long = 'x'.repeat(1_021)
    await expect(inbox.once({ source: 'Shop', id: long }, () => undefined)).rejects.toThrow(DataError)
    await expect(inbox.once({ source: '', id: '1' }, () => undefined)).rejects.toThrow(ProgrammingError)
    expect(await inbox.once({ source: 'Shop', id: 'x'.repeat(1_020) }, () => undefined)).toBe(true)
  })
})

it('needs an application and a datastore that has one', () => {
  const application = new TrainingSchool()
  expect(() => new Inbox({ application } as never)).toThrow(ProgrammingError)
  expect(() => new Inbox({ application, datastore: { infrastructureFactory: () => ({}) } })).toThrow(NotSupportedError)
})
