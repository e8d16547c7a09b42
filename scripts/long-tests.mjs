/** The test files that `npm test` leaves out on a developer's machine. `npm run test:all`, and CI, run them. */

/** Each with what is said to be missing; a pattern as Vitest has them. */
export const longTests = [
  { files: 'test/torture/**', what: 'torture: processes that are killed while they write' },
  { files: 'test/restarts/**', what: 'restarts: servers that are stopped, frozen or replaced' },
  {
    files:
      'test/{http/{pool,read-your-writes,idempotency-processes,held-up,sqlite-writer},observability/sigterm,' +
      'prisma/{sqlite-turns,driver-timeouts,busy-deadline,abandoned-connections},' +
      'projection/{rolling-over,sqlite-processes}}.test.ts',
    what: 'processes and pools under load, and statements, locks and drivers that hang',
  },
  { files: 'test/{bounds/bounds,application/load-cost}.test.ts', what: 'bounds: a million events, states of many MiB' },
  { files: 'test/{faults/**,testing/every-fault.test.ts}', what: 'faults of each statement of each kind of work' },
  { files: 'test/testing/contracts-notice.test.ts', what: 'contracts: a broken recorder for each of their cases' },
  {
    files: 'test/{systems/log-over-http,cli/projections}.test.ts',
    what: 'projections and logs: each in a process of its own',
  },
  { files: 'test/browser/page.test.ts', what: 'the page: in a real browser' },
  { files: 'test/properties/**', what: 'properties: random commands against a model' },
  { files: 'test/guides/**', what: 'guides: their code, compiled and run as projects' },
  { files: 'test/readme/**', what: 'README: its code, compiled and run against the packed package' },
  { files: 'test/{stories/**,examples/realworld.test.ts}', what: 'stories: whole applications' },
  { files: 'test/first-hour/**', what: 'first hours: apps from an empty folder, with what npm installs' },
  { files: 'test/toolchains/**', what: 'toolchains: decorators by each compiler' },
  { files: 'test/runtimes/**', what: 'other versions of Node, Bun and Deno: an app with the packed package' },
  { files: 'test/third-party/**', what: 'third parties: other middlewares and frameworks' },
]
