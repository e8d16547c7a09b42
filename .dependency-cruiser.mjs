/** The layers: a module imports from its own layer and from those below it. */

/** What every layer may use. */
const ground = '((request-)?errors|checked-options|surroundings)\\.ts$'

/** From the lowest to the highest; `transaction` and `prisma` stand beside the ladder. */
const layers = {
  domain: [],
  persistence: ['domain'],
  transaction: [],
  prisma: ['domain', 'persistence', 'transaction'],
  application: ['domain', 'persistence', 'transaction'],
  projection: ['domain', 'persistence', 'transaction', 'application'],
  systems: ['domain', 'persistence', 'transaction', 'application', 'projection'],
  relay: ['domain', 'persistence', 'projection'],
  browser: ['domain', 'persistence', 'transaction', 'application', 'projection'],
  testing: ['domain', 'persistence', 'application', 'prisma', 'projection'],
  cli: ['domain', 'persistence', 'transaction', 'prisma', 'application'],
}

const layerRules = Object.entries(layers).map(([layer, below]) => ({
  name: `${layer}-imports-downward`,
  severity: 'error',
  from: { path: `^src/${layer}/` },
  to: { path: '^src/', pathNot: `^src/(${ground}|(${[layer, ...below].join('|')})/)` },
}))

export default {
  forbidden: [
    ...layerRules,
    {
      name: 'of-transactions-applications-know-the-metadata-only',
      severity: 'error',
      from: { path: '^src/application/' },
      to: { path: '^src/transaction/', pathNot: '^src/transaction/ambient-metadata\\.ts$' },
    },
    {
      name: 'of-transactions-projections-know-the-context-only',
      severity: 'error',
      from: { path: '^src/projection/' },
      to: { path: '^src/transaction/', pathNot: '^src/transaction/context\\.ts$' },
    },
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: '^src/((request-)?errors|cli/main)\\.ts$' },
      to: {},
    },
    {
      name: 'nobody-inside-imports-the-barrel',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^src/(index|recorders)\\.ts$' },
    },
    {
      name: 'the-library-does-not-import-its-contracts',
      severity: 'error',
      from: { path: '^(src|adapters)/', pathNot: '^src/testing/' },
      to: { path: '^src/testing/' },
    },
    {
      name: 'one-place-names-the-dialects',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/(prisma/dialects/|cli/)' },
      to: { path: '^src/prisma/dialects/', pathNot: '^src/prisma/dialects/by-provider\\.ts$' },
    },
    {
      name: 'one-place-touches-async-hooks',
      severity: 'error',
      from: { path: '^(src|adapters)/', pathNot: '^src/transaction/' },
      to: { path: '^(node:)?async_hooks$' },
    },
    {
      name: 'no-frameworks-in-the-library',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '(^|/)node_modules/(express|fastify|fastify-plugin|@prisma|vitest)/' },
    },
    {
      name: 'adapters-use-the-public-api',
      severity: 'error',
      from: { path: '^adapters/' },
      to: { path: '^src/', pathNot: '^src/(index|recorders|checked-options|browser/event-browser)\\.ts$' },
    },
    {
      name: 'no-development-dependencies',
      severity: 'error',
      from: { path: '^(src|adapters)/' },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only', 'npm-peer'] },
    },
    { name: 'resolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      extensions: ['.ts', '.js', '.d.ts'],
    },
  },
}
