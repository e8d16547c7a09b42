/** What Python's systems promise, in memory and on every database, by the numbers of its behaviours. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Application, type ApplicationClass, IntegrityError, System, SystemRunner } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases, type TestDatabaseKind } from '../support/databases.js'
import { Bank, Command, Commands, Email, Emails, Results } from './bank.js'

const timeoutMs = 30_000
const kinds: ReadonlyArray<{ readonly name: string; readonly kind?: TestDatabaseKind }> = [
  { name: 'memory' },
  ...databases.map((kind) => ({ name: kind.name, kind })),
]
const owners = Array.from({ length: 10 }, (_, n) => `Owner ${n}`)

describe.each(kinds)('on $name', ({ kind }) => {
  let open: OpenDatabase | undefined
  beforeEach(async () => {
    open = kind === undefined ? undefined : await openDatabase(kind)
  })
  afterEach(async () => {
    await open?.close()
  })
  const onDatabase = (): object =>
    open === undefined ? {} : { datastore: open.datastore, env: { CREATE_TABLE: 'yes' } }
  const made = <A extends Application>(applicationClass: ApplicationClass<A>): A => new applicationClass(onDatabase())
  const runnerOf = (system: System): SystemRunner => {
    const runner = new SystemRunner(system, onDatabase())
    onTestFinished(async () => await runner.close().catch(() => undefined))
    return runner
  }

  it('pulls and processes the first event, and its position [207]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank.notificationLog)
    await bank.open('Ann')
    await emails.pullAndProcess('Bank', 1n)
    expect((await emails.notificationLog.section('1,10')).items).toHaveLength(1)
    expect(await emails.recorder.maxTrackingId('Bank')).toBe(1n)
    await emails.pullAndProcess('Bank')
    expect((await emails.notificationLog.section('1,10')).items).toHaveLength(1)
  })

  it('refuses a position that was processed, and changes nothing [208]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank)
    await bank.open('Ann')
    await emails.pullAndProcess('Bank', 1n)
    await expect(emails.pullAndProcess('Bank', 1n)).rejects.toBeInstanceOf(IntegrityError)
    await emails.pullAndProcess('Bank', 2n)
    expect([await emails.recorder.maxTrackingId('Bank'), await emails.recorder.maxNotificationId()]).toEqual([1n, 1n])
  })

  it('leaves the position where what follows from an event is in conflict with what is stored [209]', async () => {
    const [bank, emails] = [made(Bank), made(Emails)]
    emails.follow('Bank', bank)
    await bank.open('Ann')
    await emails.save(new Email('Ann'))
    await expect(emails.pullAndProcess('Bank')).rejects.toBeInstanceOf(IntegrityError)
    expect([await emails.recorder.maxTrackingId('Bank'), await emails.recorder.maxNotificationId()]).toEqual([null, 1n])
  })

  it('gives ten openings to a follower, and to two of them [216]', async () => {
    class OtherEmails extends Emails {}
    const runner = runnerOf(
      new System([
        [Bank, Emails],
        [Bank, OtherEmails],
      ]),
    )
    await runner.start()
    for (const owner of owners) await runner.get(Bank).open(owner)
    await runner.wait(Bank, 10n, { timeoutMs })
    for (const emails of [Emails, OtherEmails]) expect(await runner.get(emails).sent()).toEqual(owners)
    await runner.stop()
  })

  it('goes round in a loop of commands and their results [217]', async () => {
    const runner = runnerOf(new System([[Commands, Results, Commands]]))
    await runner.start()
    const commands = runner.get(Commands)
    const [known, unknown] = [await commands.give("echo 'Hello World'"), await commands.give('delete everything')]
    await runner.runOnce()
    const results = await Promise.all([known, unknown].map(async (id) => await commands.repository.get(Command, id)))
    expect(results.map(({ output, error }) => [output, error])).toEqual([
      ['Hello World\n', ''],
      ['', 'unknown command: delete everything'],
    ])
  })

  it('catches up at the start with what was recorded before [218]', async () => {
    const runner = runnerOf(new System([[Bank, Emails]]))
    await runner.get(Bank).open('Ann')
    await runner.get(Bank).open('Bob')
    await runner.start()
    await runner.wait(Bank, 2n, { timeoutMs })
    expect(await runner.get(Emails).sent()).toEqual(['Ann', 'Bob'])
  })
})
