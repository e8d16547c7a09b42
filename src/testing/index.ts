/** The contracts of the recorders, for implementations of anybody; and the shape that a test framework has for them. */
export { aggregateRecorderContract } from './aggregate-recorder-contract.js'
export { applicationRecorderContract } from './application-recorder-contract.js'
export { eventStoreContract } from './event-store-contract.js'
export { notificationLogContract } from './notification-log-contract.js'
export {
  type AppendingRecorder,
  appendEventsContract,
  type DeletingRecorder,
  deleteEventsContract,
} from './optional-members-contracts.js'
export { processRecorderContract } from './process-recorder-contract.js'
export {
  type AggregateScenario,
  type DeciderScenario,
  given,
  type Outcome,
  type ScenarioEvent,
} from './scenario.js'
export { subjectKeyRecorderContract } from './subject-key-recorder-contract.js'
export { subscriptionContract } from './subscription-contract.js'
export type { Expect, Expectation, MakeRecorder, RecorderUnderTest, TestFramework } from './test-framework.js'
export { trackingRecorderContract } from './tracking-recorder-contract.js'
