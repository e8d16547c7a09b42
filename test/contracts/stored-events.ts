/** Stored events as the contracts of the recorders use them, for our own tests. */
export { storedEvent, versionsOf } from '../../src/testing/test-framework.js'
