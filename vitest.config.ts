import { fileURLToPath } from 'node:url'
import { configDefaults, defineConfig } from 'vitest/config'
import { longTests } from './scripts/long-tests.mjs'
import { LongestFirst } from './test/support/longest-first.js'
import { recycledForks } from './test/support/recycled-forks.js'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const isShort = process.env.TEST_SHORT === 'true'

export default defineConfig({
  resolve: {
    alias: [
      { find: /^eventsourcing-prisma$/, replacement: here('src/index.ts') },
      {
        find: /^eventsourcing-prisma\/(express|fastify|hono|nestjs|opentelemetry|graphql|trpc|browser)$/,
        replacement: here('adapters/$1.ts'),
      },
      { find: /^eventsourcing-prisma\/recorders$/, replacement: here('src/recorders.ts') },
      { find: /^eventsourcing-prisma\/relay$/, replacement: here('src/relay/index.ts') },
      { find: /^eventsourcing-prisma\/testing$/, replacement: here('src/testing/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...(isShort ? longTests.map(({ files }) => files) : [])],
    globalSetup: ['test/support/global-setup.ts'],
    setupFiles: ['test/support/each-file.ts'],
    pool: recycledForks,
    isolate: false,
    // Also with two processors: for a third of the time a file waits, for deadlines, leases, other processes or npm.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    coverage: {
      include: ['src/**', 'adapters/**'],
      reporter: ['text', 'json-summary'],
      thresholds: { lines: 90, functions: 90, branches: 85, statements: 90 },
    },
  },
})
