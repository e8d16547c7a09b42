/** What this process was started by. */

/** Whether a test runner has started it: vitest, jest, node's own, or whoever says so by NODE_ENV. */
export function isUnderTest(): boolean {
  const { VITEST, JEST_WORKER_ID, NODE_TEST_CONTEXT, NODE_ENV } = process.env
  return (VITEST ?? JEST_WORKER_ID ?? NODE_TEST_CONTEXT) !== undefined || NODE_ENV === 'test'
}
