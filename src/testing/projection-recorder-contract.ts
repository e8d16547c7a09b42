/** What every recorder of projections promises: that one runner at a time moves a position, and that nobody else can. */
import { LeaseLostError } from '../errors.js'
import type {
  ProjectionKey,
  ProjectionLease,
  ProjectionMove,
  ProjectionRecorder,
  ProjectionRow,
  ProjectionStateChange,
} from '../persistence/projection-recorder.js'
import { type Cases, declareCases, expectError, type MakeRecorder, type TestFramework } from './test-framework.js'

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function projectionRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<ProjectionRecorder>,
): void {
  declareCases(framework, `${label} as a recorder of projections`, cases, makeRecorder)
}

const counts: ProjectionKey = { name: 'counts', version: 1, upstream: 'School', partition: 0 }
const second: ProjectionKey = { ...counts, partition: 1 }
const greater: ProjectionKey = { ...counts, version: 2 }
const leaseMs = 60_000
const undo = new Error('undo')

const cases: Cases<ProjectionRecorder> = {
  async 'has no projections at first'({ recorder, expect }) {
    expect(await recorder.rows()).toEqual([])
    expect(await recorder.wanted('counts', 1)).toEqual(undefined)
    expect(await recorder.parked('counts', 1)).toEqual([])
    expect(await recorder.claim(counts, 'a', leaseMs)).toEqual(undefined)
  },

  async 'adds a part once, at the beginning of the log, to be built'({ recorder, expect }) {
    await recorder.add(counts, 2)
    await recorder.add(second, 2)
    const lease = await claimed(recorder, counts, 'a')
    await recorder.batch(counts, move(lease, 5n), nothing)
    await recorder.add(counts, 2)
    expect(summaries(await recorder.rows())).toEqual([
      'counts 1 School 0 of 2 at 5 running building',
      'counts 1 School 1 of 2 at 0 running building',
    ])
    expect(await recorder.wanted('counts', 1)).toEqual('running')
  },

  async 'adds a part where it is to begin, unless it is there'({ recorder, expect }) {
    await recorder.add(counts, 1, 7n)
    await recorder.add(counts, 1, 9n)
    expect((await recorder.rows()).map(({ position }) => position)).toEqual([7n])
    expect((await claimed(recorder, counts, 'a')).position).toEqual(7n)
  },

  async 'gives a lease to one at a time, with a greater epoch each time'({ recorder, expect }) {
    await recorder.add(counts, 1)
    const first = await claimed(recorder, counts, 'a')
    expect(await recorder.claim(counts, 'b', leaseMs)).toEqual(undefined)
    expect((await recorder.rows()).map(({ owner, isLeased }) => [owner, isLeased])).toEqual([['a', true]])
    await recorder.release(counts, first.epoch)
    expect((await recorder.rows()).map(({ isLeased }) => isLeased)).toEqual([false])
    const next = await claimed(recorder, counts, 'b')
    expect(next.epoch > first.epoch).toEqual(true)
  },

  async 'gives a lease to another one when it has run out'({ recorder, expect }) {
    await recorder.add(counts, 1)
    const first = await recorder.claim(counts, 'a', 20)
    let next: ProjectionLease | undefined
    for (let attempt = 0; next === undefined && attempt < 300; attempt += 1) {
      next = await recorder.claim(counts, 'b', leaseMs)
      if (next === undefined) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    expect(next !== undefined && first !== undefined && next.epoch > first.epoch).toEqual(true)
  },

  async 'lets a lease be taken from whoever has it, who can change nothing then'(subject) {
    const { recorder, expect } = subject
    await recorder.add(counts, 1)
    const lost = await claimed(recorder, counts, 'a')
    const taken = await recorder.seize(counts, 'b', leaseMs)
    await recorder.release(counts, lost.epoch)
    expect(await recorder.reposition(counts, lost.epoch, 9n)).toEqual(false)
    await expectError(subject, recorder.batch(counts, move(lost, 5n), nothing), LeaseLostError)
    expect((await recorder.rows()).map(({ owner, isLeased, position }) => [owner, isLeased, position])).toEqual([
      ['b', true, 0n],
    ])
    expect(await recorder.reposition(counts, taken?.epoch ?? 0n, 9n)).toEqual(true)
    expect((await recorder.rows()).map(({ position }) => position)).toEqual([9n])
  },

  async 'moves a position by work that succeeds, from where it is, and else leaves it'(subject) {
    const { recorder, expect } = subject
    await recorder.add(counts, 1)
    const lease = await claimed(recorder, counts, 'a')
    const failing = recorder.batch(counts, move(lease, 5n), () => Promise.reject(undo))
    expect(await failing.catch((error: unknown) => error)).toEqual(undo)
    expect((await recorder.rows()).map(({ position }) => position)).toEqual([0n])
    await recorder.batch(counts, move(lease, 5n), nothing)
    let isRun = false
    const again = recorder.batch(counts, move(lease, 7n), async () => void (isRun = true))
    await expectError(subject, again, LeaseLostError)
    expect([isRun, (await recorder.rows())[0]?.position]).toEqual([false, 5n])
  },

  async 'stops a position where the work says'({ recorder, expect }) {
    await recorder.add(counts, 1)
    const lease = await claimed(recorder, counts, 'a')
    await recorder.batch(counts, move(lease, 5n), async (batch) => await batch.stopAt(3n))
    expect((await recorder.rows()).map(({ position }) => position)).toEqual([3n])
  },

  async 'keeps the leases of an owner in force, and tells how many'({ recorder, expect }) {
    const other: ProjectionKey = { ...counts, name: 'other' }
    for (const key of [counts, second, other]) {
      await recorder.add(key, 2)
      await claimed(recorder, key, key === second ? 'b' : 'a')
    }
    expect(await recorder.renew('a', ['counts', 'other'], leaseMs)).toEqual(2)
    expect(await recorder.renew('a', ['counts'], leaseMs)).toEqual(1)
    await recorder.change('other', 1, { wanted: 'paused' })
    expect(await recorder.renew('a', ['counts', 'other'], leaseMs, 'running')).toEqual(1)
    expect(await recorder.renew('a', ['counts', 'other'], leaseMs)).toEqual(2)
  },

  async 'takes the leases of lower versions away for good'(subject) {
    const { recorder, expect } = subject
    await recorder.add(counts, 1)
    const lost = await claimed(recorder, counts, 'a')
    await recorder.add(greater, 1)
    await claimed(recorder, greater, 'b')
    await recorder.supersede('counts', 2)
    expect((await recorder.rows()).map(({ status, isLeased }) => [status, isLeased])).toEqual([
      ['superseded', false],
      ['building', true],
    ])
    await expectError(subject, recorder.batch(counts, move(lost, 5n), nothing), LeaseLostError)
    expect(await recorder.claim(counts, 'a', leaseMs)).toEqual(undefined)
    expect(await recorder.seize(counts, 'a', leaseMs)).toEqual(undefined)
  },

  async 'changes the given members of a state, and empties those that are null'({ recorder, expect }) {
    await recorder.add(counts, 1)
    const state = async (): Promise<unknown[]> =>
      (await recorder.rows()).map((row) => [row.wanted, row.status, row.target, row.reason, row.failedPosition])
    await recorder.change('counts', 1, { status: 'blocked', reason: 'no room', failedPosition: 3n, target: 9n })
    await recorder.change('counts', 2, { status: 'live' })
    await recorder.change('counts', 1, { wanted: 'paused' })
    expect(await state()).toEqual([['paused', 'blocked', 9n, 'no room', 3n]])
    expect(await recorder.wanted('counts', 1)).toEqual('paused')
    await recorder.change('counts', 1, { status: 'live', reason: null, failedPosition: null, target: null })
    expect(await state()).toEqual([['paused', 'paused', undefined, undefined, undefined]])
  },

  async 'leaves one paused whatever its runner says that it does, until something else is wanted'({
    recorder,
    expect,
  }) {
    await recorder.add(counts, 1)
    const statusAfter = async (change: ProjectionStateChange): Promise<unknown> => {
      await recorder.change('counts', 1, change)
      return (await recorder.rows())[0]?.status
    }
    expect(await statusAfter({ wanted: 'paused', status: 'paused' })).toEqual('paused')
    for (const status of ['live', 'building'] as const) expect(await statusAfter({ status })).toEqual('paused')
    expect(await statusAfter({ status: 'blocked', reason: 'no room' })).toEqual('blocked')
    expect(await statusAfter({ wanted: 'running', status: 'building' })).toEqual('building')
    expect(await statusAfter({ status: 'live' })).toEqual('live')
  },

  async 'keeps events that were put aside in the order of the log, and takes each back once'({ recorder, expect }) {
    const parked = async (): Promise<unknown[]> =>
      (await recorder.parked('counts', 1)).map((each) => [each.notificationId, each.key, each.attempts, each.error])
    for (const notificationId of [10n, 9n]) {
      await recorder.park('counts', 1, { notificationId, key: 'Fido', attempts: 1, error: 'no' })
    }
    await recorder.park('counts', 2, { notificationId: 4n, key: 'Rex', attempts: 1, error: 'no' })
    await recorder.park('counts', 1, { notificationId: 10n, key: 'Fido', attempts: 2, error: 'still not' })
    expect(await parked()).toEqual([
      [9n, 'Fido', 1, 'no'],
      [10n, 'Fido', 2, 'still not'],
    ])
    expect([await recorder.unpark('counts', 1, 9n), await recorder.unpark('counts', 1, 9n)]).toEqual([1, 0])
    expect([await recorder.unpark('counts', 1), (await recorder.parked('counts', 2)).length]).toEqual([1, 1])
    expect(await parked()).toEqual([])
  },

  async 'divides a projection into other parts where it is paused and they are level'(subject) {
    const { recorder, expect } = subject
    for (const key of [counts, second]) await recorder.add(key, 2)
    const [one, other] = [await claimed(recorder, counts, 'a'), await claimed(recorder, second, 'a')]
    expect(await recorder.repartition(counts, 1)).toEqual(false)
    await recorder.change('counts', 1, { wanted: 'paused' })
    await recorder.batch(counts, move(one, 5n), nothing)
    expect(await recorder.repartition(counts, 1)).toEqual(false)
    await recorder.batch(second, move(other, 5n), nothing)
    expect(await recorder.repartition(counts, 1)).toEqual(true)
    expect(summaries(await recorder.rows())).toEqual(['counts 1 School 0 of 1 at 5 paused building'])
    const late = recorder.batch(counts, { ...move(one, 7n), from: 5n }, nothing)
    await expectError(subject, late, LeaseLostError)
  },
}

async function claimed(recorder: ProjectionRecorder, key: ProjectionKey, owner: string): Promise<ProjectionLease> {
  const lease = await recorder.claim(key, owner, leaseMs)
  if (lease === undefined) throw new Error(`The lease of ${key.name} is not free`)
  return lease
}

function move({ epoch, position }: ProjectionLease, to: bigint): ProjectionMove {
  return { epoch, from: position, to, leaseMs, deadlineMs: 30_000 }
}

async function nothing(): Promise<void> {}

function summaries(rows: readonly ProjectionRow[]): string[] {
  return rows
    .map(
      ({ name, version, upstream, partition, partitions, position, wanted, status }) =>
        `${name} ${version} ${upstream} ${partition} of ${partitions} at ${position} ${wanted} ${status}`,
    )
    .sort()
}
