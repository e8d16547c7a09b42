/** Subscriptions, projections, reactions and followers whose position is beyond the end of the log report it, and pass over nothing. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  type Application,
  BeyondLogEndError,
  defineProjection,
  defineReaction,
  IntegrityError,
  NAMESPACE_URL,
  type NotificationLog,
  NotificationPullingError,
  on,
  PrismaApplicationRecorder,
  ProjectionBlockedError,
  ProjectionRunner,
  RemoteNotificationLog,
  System,
  SystemRunner,
  sectionToJSON,
  uuid5,
} from '../../src/index.js'
import { Dog, TrainingSchool } from '../application/dogs.js'
import { storedEvent } from '../contracts/stored-events.js'
import { oneOfEach } from '../support/databases.js'
import { Bank, Emails } from '../systems/bank.js'
import { type OpenDatabase, openDatabase, type TestClient } from './open-database.js'
import { warnings } from './warnings.js'

/** The log of an application as it is read elsewhere. */
function overHttp({ notificationLog }: Application, name: string): RemoteNotificationLog {
  return new RemoteNotificationLog(async (id) => sectionToJSON(await notificationLog.section(id)), 10, name)
}

const dogId = (n: number): string => uuid5(NAMESPACE_URL, `/dogs/${n}`)

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let recorder: PrismaApplicationRecorder<TestClient>
  beforeAll(async () => {
    open = await openDatabase(kind)
    recorder = new PrismaApplicationRecorder(open.datastore)
    for (let n = 1; n <= 5; n += 1) await recorder.insertEvents([storedEvent(dogId(n), 1)])
  })
  afterAll(async () => {
    await open.close()
  })

  it('warns at once of a position beyond the end, once, or throws', async () => {
    const { seen, stop } = warnings('ES_BEYOND_LOG_END')
    const throwing = recorder.subscribe({ gt: 99n, onBeyondEnd: 'throw' })[Symbol.asyncIterator]()
    const refused = await throwing.next().catch((error: unknown) => error)
    expect(refused).toBeInstanceOf(IntegrityError)
    expect(String(refused)).toMatch(/position 99, and its log ends at 5/)
    const warning = recorder.subscribe({ gt: 99n, topics: ['topic1'] })
    const next = warning[Symbol.asyncIterator]().next()
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 20_000 })
    // Others are not held up by it.
    const others = recorder.subscribe({ gt: 3n })[Symbol.asyncIterator]()
    expect((await others.next()).value?.id).toBe(4n)
    await others.return?.()
    warning.stop()
    await next
    const atEnd = recorder.subscribe({ gt: 5n })
    const nothing = atEnd[Symbol.asyncIterator]().next()
    await delay(100)
    atEnd.stop()
    await nothing
    expect(seen).toHaveLength(1)
    stop()
  })

  it('warns of a log that was emptied under it, and a new subscription reads the new log', async () => {
    const { seen, stop } = warnings('ES_BEYOND_LOG_END')
    const running = recorder.subscribe()
    const read: bigint[] = []
    const reading = (async () => {
      for await (const { id } of running) read.push(id)
    })()
    await vi.waitFor(() => expect(read).toHaveLength(5), { timeout: 20_000 })
    await open.emptyLog('stored_events')
    await recorder.insertEvents([storedEvent(dogId(10), 1)])
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 10_000 })
    const fresh = recorder.subscribe()[Symbol.asyncIterator]()
    expect((await fresh.next()).value?.id).toBe(1n)
    const following = fresh.next()
    await recorder.insertEvents([storedEvent(dogId(11), 1)])
    expect((await following).value?.id).toBe(2n)
    await fresh.return?.()
    running.stop()
    await reading
    expect(seen).toHaveLength(1)
    stop()
  })

  describe('of projections', () => {
    const waits = { timeoutMs: 20_000 }
    let school: TrainingSchool
    beforeAll(() => {
      school = new TrainingSchool({ datastore: open.datastore })
    })

    async function runnerOf(name: string, source?: NotificationLog): Promise<ProjectionRunner> {
      const add = on(Dog, 'Registered', async ({ originatorId }) => {
        await open.db.owner.create({ data: { dog: `${name} ${originatorId}`, name } })
      })
      const acts = defineReaction({ name: `${name}-acts`, from: 'start', on: [on(Dog, 'Registered', () => undefined)] })
      const projections = [defineProjection({ name, models: ['Owner'], on: [add] }), acts]
      const from = source === undefined ? {} : { source }
      const runner = new ProjectionRunner({ application: school, datastore: open.datastore, projections, ...from })
      await runner.createTable()
      onTestFinished(() => runner.stop())
      return runner
    }

    it('stands still at the start where the log was restored, also when it has grown, until the rows are built anew', async () => {
      const runner = await runnerOf('owners')
      for (const name of ['Fido', 'Rex', 'Bello']) await school.register(name)
      await runner.runOnce()
      await open.emptyLog('trainingschool_events')
      const saved = await school.register('Luna')
      // Before any runner has looked.
      await expect(runner.wait('owners', saved)).rejects.toThrow(/position 3, and the log of TrainingSchool ends at 1/)
      await expect(runner.runOnce()).rejects.toBeInstanceOf(BeyondLogEndError)
      const { seen, stop } = warnings('ES_PROJECTION_BLOCKED')
      await runner.start()
      await vi.waitFor(() => expect(seen).toHaveLength(2), { timeout: 20_000 })
      stop()
      expect(seen.toSorted()).toEqual([
        expect.stringContaining('projections rebuild <module> owners'),
        expect.stringContaining('projections rewind owners-acts 1'),
      ])
      expect([runner.healthy(), runner.stats['owners']?.state]).toEqual([false, 'blocked'])
      for (const name of ['Nala', 'Rover', 'Max']) await school.register(name)
      const next = await runnerOf('owners')
      await next.start()
      await vi.waitFor(() => expect(next.stats['owners']?.state).toBe('blocked'), { timeout: 20_000 })
      await expect(next.wait('owners', 1n)).rejects.toBeInstanceOf(ProjectionBlockedError)
      await runner.pause('owners')
      await runner.resume('owners')
      await expect(next.wait('owners', 1n)).rejects.toBeInstanceOf(ProjectionBlockedError)
      await expect((await runnerOf('owners')).runOnce()).rejects.toBeInstanceOf(ProjectionBlockedError)
      await next.rebuild('owners')
      await next.rewind('owners-acts', 0n)
      for (const name of ['owners', 'owners-acts']) await next.wait(name, 4n, waits)
      expect(await open.db.owner.count({ where: { name: 'owners' } })).toBe(4)
      await vi.waitFor(() => expect([runner, next].map((each) => each.healthy())).toEqual([true, true]), {
        timeout: 20_000,
      })
    })

    it('stands still when the log is restored while it runs', async () => {
      const runner = await runnerOf('watching')
      await runner.start()
      for (const name of ['watching', 'watching-acts'])
        await runner.wait(name, await school.recorder.maxNotificationId(), waits)
      await open.emptyLog('trainingschool_events')
      await school.register('Luna')
      await vi.waitFor(() => expect(runner.stats['watching']?.state).toBe('blocked'), { timeout: 20_000 })
      await expect(runner.wait('watching', 1n)).rejects.toBeInstanceOf(ProjectionBlockedError)
    })

    it('stands still when a log from elsewhere is restored, which says what it has given out', async () => {
      const source = overHttp(school, 'School')
      const runner = await runnerOf('remote', source)
      for (const name of ['Fido', 'Rex']) await school.register(name)
      await runner.start()
      const { recorder } = school
      for (const name of ['remote', 'remote-acts']) await runner.wait(name, await recorder.maxNotificationId(), waits)
      await open.emptyLog('trainingschool_events')
      await school.register('Luna')
      await vi.waitFor(() => expect(runner.stats['remote']?.state).toBe('blocked'), { timeout: 20_000 })
      await runner.stop()
      const next = await runnerOf('remote', source)
      await expect(next.wait('remote', 1n)).rejects.toThrow(/log of School ends at 1/)
      await runner.rebuild('remote')
      await next.start()
      await next.wait('remote', 1n, waits)
      expect(await open.db.owner.count({ where: { name: 'remote' } })).toBe(1)
    })

    it('goes on where events were deleted whose ids are not given again', async () => {
      const runner = await runnerOf('patient')
      for (const name of ['Daisy', 'Molly']) await school.register(name)
      await runner.runOnce()
      await open.database.query(
        `DELETE FROM trainingschool_events WHERE id >= ${await school.recorder.maxNotificationId()}`,
      )
      await runner.start()
      await runner.wait('patient', await school.register('Coco'), waits)
      expect(runner.healthy()).toBe(true)
    })
  })

  it('keeps a follower of a log from elsewhere from passing over events', async () => {
    const options = { datastore: open.datastore, env: { CREATE_TABLE: 'yes' } }
    const bank = new Bank({ ...options, name: 'RemoteBank' })
    const emails = new Emails({ ...options, name: 'RemoteEmails' })
    emails.follow('RemoteBank', overHttp(bank, 'RemoteBank'))
    for (const owner of ['Ann', 'Bob']) await bank.open(owner)
    await emails.pullAndProcess('RemoteBank')
    await open.emptyLog('remotebank_events')
    await bank.open('Cid')
    await expect(emails.pullAndProcess('RemoteBank')).rejects.toBeInstanceOf(BeyondLogEndError)
  })

  it('keeps a follower from passing over events, in a system and by itself', async () => {
    const options = { datastore: open.datastore, env: { CREATE_TABLE: 'yes' } }
    const runner = new SystemRunner(new System([[Bank, Emails]]), options)
    onTestFinished(async () => await runner.close().catch(() => undefined))
    for (const owner of ['Ann', 'Bob']) await runner.get(Bank).open(owner)
    await runner.runOnce()
    await open.emptyLog('bank_events')
    await runner.get(Bank).open('Cid')
    await expect(runner.get(Emails).pullAndProcess('Bank')).rejects.toBeInstanceOf(BeyondLogEndError)
    const { seen, stop } = warnings('ES_SYSTEM_STANDS')
    await runner.start()
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 20_000 })
    stop()
    expect(seen[0]).toMatch(/^Emails stands still: .*up to 2, and that ends at 1/)
    await expect(runner.wait(Bank, 1n)).rejects.toBeInstanceOf(NotificationPullingError)
  })
})
