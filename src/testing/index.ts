/** For tests: of applications, aggregates and deciders, of a real database, and of recorders that anybody has implemented. */
export {
  type SnapshotCounts,
  type SnapshotDifference,
  type SnapshotVerification,
  type VerifiedApplication,
  type VerifySnapshotsOptions,
  verifySnapshots,
} from '../application/snapshot-verification.js'
export { aggregateRecorderContract } from './aggregate-recorder-contract.js'
export { applicationRecorderContract } from './application-recorder-contract.js'
export { checkEveryFault, type FaultCheck, type FaultCheckOptions, type FaultOutcome } from './check-every-fault.js'
export { eventStoreContract } from './event-store-contract.js'
export type { TableChange, Verdict } from './fault-trials.js'
export {
  type FaultKind,
  type FaultOptions,
  type FaultyAdapter,
  faultyAdapter,
  type StruckStatement,
} from './faulty-adapter.js'
export {
  type FixedClock,
  type FixedClockOptions,
  fixedClock,
  fixedIds,
  type Replacement,
} from './fixed-sources.js'
export { inMemory, type RecordedEvent, type RollbackOptions, storedEvents, withRollback } from './in-memory.js'
export { notificationLogContract } from './notification-log-contract.js'
export {
  type AppendingRecorder,
  appendEventsContract,
  type DeletingRecorder,
  deleteEventsContract,
  type SinceSnapshotRecorders,
  selectSinceSnapshotContract,
} from './optional-members-contracts.js'
export { processRecorderContract } from './process-recorder-contract.js'
export {
  type ProjectedRows,
  type ProjectedScenarioEvent,
  type ProjectionScenario,
  projecting,
} from './projecting.js'
export { projectionRecorderContract } from './projection-recorder-contract.js'
export {
  type AggregateScenario,
  type DeciderScenario,
  type FactsScenario,
  given,
  givenFacts,
  type OlderEvent,
} from './scenario.js'
export type { Outcome, ScenarioEvent } from './scenario-outcome.js'
export { subjectKeyRecorderContract } from './subject-key-recorder-contract.js'
export { subscriptionContract } from './subscription-contract.js'
export { type TaggingRecorder, tagsContract } from './tags-contract.js'
export type { Expect, Expectation, MakeRecorder, RecorderUnderTest, TestFramework } from './test-framework.js'

export { trackingRecorderContract } from './tracking-recorder-contract.js'
