/** The contracts can fail: each of their cases does, for recorders that break a promise, and none for recorders that keep them. */
import { describe, expect, it } from 'vitest'
import {
  InMemoryAggregateRecorder,
  InMemoryApplicationRecorder,
  InMemoryProcessRecorder,
  InMemoryTrackingRecorder,
  type ProcessRecorder,
  type TrackingRecorder,
} from '../../src/index.js'
import {
  InMemoryProjectionRecorder,
  InMemorySubjectKeyRecorder,
  type ProjectionRecorder,
  type SubjectKeyRecorder,
} from '../../src/recorders.js'
import {
  aggregateRecorderContract,
  appendEventsContract,
  applicationRecorderContract,
  deleteEventsContract,
  eventStoreContract,
  type MakeRecorder,
  notificationLogContract,
  processRecorderContract,
  projectionRecorderContract,
  type SinceSnapshotRecorders,
  selectSinceSnapshotContract,
  subjectKeyRecorderContract,
  subscriptionContract,
  type TaggingRecorder,
  type TestFramework,
  tagsContract,
  trackingRecorderContract,
} from '../../src/testing/index.js'
import {
  brokenAggregates,
  brokenAppends,
  brokenDeletes,
  brokenLogs,
  brokenSinceSnapshots,
  GivesIds,
  TellsWrongStream,
} from './broken-event-recorders.js'
import { brokenProjections } from './broken-projection-recorders.js'
import { brokenSubjectKeys } from './broken-subject-key-recorders.js'
import { brokenSubscriptions } from './broken-subscriptions.js'
import { brokenTags } from './broken-tag-recorders.js'
import { brokenProcesses, brokenTrackings } from './broken-tracking-recorders.js'
import { collectCases, failing, numbersOf } from './collected-cases.js'

type Contract<Recorder> = (framework: TestFramework, label: string, makeRecorder: MakeRecorder<Recorder>) => void

interface Trial<Recorder> {
  readonly contract: Contract<Recorder>
  readonly honest: () => Recorder
  readonly broken: Readonly<Record<string, () => Recorder>>
  /** Numbers of cases that must fail, by what is broken. */
  readonly fails: Readonly<Record<string, readonly number[]>>
}

/** The cases that have failed, also for another contract that has them. */
const noticed = new Set<string>()

/** Some of the broken recorders. */
function only<Broken>(broken: Readonly<Record<string, Broken>>, ...names: readonly string[]): Record<string, Broken> {
  return Object.fromEntries(Object.entries(broken).filter(([name]) => names.includes(name)))
}

function noticing<Recorder>({ contract, honest, broken, fails }: Trial<Recorder>): void {
  const casesOn = (newRecorder: () => Recorder) =>
    collectCases((framework) => contract(framework, '', async () => ({ recorder: newRecorder() })))

  describe(contract.name, () => {
    it('has no complaint about a recorder that keeps its promises', async () => {
      expect(await failing(casesOn(honest))).toEqual([])
    })

    it.concurrent.each(Object.entries(broken))('notices one that %s', async (name, newRecorder) => {
      const failed = await failing(casesOn(newRecorder))
      for (const each of failed) noticed.add(each)
      expect(failed).not.toEqual([])
      expect(failed.flatMap(numbersOf)).toEqual(expect.arrayContaining([...(fails[name] ?? [])]))
    })

    it('has no case that never fails', () => {
      const unnoticed = casesOn(honest).filter(({ name }) => !noticed.has(name))
      expect(unnoticed.map(({ name }) => name)).toEqual([])
    })

    it('is told which cases fail of recorders that are tried', () => {
      expect(Object.keys(fails).filter((name) => broken[name] === undefined)).toEqual([])
    })
  })
}

noticing({
  contract: aggregateRecorderContract,
  honest: () => new InMemoryAggregateRecorder(),
  broken: { ...brokenAggregates(InMemoryAggregateRecorder), 'gives ids': () => new GivesIds() },
  fails: {
    'gives ids': [1, 3],
    'stores a part of an insert that fails': [6, 7, 8],
    'takes events of a taken position without a word': [5, 6, 7],
    'gives events newest first': [9],
    'wants versions from 1 in order': [14, 15],
    'has one stream for all': [10, 11, 12, 13],
    'finds an event of any originator': [2],
    'gives the buffers of a driver': [4],
    'changes the case of ids': [4, 17],
    'includes the version that a range begins after': [12],
  },
})

noticing({
  contract: appendEventsContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: { ...brokenAppends, 'tells another stream': () => new TellsWrongStream() },
  fails: {},
})

noticing({
  contract: deleteEventsContract,
  honest: () => new InMemoryAggregateRecorder(),
  broken: brokenDeletes,
  fails: {},
})

noticing<TaggingRecorder>({
  contract: tagsContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: brokenTags,
  fails: {},
})

noticing<SinceSnapshotRecorders>({
  contract: selectSinceSnapshotContract,
  honest: () => ({ events: new InMemoryAggregateRecorder(), snapshots: new InMemoryAggregateRecorder() }),
  broken: brokenSinceSnapshots,
  fails: {},
})

noticing({
  contract: applicationRecorderContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: {
    ...(brokenAggregates(InMemoryApplicationRecorder) as Record<string, () => InMemoryApplicationRecorder>),
    ...brokenLogs,
  },
  fails: {
    'stores a part of an insert that fails': [6, 7, 8],
    'gives the log backwards': [24, 25, 26, 27, 31],
    'loses the filter by topic': [28, 34],
    'takes no topics as no events': [32],
    'includes the start always': [27, 31],
    'loses the stop': [26, 31],
    'gives one more than asked for': [30, 32],
    'takes a start below 1 as the end': [33],
    'finds something in an empty log': [21],
    'makes events visible out of order': [39],
    'gives ids backwards': [22],
    'gives ids from 0': [22, 29],
    'says that the log ends too early': [21, 23, 29],
    'refuses writers while one writes': [36, 37],
    'gives ids again': [35],
    'refuses an empty list': [1],
  },
})

noticing<TrackingRecorder>({
  contract: trackingRecorderContract,
  honest: () => new InMemoryTrackingRecorder(),
  broken: brokenTrackings,
  fails: {
    'lets positions go back': [57, 60, 66],
    'looks first, then stores': [66],
    'takes names of either case for one': [70],
    'cuts names at 32 characters': [70],
    'has one position for all': [57, 58, 59],
    'begins at 0': [58],
    'has everything': [59],
    'has only the last': [59, 60],
    'waits for nothing': [62, 63, 64, 65],
    'waits for nothing that is to come': [61, 63],
    'does not look at the signal': [64],
  },
})

noticing<ProcessRecorder>({
  contract: processRecorderContract,
  honest: () => new InMemoryProcessRecorder(),
  broken: brokenProcesses,
  fails: {
    'stores the tracking of events that are refused': [73],
    'stores the events of a tracking that is refused': [74],
    'stores no tracking': [72, 75, 76, 77],
    'stores no events': [72],
    'lets positions go back': [66, 74, 77],
    'begins at 0': [71],
    'has one position for all': [78],
  },
})

noticing<SubjectKeyRecorder>({
  contract: subjectKeyRecorderContract,
  honest: () => new InMemorySubjectKeyRecorder(),
  broken: brokenSubjectKeys,
  fails: {},
})

noticing<ProjectionRecorder>({
  contract: projectionRecorderContract,
  honest: () => new InMemoryProjectionRecorder(),
  broken: brokenProjections,
  fails: {},
})

noticing({
  contract: subscriptionContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: brokenSubscriptions,
  fails: {
    'delivers events again': [45, 47, 55],
    'begins at the beginning always': [45, 48],
    'begins at the end': [45, 53],
    'loses the filter by topic': [51],
    'ends with its history': [47, 50, 52],
    'delivers one event after its end': [49, 50],
  },
})

noticing({
  contract: notificationLogContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: only(
    brokenLogs,
    'gives the log backwards',
    'loses the filter by topic',
    'includes the start always',
    'loses the stop',
    'gives one more than asked for',
    'finds something in an empty log',
  ),
  fails: {
    'gives the log backwards': [200, 201, 202, 203, 204],
    'finds something in an empty log': [199],
    'loses the stop': [204],
    'gives one more than asked for': [201],
  },
})

noticing({
  contract: eventStoreContract,
  honest: () => new InMemoryApplicationRecorder(),
  broken: {
    ...only(
      brokenAggregates(InMemoryApplicationRecorder),
      'stores a part of an insert that fails',
      'has one stream for all',
      'gives events newest first',
      'forgets the last event',
    ),
    ...only(brokenAppends, 'appends nothing'),
  },
  fails: { 'gives events newest first': [128], 'appends nothing': [128, 129, 130] },
})
