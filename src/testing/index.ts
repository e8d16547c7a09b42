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
export {
  checkEveryFault,
  type FaultCheck,
  type FaultCheckOptions,
  type FaultOutcome,
  type TableChange,
  type Verdict,
} from './check-every-fault.js'
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
  inMemory,
  type RecordedEvent,
  type Replacement,
  type RollbackOptions,
  storedEvents,
  withRollback,
} from './in-memory.js'
export { eventStoreContract, notificationLogContract } from './notification-log-contract.js'
export {
  type AppendingRecorder,
  appendEventsContract,
  type DeletingRecorder,
  deleteEventsContract,
  type SinceSnapshotRecorders,
  selectSinceSnapshotContract,
  subjectKeyRecorderContract,
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
export { subscriptionContract } from './subscription-contract.js'
export { type TaggingRecorder, tagsContract } from './tags-contract.js'
export type { Expect, Expectation, MakeRecorder, RecorderUnderTest, TestFramework } from './test-framework.js'

export { trackingRecorderContract } from './tracking-recorder-contract.js'
